"""A recurrence whose steps are spread over the processes of a group.

Every rank sums up its own part from an empty memory (eos.engine.stretch), the memory that comes into it is found with
the others, and the part is scanned from there as in decoding. What is sent does not depend on how long the parts are.

    ring     rank r waits for the memory from rank r − 1, sends on A m + S at once, and scans; one memory a direction
    gather   every rank gets (A, S) of all ranks, and composes those before its own; one (A, S), and back one memory

Source: arXiv:2404.02882 (ring); arXiv:2502.07563 (gather)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks

from eos.engine.state import memory_before
from eos.engine.stretch import Stretch, stretch
from eos.parallel.exchange import Arriving, Leaving, gather
from eos.parallel.group import SequenceGroup, current
from eos.record import Memory, Recurrence
from eos.stage import full_precision


def continued(record: Recurrence) -> Recurrence:
    """This rank's part of a recurrence with the memory that the parts before it bring; a whole one as it is.

    A record that has a memory continues that one, and is whole.
    """
    group = current()
    if group is None or record.memory is not None:
        return record
    empty = memory_before(record)
    # the ring's memory may come while this part is summed up
    arriving = [Arriving(group, x, by=1) for x in _tensors(empty)] if group.form == "ring" else []
    part = stretch(record)
    comes: tuple[Tensor, ...] = _Incoming.apply(  # type: ignore[no-untyped-call]
        group, part, arriving, empty, *part.tensors()
    )
    return replace(record, memory=_memory(list(comes)))


def _tensors(memory: Memory) -> list[Tensor]:
    return [x for x in (memory.value, memory.log_scale) if x is not None]


def _memory(tensors: list[Tensor]) -> Memory:
    return Memory(value=tensors[0], log_scale=tensors[1] if len(tensors) > 1 else None)


class _Incoming(torch.autograd.Function):
    """The memory that comes into this rank's part, from what every part does to a memory."""

    @staticmethod
    def forward(
        ctx: Any, group: SequenceGroup, part: Stretch, arriving: list[Arriving], empty: Memory, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.group = group
        if group.form == "ring":
            return _ring(ctx, group, part, arriving, empty, tensors)
        return _composed(ctx, group, part, empty, tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        with full_precision(grads[0]):  # whoever calls it under autocast
            found = _ring_back(ctx, grads) if ctx.group.form == "ring" else _composed_back(ctx, grads)
        return None, None, None, None, *found


@contextmanager
def _composing() -> Iterator[None]:
    """What is composed inside holds its own tensors: computed again for their sake, as those of a block may be, it
    would wait for processes that wait for this one.
    """
    with torch.enable_grad(), saved_tensors_hooks(lambda x: x, lambda x: x):
        yield


def _ring(
    ctx: Any, group: SequenceGroup, part: Stretch, arriving: list[Arriving], empty: Memory, tensors: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    comes = [each.wait() for each in arriving] if group.rank else _tensors(empty)
    with _composing():
        ctx.comes = [x.detach().requires_grad_() for x in comes]
        ctx.own = [x.detach().requires_grad_() for x in tensors]
        ctx.goes = _tensors(part.with_tensors(ctx.own, part.opens).after(_memory(ctx.comes)))
    leaving = [Leaving(group, x, by=1, what="memory") for x in ctx.goes]
    for each in leaving:
        each.wait()
    return tuple(x.detach() for x in ctx.comes)


def _ring_back(ctx: Any, grads: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    group: SequenceGroup = ctx.group
    arriving = [Arriving(group, x, by=-1) for x in ctx.goes]
    back = [each.wait() for each in arriving]
    found = torch.autograd.grad(ctx.goes, [*ctx.comes, *ctx.own], back, allow_unused=True, materialize_grads=True)
    count = len(ctx.comes)
    leaving = [
        Leaving(group, own + through, by=-1, what="memory") for own, through in zip(grads, found[:count], strict=True)
    ]
    for each in leaving:
        each.wait()
    return found[count:]


def _composed(
    ctx: Any, group: SequenceGroup, part: Stretch, empty: Memory, tensors: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """Compose all parts here, and keep the graph: it gives what every rank's gradient means for this rank's part."""
    every = gather(torch.cat([x.flatten() for x in tensors]), group, what="memory", way="forward")
    opens = [part.opens] * group.size
    if part.opens is not None:
        opens = list(gather(part.opens, group, what="opens", way="forward").unbind())
    sizes = [x.numel() for x in tensors]
    comes = _tensors(empty)
    ctx.found = []
    with _composing():
        for place, packed in enumerate(every.unbind()):
            ctx.found.append(comes)
            own = [x.reshape(like.shape) for x, like in zip(packed.split(sizes), tensors, strict=True)]
            if place == group.rank:
                own = ctx.own = [x.detach().requires_grad_() for x in own]
            comes = _tensors(part.with_tensors(own, opens[place]).after(_memory(comes)))
    return tuple(x.detach() for x in ctx.found[group.rank])


def _composed_back(ctx: Any, grads: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    group: SequenceGroup = ctx.group
    every = gather(torch.cat([x.flatten() for x in grads]), group, what="memory", way="backward")
    outputs, directions = [], []
    for later in range(group.rank + 1, group.size):
        packed = every[later].split([x.numel() for x in grads])
        outputs += ctx.found[later]
        directions += [x.reshape(like.shape) for x, like in zip(packed, grads, strict=True)]
    if not outputs:
        return tuple(torch.zeros_like(x) for x in ctx.own)
    found: tuple[Tensor, ...] = torch.autograd.grad(
        outputs, ctx.own, directions, allow_unused=True, materialize_grads=True
    )
    return found
