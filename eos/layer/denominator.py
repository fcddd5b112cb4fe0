"""Normalising a read by a second read of the same memory, fed with ones."""

from typing import NamedTuple

import torch
from torch import Tensor

from eos.errors import CompositionError
from eos.record import Transition, map_parts, parts


class States(NamedTuple):
    """What the stages made: i [1|B,1|T,1|H,V], e, one or several s, and the transition."""

    i: Tensor
    e: Tensor
    s: Tensor | tuple[Tensor, ...]
    transition: Transition


def with_ones(states: States) -> States:
    """The states with ones beside i: one column where nothing depends on V, else a column for every column of i.

    Raises:
        CompositionError: several reads; or a running maximum for every entry of K, which no denominator fits.
    """
    i, e, s, transition = states
    if isinstance(s, tuple):
        raise CompositionError(f"a denominator divides one read, got {len(s)}")
    scaled = (transition.log_gate, transition.key)
    if transition.stabilise == "max" and any(t is not None and t.shape[-1] > 1 for t in scaled):
        raise CompositionError('a denominator with stabilise="max" needs a log_gate and a decay that all of K share')
    depends = e.dim() == 5 or s.dim() == 5
    depends |= any(t.shape[axes.index("V")] > 1 for _, axes, t in parts(transition) if "V" in axes)
    if not depends:
        return States(torch.cat([i, torch.ones_like(i[..., :1])], -1), e, s, transition)

    def twice(name: str, axes: tuple[str, ...], tensor: Tensor) -> Tensor:
        if "V" not in axes or tensor.shape[axes.index("V")] == 1:
            return tensor
        return torch.cat([tensor, tensor], axes.index("V"))

    def twice_per_channel(x: Tensor) -> Tensor:
        return torch.cat([x, x], -1) if x.dim() == 5 else x

    ones = torch.cat([i, torch.ones_like(i)], -1)
    return States(ones, twice_per_channel(e), twice_per_channel(s), map_parts(transition, twice))


def divide(y: Tensor, values: int, *, floor: float, log_scale: Tensor | None) -> Tensor:
    """y's first V columns over the rest, whose magnitude is at least ``floor``; their sign is kept.

    With the running maximum M of an exponential gate, ``log_scale`` [B,T,H,1]: over max(|·|, exp(−M)), unsigned
    (arXiv:2405.04517, equation 15).
    """
    y, z = y[..., :values], y[..., values:]
    if log_scale is not None:
        return y / torch.maximum(z.abs(), torch.exp(-log_scale).to(z.dtype))
    return y / torch.where(z < 0, z.clamp(max=-floor), z.clamp(min=floor))
