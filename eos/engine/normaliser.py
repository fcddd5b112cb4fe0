"""The running normaliser M of a stabilised log_gate, over a window.

    M_t = grow(log o_t + M_{t-1}, log_gate_t),   grow = logaddexp or max

The element of an interval is (its log-decay, its normaliser); (L₂, M₂) ∘ (L₁, M₁) = (L₂ + L₁, grow(L₂ + M₁, M₂)), and a
reset starts an interval that takes nothing from the left. The window is cut into about √S blocks of as many steps: all
blocks are walked at once, each from an empty memory, then the blocks, then every step meets what came before its block.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from eos.engine.sequential import next_scale, normalised
from eos.engine.state import EMPTY_LOG_SCALE
from eos.record import LOG_FLOOR


def normalise(
    log_o: Tensor, log_gate: Tensor, scale: Tensor, begins: Tensor | None, stabilise: str | None, *, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The decay ≤ 0 and the gate ≤ 1 in nats and as a factor, and M, at every step [B,S,H,X].

    Arguments:
        log_o: log-decay [1|B,1|S,1|H,1|X].
        log_gate: [1|B,1|S,1|H,1|X].
        scale: M before the window [B,H,X].
        begins: true where a document begins [B,S], or None.
        stabilise: sum or max.
        steps: S.
    """
    totals = _totals(log_o, log_gate, scale, begins, stabilise, steps)
    previous = torch.cat([scale[:, None], totals[:, :-1]], 1)
    if begins is not None:
        previous = torch.where(begins[..., None, None], EMPTY_LOG_SCALE, previous)
    carried, _ = next_scale(log_o, log_gate, previous, stabilise)
    log_o, gate = normalised(carried, log_gate, stabilise)
    # an empty memory has nothing to lose, and a chunk without that decay may be mild (eos.engine.framed)
    log_o = torch.where(previous > EMPTY_LOG_SCALE, log_o, 0.0)
    return log_o.clamp(min=LOG_FLOOR), gate, totals


def _totals(
    log_o: Tensor, log_gate: Tensor, scale: Tensor, begins: Tensor | None, stabilise: str | None, steps: int
) -> Tensor:
    """M at every step."""
    batch, heads, axis = scale.shape
    size = 1 << (math.isqrt(max(steps - 1, 1)).bit_length() - 1)
    missing = -steps % size

    def walked(x: Tensor, fill: float) -> tuple[Tensor, ...]:
        """Step c of every block [B,N,H,X]."""
        x = functional.pad(x.expand(batch, steps, heads, axis), (0, 0, 0, 0, 0, missing), value=fill)
        return torch.unbind(x.unflatten(1, (-1, size)), 2)

    shut: tuple[Tensor | None, ...] = (None,) * size
    if begins is not None:
        blocks = functional.pad(begins, (0, missing)).unflatten(1, (-1, size))
        shut = blocks.unbind(2)
    decays, gates = walked(log_o, 0.0), walked(log_gate, EMPTY_LOG_SCALE)
    reached, totals = [decays[0]], [gates[0]]
    for decay, gate, begin in zip(decays[1:], gates[1:], shut[1:], strict=True):
        _, grown = next_scale(decay, gate, totals[-1], stabilise)
        totals.append(grown if begin is None else torch.where(begin[..., None, None], gate, grown))
        reached.append(decay + reached[-1])
    closed = None if begins is None else blocks.cumsum(2) > 0
    inside, reach = torch.stack(totals, 2), torch.stack(reached, 2)

    found = [scale]
    ends = zip(reached[-1].unbind(1), totals[-1].unbind(1), strict=True)
    for n, (decay, gate) in enumerate(ends):
        _, grown = next_scale(decay, gate, found[-1], stabilise)
        found.append(grown if closed is None else torch.where(closed[:, n, -1, None, None], gate, grown))
    _, grown = next_scale(reach, inside, torch.stack(found[:-1], 1)[:, :, None], stabilise)
    if closed is not None:
        grown = torch.where(closed[..., None, None], inside, grown)
    return grown.flatten(1, 2)[:, :steps]
