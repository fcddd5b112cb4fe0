"""What layers take over the seam between two parts of a sequence, beside memories: last tokens, or all of them."""

import torch
from jaxtyping import Bool
from torch import Tensor

from eos.errors import CompositionError
from eos.parallel.exchange import from_before, gathered
from eos.parallel.group import SequenceGroup


def tail_before(
    x: Tensor, count: int, group: SequenceGroup, *, reset: Bool[Tensor, "B T"] | None = None, axis: int = 1
) -> Tensor:
    """The last so many steps of the part before, zero on the first rank.

    Arguments:
        x: this part, [B,T,…] or with time on another ``axis``.
        reset: where documents begin; what is of another document than the last step is zero. Time is then axis 1.

    Raises:
        CompositionError: a part has fewer steps.
    """
    length = x.shape[axis]
    if count == 0:
        return x.narrow(axis, 0, 0)
    if count > length:
        raise CompositionError(
            f"a part of the sequence has {length} tokens, and what comes after it looks back at {count} of them: "
            "spread it over fewer processes, or take longer sequences"
        )
    tail = x.narrow(axis, length - count, count)
    if reset is not None:
        document = reset.cumsum(1)
        same = document[:, length - count :] == document[:, -1:]
        tail = torch.where(same.reshape(*same.shape, *[1] * (x.dim() - 2)), tail, 0.0)
    return from_before(tail, group, what="tokens")


def before(x: Tensor, group: SequenceGroup, *, axis: int) -> Tensor:
    """All steps of the parts before, one after the other; none on the first rank."""
    # all of them, be it with no step, so that every rank has its part in the gradients
    every = enumerate(_every(x, group))
    return torch.cat([z if rank < group.rank else z.narrow(axis, 0, 0) for rank, z in every], axis)


def whole(x: Tensor, group: SequenceGroup, *, axis: int) -> Tensor:
    """All steps of all parts, one after the other."""
    return torch.cat(_every(x, group), axis)


def _every(x: Tensor, group: SequenceGroup) -> list[Tensor]:
    every = gathered(x.byte() if x.dtype == torch.bool else x, group, what="all tokens")
    return list(every.to(x.dtype).unbind())
