"""The numbers this project promises, each measured by one command that fails when it is missed."""

from eos.bench.check import Check, Suite, suites

__all__ = ["Check", "Suite", "suites"]
