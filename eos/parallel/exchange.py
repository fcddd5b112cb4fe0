"""What the processes of a group send each other, with gradients that go the other way."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from eos.parallel.group import SequenceGroup


class Arriving:
    """A tensor on its way from a neighbour; what comes from beyond the ends is zero.

    Arguments:
        like: its shape, dtype and device.
        by: 1: from the rank before, −1: from the one after.
    """

    def __init__(self, group: SequenceGroup, like: Tensor, *, by: int) -> None:
        self._tensor = torch.zeros_like(like, memory_format=torch.contiguous_format)
        self._work: Any = None
        rank = group.rank - by
        if 0 <= rank < group.size:
            self._work = dist.irecv(self._tensor, group=group.processes, group_src=group.process(rank))

    def wait(self) -> Tensor:
        """The tensor, once it is here."""
        if self._work is not None:
            self._work.wait()
        return self._tensor


class Leaving:
    """A tensor on its way to a neighbour, where there is one.

    Arguments:
        by: 1: to the rank after, −1: to the one before.
        what: it is counted as.
    """

    def __init__(self, group: SequenceGroup, tensor: Tensor, *, by: int, what: str) -> None:
        # held until it has left
        self._tensor = tensor.detach().contiguous()
        self._work: Any = None
        rank = group.rank + by
        if 0 <= rank < group.size:
            self._work = dist.isend(self._tensor, group=group.processes, group_dst=group.process(rank))
            group.sent[what, "forward" if by == 1 else "backward"] += tensor.numel() * tensor.element_size()

    def wait(self) -> None:
        """Until it has left."""
        if self._work is not None:
            self._work.wait()


class _FromBefore(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: SequenceGroup, what: str) -> Tensor:
        ctx.group, ctx.what = group, what
        return _shifted(x, group, by=1, what=what)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        return _shifted(dy, ctx.group, by=-1, what=ctx.what), None, None


def _shifted(x: Tensor, group: SequenceGroup, *, by: int, what: str) -> Tensor:
    arriving = Arriving(group, x, by=by)
    leaving = Leaving(group, x, by=by, what=what)
    leaving.wait()
    return arriving.wait()


def from_before(x: Tensor, group: SequenceGroup, *, what: str) -> Tensor:
    """The x of the rank before, zero on the first.

    Arguments:
        what: it is counted as.
    """
    shifted: Tensor = _FromBefore.apply(x, group, what)  # type: ignore[no-untyped-call]
    return shifted


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: SequenceGroup, what: str) -> Tensor:
        ctx.group, ctx.what = group, what
        return gather(x, group, what=what, way="forward")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        group: SequenceGroup = ctx.group
        dy = dy.flip(0) if group.turned else dy.contiguous()
        parts = torch.empty_like(dy)
        dist.all_to_all_single(parts, dy, group=group.processes)
        group.sent[ctx.what, "backward"] += (group.size - 1) * dy[0].numel() * dy.element_size()
        return parts.sum(0), None, None


def gathered(x: Tensor, group: SequenceGroup, *, what: str) -> Tensor:
    """The x of every rank [R, …]; the gradients of all of them come back summed.

    Arguments:
        what: it is counted as.
    """
    every: Tensor = _Gathered.apply(x, group, what)  # type: ignore[no-untyped-call]
    return every


def gather(x: Tensor, group: SequenceGroup, *, what: str, way: str) -> Tensor:
    """The x of every rank [R, …], without gradients; counted once, though it goes to every other rank."""
    x = x.detach().contiguous()
    every = x.new_empty(group.size, *x.shape)
    dist.all_gather([every[group.process(rank)] for rank in range(group.size)], x, group=group.processes)
    group.sent[what, way] += x.numel() * x.element_size()
    return every
