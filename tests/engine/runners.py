"""Every algorithm in small sizes, so that short records hit several windows, several chunks and partial last ones."""

from collections.abc import Iterator
from functools import lru_cache

from torch import Tensor

import eos
from eos.engine.algorithm import AbstractAlgorithm
from eos.engine.chunked import Chunked
from eos.engine.delta import Delta
from eos.engine.elementwise import Elementwise
from eos.engine.sequential import sequential
from eos.engine.windows import run_windows
from eos.errors import PlanError
from eos.record import Recurrence
from tests.compare import Outputs, Runner, outcome, scanned
from tests.records import CASES, build

#: Lengths around the sizes of chunks, and one of several windows.
LENGTHS = (1, 15, 16, 17, 63, 64, 65, 200)
ALGORITHMS = ("chunked", "elementwise", "delta", "fft")


def windows(algorithm: AbstractAlgorithm, length: int) -> Runner:
    """The algorithm in windows of ``length`` steps."""

    def run(record: Recurrence) -> Outputs:
        trace = record.transition.log_gate is not None
        ys, memories, scales = run_windows(record, algorithm, length=length, trace=trace)
        return ys, memories[-1], scales

    return run


#: By algorithm: as it is planned, and in sizes of its own.
RUNNERS: dict[str, dict[str, Runner]] = {
    "sequential": {"planned": scanned("sequential")},
    "chunked": {
        "planned": scanned("chunked"),
        "chunks of 8": windows(Chunked(size=8), 16),
        "chunks of 64": windows(Chunked(size=64), 128),
        "ragged windows": windows(Chunked(size=16), 27),
    },
    "elementwise": {
        "planned": scanned("elementwise"),
        "step by step": windows(Elementwise(size=1), 7),
        "chunks of 2": windows(Elementwise(size=2), 7),
        "chunks of 16": windows(Elementwise(size=16), 256),
    },
    "delta": {
        "planned": scanned("delta"),
        "chunks of 8": windows(Delta(size=8), 16),
        "chunks of 64": windows(Delta(size=64), 128),
        "ragged windows": windows(Delta(size=16), 27),
    },
    "fft": {"planned": scanned("fft")},
}


def runnable(record: Recurrence) -> list[str]:
    """The algorithms that the plan does not refuse, sequential apart."""
    found = []
    for name in ALGORITHMS:
        try:
            eos.plan(record, algorithm=name)
        except PlanError:
            continue
        found.append(name)
    return found


def in_turn() -> Iterator[tuple[str, str, str]]:
    """Every record with every algorithm that serves it, in sizes that go round."""
    for turn, name in enumerate(CASES):
        for algorithm in ("sequential", *runnable(build(CASES[name], length=2))):
            sizes = list(RUNNERS[algorithm])
            yield name, algorithm, sizes[turn % len(sizes)]


@lru_cache(maxsize=64)
def reference(name: str, length: int) -> tuple[Recurrence, dict[str, Tensor]]:
    """A named case in float64, and what the sequential form makes of it."""
    record = build(CASES[name], length=length)
    return record, outcome(record, sequential)
