"""The sequential form against the naive recurrence, which shares no code with the engine."""

import pytest

from eos.engine.sequential import sequential
from eos.record import Memory, Recurrence, parts
from tests.compare import Outputs, assert_close, outcome
from tests.naive.recurrence import Sizes, recurrence
from tests.records import CASES, build
from tests.tolerances import EXACT


def naive(record: Recurrence) -> Outputs:
    sizes, transition = record.sizes, record.transition
    ys, memory, scale, trace = recurrence(
        {name: tensor for name, _, tensor in parts(record)},
        Sizes(
            batch=sizes["B"],
            length=sizes["T"],
            heads=sizes["H"],
            key=sizes["K"],
            value=sizes["V"],
            substeps=record.substeps,
        ),
        reads=len(record.reads),
        read=record.read,
        link=transition.link,
        tau=transition.tau,
        stabilise=transition.stabilise,
    )
    if scale is None or trace is None:
        return tuple(ys), Memory(value=memory), None
    entries = sequential(record)[1].log_scale.shape[-1]  # M is held once for all K, or for both halves of a pair
    return tuple(ys), Memory(value=memory, log_scale=scale[..., :entries]), trace[..., :entries]


@pytest.mark.parametrize("length", [1, 5])
@pytest.mark.parametrize("name", CASES)
def test_sequential_equals_the_naive_recurrence(name: str, length: int) -> None:
    record = build(CASES[name], length=length)
    assert_close(outcome(record, sequential), outcome(record, naive), EXACT)
