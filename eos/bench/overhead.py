"""The Python time that a scan adds to its algorithm."""

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch

from eos import engine
from eos.bench.check import Check
from eos.bench.records import KINDS, sample
from eos.engine.run import run_planned

CALLS = 300


def checks() -> Iterator[Check]:
    """A scan's time minus that of its algorithm run straight from the plan, on a record of 64 steps."""
    for kind in KINDS:
        record = sample(kind, 64).record
        plan = engine.plan(record)
        with torch.no_grad():
            scanned, run = _in_turns(partial(engine.scan, record), partial(run_planned, record, plan, trace=False))
        yield Check(
            name=f"{kind}: Python time added by eos.scan",
            value=(scanned - run) * 1e6,
            bound=100.0,
            unit="µs",
            side="at most",
            detail=f"{scanned * 1e6:.0f} µs in all, {run * 1e6:.0f} µs the algorithm",
        )


def _in_turns(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(CALLS):
        for seconds, run in zip(times, (first, second), strict=True):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])
