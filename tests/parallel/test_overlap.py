"""A memory comes from the process before while this one sums up its own part: neither waits for the other."""

import time
from statistics import median

import pytest
import torch.distributed as dist

from eos.engine.stretch import Stretch, stretch
from eos.parallel import SequenceGroup, continued, over
from eos.parallel import scan as ring
from eos.parallel.exchange import Arriving
from eos.record import Recurrence
from tests.parallel.processes import together
from tests.parallel.test_scan import made
from tests.records import CASES, cut

RANKS, LENGTH, WORK = 4, 16, 0.5


class Awaited(Arriving):
    """The same, waited for before anything else is done."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.wait()
        self._work = None


def working(record: Recurrence) -> Stretch:
    """As a device does that is busy for so long, whatever the processor has to do."""
    time.sleep(WORK)
    return stretch(record)


def seconds() -> dict[str, float]:
    """Until the last process has its memory, with what comes awaited at first or at last."""
    group = SequenceGroup(form="ring")
    part = cut(made(CASES["key"], LENGTH * RANKS), group.rank * LENGTH, (group.rank + 1) * LENGTH, None)
    ring.stretch = working
    found = {}
    for name, kind in (("overlapped", Arriving), ("awaited", Awaited)):
        ring.Arriving = kind  # type: ignore[misc]
        times = []
        for _ in range(3):
            dist.barrier()
            began = time.perf_counter()
            with over(group):
                continued(part)
            dist.barrier()
            times.append(time.perf_counter() - began)
        found[name] = median(times) / WORK
    return found


@pytest.mark.slow
def test_what_comes_is_not_waited_for_before_a_part_is_summed_up() -> None:
    found = together(RANKS, seconds)[0]
    print(f"\nof {RANKS} processes, in times of one's work: {found}")  # noqa: T201
    assert found["overlapped"] < 2
    assert found["awaited"] > RANKS - 1
