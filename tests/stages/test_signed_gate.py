"""A gate that may be negative: the record says g, and its gradient passes zero."""

import math

import pytest
import torch
from torch import Tensor

from eos.engine import scan
from eos.record import Recurrence, Transition
from eos.stage import LayerContext
from stages.oscillation.signed_gate import SignedGate

WIDTH, HEADS, KEY, VALUE, LENGTH = 12, 3, 4, 5, 37
#: An x of zeros, which leaves the biases alone, and an e.
NOTHING = torch.zeros(1, 1, WIDTH, dtype=torch.float64), torch.zeros(1, 1, HEADS, KEY, dtype=torch.float64)


def gate(**options: object) -> SignedGate:
    torch.manual_seed(0)
    context = LayerContext(layer=0, layers=1, width=WIDTH, heads=HEADS, groups=HEADS, key_size=KEY, value_size=VALUE)
    return SignedGate(SignedGate.Options(**options), context).double()


def signed(transition: Transition) -> Tensor:
    """The gate itself: what the record multiplies a pair by."""
    log_decay = transition.head[..., None] if transition.key is None else transition.key
    return log_decay.exp() * transition.phase.cos()


@pytest.mark.parametrize("over", ["head", "key"])
def test_the_memory_is_multiplied_by_a_signed_gate(over: str) -> None:
    stage = gate(over=over, bias_low=-3.0, bias_high=3.0)
    sizes = ((WIDTH,), (HEADS, KEY), (HEADS, KEY), (HEADS, VALUE))
    x, e, s, i = (torch.randn(2, LENGTH, *size, dtype=torch.float64) for size in sizes)
    plain = 2 * stage.logits(x).view(2, LENGTH, HEADS, -1).sigmoid() - 1
    g = plain.sign() * (1e-3 + (1 - 1e-3) * plain.abs())
    assert (g < -0.3).any()
    assert (g > 0.3).any()
    transition = stage(x, e)
    torch.testing.assert_close(signed(transition), g)
    y, _ = scan(Recurrence(input=i, expand=e, shrink=s, transition=transition))
    # both entries of a pair have its gate
    both = g.expand(-1, -1, -1, KEY // 2).repeat(1, 1, 1, 2)
    memory = torch.zeros(2, HEADS, KEY, VALUE, dtype=torch.float64)
    for step in range(LENGTH):
        memory = both[:, step, :, :, None] * memory + e[:, step, :, :, None] * i[:, step, :, None]
        torch.testing.assert_close(y[:, step], (memory * s[:, step, :, :, None]).sum(2))


def test_the_gradient_of_a_gate_is_the_same_on_both_sides_of_zero() -> None:
    slopes = []
    for start in (-1e-9, 1e-9, -0.5, 0.5):
        stage = gate()
        stage.logits.bias.data[...] = start
        found = signed(stage(*NOTHING))
        assert (found.sign() == math.copysign(1, start)).all()
        found.sum().backward()
        slopes.append(stage.logits.bias.grad.unique().item())
    assert slopes[0] == pytest.approx((1 - 1e-3) / 2, rel=1e-6)
    assert slopes[1] == pytest.approx(slopes[0], rel=1e-6)
    assert slopes[2] == pytest.approx(slopes[3], rel=1e-9)


def test_a_gate_learns_to_change_its_sign() -> None:
    """From 0.6 to −0.6 by gradient descent, through zero, where the phase jumps."""
    stage = gate(bias_low=1.4, bias_high=1.4)
    optimiser = torch.optim.SGD([stage.logits.bias], lr=0.5)
    for _ in range(60):
        optimiser.zero_grad()
        (signed(stage(*NOTHING)) + 0.6).square().sum().backward()
        optimiser.step()
    torch.testing.assert_close(
        signed(stage(*NOTHING)), torch.full((1, 1, HEADS, 1), -0.6, dtype=torch.float64), atol=1e-3, rtol=0
    )


def test_a_gate_of_zero_is_finite_and_so_is_its_gradient() -> None:
    stage = gate().float()
    stage.logits.bias.data.zero_()
    transition = stage(torch.zeros(1, 1, WIDTH), torch.zeros(1, 1, HEADS, KEY))
    assert transition.head.tolist() == [[pytest.approx([math.log(1e-3)] * HEADS, rel=1e-4)]]
    transition.head.sum().backward()
    assert stage.logits.bias.grad.isfinite().all()
