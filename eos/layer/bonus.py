"""The bonus: the token itself, which a memory read before its write does not hold, with a weight of its own."""

import torch
from einops import repeat
from torch import Tensor, nn

from eos.errors import CompositionError
from eos.layer.denominator import States
from eos.stage import undecayed


class Bonus(nn.Module):
    """y_t ← y_t + (s_tᵀ (u ∘ e_t)) i_t, with u in R^K a head, spread from 0 to 1 at the start, and e as it is written.

    Source: arXiv:2404.05892, section 4.1; arXiv:2503.14456, section 4 (after the write)
    """

    def __init__(self, heads: int, key_size: int) -> None:
        super().__init__()
        self.weight = undecayed(torch.linspace(0, 1, heads * key_size).view(heads, key_size))

    def forward(self, y: Tensor, states: States) -> Tensor:
        """y [B,T,H,V] with the bonus."""
        e, s = (_per_head(x, self.weight.shape[0]) for x in (states.e, states.s))
        gate = states.transition.gate
        e = e if gate is None else e * gate[..., 0]
        return y + ((s * self.weight * e).sum(-1, keepdim=True) * states.i).to(y.dtype)


def refuse_bonus(states: States) -> None:
    """Refuse a bonus where there is nothing for it to add.

    Raises:
        CompositionError: the memory is read several times, written per channel, or under a normaliser.
    """
    gate = states.transition.gate
    if gate is not None and gate.shape[-1] > 1:
        raise CompositionError("bonus=true needs a gate without a V axis")
    if isinstance(states.s, tuple) or states.s.dim() == 5 or states.e.dim() == 5:
        raise CompositionError("bonus=true needs one read and states without a V axis")
    if states.transition.log_gate is not None:
        raise CompositionError("bonus=true cannot stand with a log_gate, whose normaliser the token is not part of")


def _per_head(x: Tensor | tuple[Tensor, ...], heads: int) -> Tensor:
    assert isinstance(x, Tensor)
    return x if x.shape[2] == 1 else repeat(x, "b t g k -> b t (g r) k", r=heads // x.shape[2])
