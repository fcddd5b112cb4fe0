"""A record cut into stretches, each summed up by itself and then composed, is the record."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

import eos
from eos.engine.state import memory_before
from eos.engine.stretch import stretch
from eos.errors import RecordError
from eos.record import Memory, Recurrence
from tests.compare import Outputs, assert_close, outcome, scanned
from tests.records import CASES, build, cut
from tests.tolerances import EXACT

LENGTH = 23
CUTS = (0, 1, 9, 17, LENGTH)


def in_stretches(record: Recurrence) -> Outputs:
    """Every stretch from the memory that those before it, composed, bring."""
    memory, reads, traces = memory_before(record), [], []
    traced = record.transition.log_gate is not None
    for start, stop in pairwise(CUTS):
        part = cut(record, start, stop, None)
        y, _, *trace = eos.scan(replace(part, memory=memory), trace=traced)
        reads.append(y if isinstance(y, tuple) else (y,))
        traces += trace
        memory = stretch(part).after(memory)
    ys = tuple(torch.cat(parts, 1) for parts in zip(*reads, strict=True))
    return ys, memory, torch.cat(traces, 1) if traced else None


@pytest.mark.parametrize("name", CASES)
def test_stretches_compose(name: str) -> None:
    record = build(CASES[name], length=LENGTH)
    assert_close(outcome(record, in_stretches), outcome(record, scanned("sequential")), EXACT)


def test_decays_are_kept_in_their_smallest_shape() -> None:
    shapes = {
        "head": ("log_decay", [2, 3, 1, 1]),
        "constant key": ("log_decay", [1, 3, 5, 1]),
        "value": ("log_decay", [2, 3, 1, 7]),
        "rate": ("log_decay", [2, 3, 5, 7]),
        "phase": ("angle", [2, 3, 3]),
        "erase key": ("product", [2, 3, 5, 5]),
    }
    for name, (part, shape) in shapes.items():
        found = stretch(cut(build(CASES[name], length=LENGTH), 0, LENGTH, None))
        held = getattr(found, part)
        assert list(held.shape) == shape, name


def test_what_comes_in_must_not_be_known() -> None:
    record = build(CASES["head"], length=4)
    with pytest.raises(RecordError, match="without a memory"):
        stretch(record)


def test_a_new_document_forgets_what_comes_in() -> None:
    record = cut(build(CASES["head"], length=4), 0, 4, None)
    record = replace(record, reset=torch.tensor([[False, True, False, False], [False] * 4]))
    part = stretch(record)
    huge = Memory(value=torch.full_like(part.written.value, 1e30))
    after = part.after(huge).value
    assert torch.equal(after[0], part.written.value[0])
    assert (after[1] > 1).all()
