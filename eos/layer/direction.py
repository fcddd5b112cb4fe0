"""Mixers that also see what comes later: from both sides, from all at once, and along the axes of a grid."""

import math
from collections.abc import Callable, Sequence

import torch
from einops import einsum, repeat
from jaxtyping import Bool, Float
from torch import Tensor

from eos import engine
from eos.errors import CompositionError
from eos.parallel import continued, current, gathered, tail_before
from eos.record import Recurrence
from eos.rotation import rotate
from eos.stage import full_precision


def ends(reset: Bool[Tensor, "B T"]) -> Bool[Tensor, "B T"]:
    """True where a document ends, from where one begins; the last of all ends unmarked."""
    first, group = reset[:, :1], current()
    after = torch.zeros_like(first) if group is None else tail_before(first, 1, group.from_the_end())
    return torch.cat([reset[:, 1:], after], 1)


def refuse_all(record: Recurrence) -> str | None:
    """Why no token can read the memory of all tokens, or None."""
    transition = record.transition
    for name in ("head", "key", "value", "rate", "erase"):
        if getattr(transition, name) is not None:
            return f"direction=all needs a memory that keeps everything alike, and {name} changes it; take both"
    if transition.turns and (
        transition.phase is None or transition.phase.dim() == 5 or transition.phase_rate is not None
    ):
        return "direction=all needs phases without a V axis"
    if transition.stabilise == "max" or record.read == "before" or record.substeps > 1:
        return "direction=all needs read=after, substeps=1 and weights that sum to one"
    if isinstance(record.shrink, tuple) or record.shrink.dim() == 5:
        return "direction=all needs one read without a V axis"
    return None


def read_all(record: Recurrence) -> Float[Tensor, "B T H V"]:
    """y_t = m_{T−1}ᵀ R(φ_{t+1} + … + φ_{T−1}) s_t: what every token reads of the memory of all tokens.

    Of one pass, with a normaliser, these are the weights of a softmax over all tokens; a phase still counts distances.

    Raises:
        CompositionError: the memory decays, erases, or is packed with several documents.

    Source: arXiv:2405.21022, section 3.
    """
    if record.reset is not None:
        raise CompositionError(
            "direction=all reads one memory a row, so a row holds neither several documents nor padding; take both"
        )
    sizes, phase, group = record.sizes, record.transition.phase, current()
    _, memory = engine.scan(continued(record))
    value = memory.value if group is None else gathered(memory.value, group, what="memory")[-1]
    s = record.reads[0].to(value.dtype)
    s = s if s.shape[2] in (1, sizes["H"]) else repeat(s, "b t g k -> b t (g r) k", r=sizes["H"] // s.shape[2])
    if phase is not None:
        turns = phase.double().expand(-1, sizes["T"], -1, -1)
        total = turns.sum(1, keepdim=True)
        later = total - turns.cumsum(1)
        if group is not None:
            later = later + gathered(total, group, what="phases")[group.rank + 1 :].sum(0)
        s = rotate(s, torch.remainder(later, 2 * math.pi).to(s.dtype))
    s = s.expand(sizes["B"], sizes["T"], sizes["H"], -1)
    with full_precision(s):
        return einsum(value, s, "b h k v, b t h k -> b t h v").to(record.expand.dtype)


def check_grid(x: Float[Tensor, "B T D"], shape: Sequence[int]) -> None:
    """Refuse a shape that has not as many places as x has tokens.

    Raises:
        CompositionError: it has not.
    """
    if math.prod(shape) != x.shape[1]:
        raise CompositionError(
            f"a grid of {' × '.join(map(str, shape))} has {math.prod(shape)} tokens, not {x.shape[1]}"
        )


def along_axes(
    mix: Callable[[Tensor], Tensor], x: Float[Tensor, "B T D"], shape: Sequence[int]
) -> Float[Tensor, "B T D"]:
    """The sum of mixing along every axis of a grid of tokens, each row of it by itself.

    Arguments:
        mix: a mixer, [B,T,D] → [B,T,D].
        x: T tokens of a grid, its last axis the fastest.
        shape: the grid's sizes, whose product is T.

    Raises:
        CompositionError: the product is another.

    Source: arXiv:2311.04823, section 3.4; arXiv:2305.04749, section 3.4.
    """
    check_grid(x, shape)
    grid = x.unflatten(1, tuple(shape))
    total = torch.zeros_like(grid)
    for axis in range(1, grid.dim() - 1):
        rows = grid.movedim(axis, -2)
        total = total + mix(rows.flatten(0, -3)).view_as(rows).movedim(-2, axis)
    return total.flatten(1, -2)
