"""The bonus: the token itself, which a memory read before its write does not hold, with a weight of its own."""

import torch
from einops import repeat
from torch import Tensor, nn

from eos.errors import CompositionError
from eos.layer.denominator import States
from eos.record import Read
from eos.stage import undecayed


class Bonus(nn.Module):
    """y_t ← y_t + (s_tᵀ (u ∘ e_t)) i_t, with u in R^K a head, spread from 0 to 1 at the start, and e as it is written.

    Of a running average (a log_gate, with K = 1) the token is a part: y_t ← y_t + σ (s_t e_t i_t − y_t), where
    σ = sigmoid(u + log_gate_t − M_{t-1}) is its share.

    Source: arXiv:2404.05892, section 4.1; arXiv:2503.14456, section 4 (after the write); arXiv:2305.13048, section 3.2
    (averages)
    """

    def __init__(self, heads: int, key_size: int) -> None:
        super().__init__()
        self.weight = undecayed(torch.linspace(0, 1, heads * key_size).view(heads, key_size))

    def forward(self, y: Tensor, states: States, before: Tensor | None) -> Tensor:
        """y [B,T,H,V] with the bonus; ``before`` is M_{t-1} [B,T,H,1] where there is a log_gate."""
        e, s = (_per_head(x, self.weight.shape[0]) for x in (states.e, states.s))
        gate, log_gate = states.transition.gate, states.transition.log_gate
        e = e if gate is None else e * gate[..., 0]
        if log_gate is None or before is None:
            return y + ((s * self.weight * e).sum(-1, keepdim=True) * states.i).to(y.dtype)
        share = torch.sigmoid(self.weight + log_gate - before)
        return y + (share * (s * e * states.i - y)).to(y.dtype)


def refuse_bonus(states: States, read: Read, key_size: int) -> None:
    """Refuse a bonus where there is nothing for it to add.

    Raises:
        CompositionError: the memory is read several times or written per channel, or its average is not of K = 1.
    """
    gate = states.transition.gate
    if gate is not None and gate.shape[-1] > 1:
        raise CompositionError("bonus=true needs a gate without a V axis")
    if isinstance(states.s, tuple) or states.s.dim() == 5 or states.e.dim() == 5:
        raise CompositionError("bonus=true needs one read and states without a V axis")
    if {states.e.shape[3], states.s.shape[3]} - {1, key_size}:
        raise CompositionError(f"bonus=true has weights for K = {key_size} entries, which couple changes")
    averaged = states.transition.stabilise == "sum" and read == "before" and states.e.shape[3] == 1
    if states.transition.log_gate is not None and not averaged:
        raise CompositionError("bonus=true with a log_gate needs K = 1, read=before and a normaliser that sums")


def _per_head(x: Tensor | tuple[Tensor, ...], heads: int) -> Tensor:
    assert isinstance(x, Tensor)
    return x if x.shape[2] == 1 else repeat(x, "b t g k -> b t (g r) k", r=heads // x.shape[2])
