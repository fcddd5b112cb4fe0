"""What only the chunked algorithm must hold."""

import pytest
import torch

from eos import engine
from eos.engine import framed
from eos.engine.chunked import Chunked
from eos.record import Recurrence, Transition
from tests.compare import assert_close, outcome, scanned
from tests.engine.runners import reference, runnable, windows
from tests.records import CASES, cast
from tests.tolerances import EXACT, FLOAT32


def test_scores_above_the_diagonal_may_overflow() -> None:
    # in a chunk's frame factors above the diagonal reach exp(40), times scores of 1e23 that is no float32
    torch.manual_seed(0)
    i, e, s = (torch.randn(1, 64, 1, 8).mul(3e11).requires_grad_() for _ in range(3))
    head = torch.full((1, 64, 1), -0.62).requires_grad_()
    record = Recurrence(input=i, expand=e, shrink=s, transition=Transition(head=head))
    (y,), memory, _ = windows(Chunked(size=64), 64)(record)
    found = torch.autograd.grad(y.sum(), [i, e, s, head])
    assert all(x.isfinite().all() for x in (y, memory.value, *found))
    want, _ = engine.scan(record, algorithm="sequential")
    torch.testing.assert_close(y / want.abs().max(), want / want.abs().max(), rtol=0, atol=2e-6)


def test_a_mild_chunk_between_strong_ones_carries_the_memory_through() -> None:
    # the frames of both strong chunks take their halves, exp(-20) each, out of the join across the mild one
    torch.manual_seed(0)
    totals = torch.tensor([-39.9, -4.0, -39.9, -4.0])
    head = (totals / 64).repeat_interleave(64)[None, :, None].requires_grad_()
    i, e, s = (torch.randn(1, 256, 1, 8).requires_grad_() for _ in range(3))
    # only the end of the first chunk writes, only the start of the third reads
    e.data[:, :60], e.data[:, 64:] = 0.0, 0.0
    s.data[:, :128], s.data[:, 132:] = 0.0, 0.0
    record = Recurrence(input=i, expand=e, shrink=s, transition=Transition(head=head))
    want = outcome(cast(record, torch.float64), scanned("sequential"))
    assert_close(outcome(record, windows(Chunked(size=64), 256)), want, FLOAT32)


def test_values_that_may_not_be_looked_at_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: decays over K or V run by doubling, those of a head as a matrix."""
    monkeypatch.setattr(framed, "looks", lambda x: False)
    for name in CASES:
        record, want = reference(name, 17)
        if "chunked" in runnable(record):
            assert_close(outcome(record, windows(Chunked(size=8), 16)), want, EXACT)
