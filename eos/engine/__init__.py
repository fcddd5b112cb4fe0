"""From record to output: lower, plan, run."""

from eos.engine.plan import Plan, plan
from eos.engine.run import scan, step

__all__ = ["Plan", "plan", "scan", "step"]
