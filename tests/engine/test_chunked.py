"""What only the chunked algorithm must hold."""

import torch

from eos import engine
from eos.record import Recurrence, Transition


def test_scores_above_the_diagonal_may_overflow() -> None:
    # one anchor a chunk: above the diagonal factors reach exp(80), times scores of 1e9 that is no float32
    torch.manual_seed(0)
    i, e, s = (torch.randn(1, 64, 1, 8).mul(1e4).requires_grad_() for _ in range(3))
    head = torch.full((1, 64, 1), -1.24).requires_grad_()
    record = Recurrence(input=i, expand=e, shrink=s, transition=Transition(head=head))
    y, memory = engine.scan(record, algorithm="chunked")
    found = torch.autograd.grad(y.sum(), [i, e, s, head])
    assert all(x.isfinite().all() for x in (y, memory.value, *found))
    want, _ = engine.scan(record, algorithm="sequential")
    torch.testing.assert_close(y / want.abs().max(), want / want.abs().max(), rtol=0, atol=2e-6)
