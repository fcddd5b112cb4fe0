"""Tokens of a grid read in one pass: rotations by their place, and entries taken from neighbours."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from eos.errors import CompositionError
from eos.record import Transition


def by_place(transition: Transition, shape: Sequence[int]) -> Transition:
    """The transition whose memory has turned by Θ_t before token t, with Θ of its place on the grid, not of t.

    The pairs are shared out among the m axes, each with every m-th angle θ: along axis j, Θ_t turns by s_j θ.

    Raises:
        CompositionError: the rotation varies in time or over V.

    Source: arXiv:2307.09270, section 3.3 (several dimensions)
    """
    if not transition.turns:
        return transition
    if transition.phase is None or transition.phase.dim() == 5 or transition.phase.shape[1] > 1:
        raise CompositionError("grid=places needs rotations that are the same at every token, without a V axis")
    turn = transition.phase.double()
    pairs = turn.shape[-1]
    sizes = (torch.arange(size, dtype=torch.float64, device=turn.device) for size in shape)
    places = torch.stack([place.flatten() for place in torch.meshgrid(*sizes, indexing="ij")], -1)
    angle = (places[None, :, None, :, None] * turn[..., None, :: len(shape)]).flatten(-2)[..., :pairs]
    steps = torch.diff(angle, dim=1, prepend=torch.zeros_like(angle[:, :1]))
    return replace(transition, phase=torch.remainder(steps, 2 * math.pi).to(transition.phase.dtype))


def from_neighbours(x: Float[Tensor, "B T H X"], shape: Sequence[int], share: int) -> Float[Tensor, "B T H X"]:
    """x with entries of its neighbours: for every axis of the grid, X/share from the next token and as many from the
    one before; zero beyond the border.

    Raises:
        CompositionError: there are fewer than 2 · axes · X/share entries, or X/share is no whole number.

    Source: arXiv:2210.08164 (neighbourhood association)
    """
    entries = x.shape[-1]
    if x.shape[1] == 1 < math.prod(shape):
        raise CompositionError("neighbours need an e that differs from token to token")
    if entries % share or 2 * len(shape) > share:
        raise CompositionError(
            f"neighbours={share} takes {2 * len(shape)} times {entries}/{share} entries of {entries}: "
            f"it must divide them and be at least {2 * len(shape)}"
        )
    part = entries // share
    grid = x.unflatten(1, tuple(shape))
    moved = grid.clone()
    for axis in range(len(shape)):
        size = shape[axis]
        for side, slot in ((1, 2 * axis), (-1, 2 * axis + 1)):
            at = slice(slot * part, (slot + 1) * part)
            taken = grid[..., at].roll(-side, 1 + axis)
            border = torch.arange(size, device=x.device) == (size - 1 if side == 1 else 0)
            taken = taken.masked_fill(border.view(-1, *[1] * (len(shape) - axis + 1)), 0.0)
            moved[..., at] = taken
    return torch.flatten(moved, 1, len(shape))
