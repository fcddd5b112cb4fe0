"""Runs the kernels of chunks, with T cut into segments where heads and tiles of V alone do not fill a GPU."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eos.engine.algorithm import AbstractAlgorithm, Gradients
from eos.engine.lower import Lowered
from eos.engine.triton.chunked import Launch
from eos.engine.triton.sides import AbstractLaunch
from eos.engine.triton.tiles import Tiles


@dataclass(frozen=True)
class AbstractSegmented(AbstractAlgorithm):
    """Segments are rows of the batch to the kernels. They run twice: first all from an empty memory, for what each
    writes; then each from the memory that those before it leave. What is left of T runs after them.

    Arguments:
        segments: how many T is cut into, ≥ 1; not at all where a segment would have no chunk.
    """

    tiles: Tiles
    segments: int = 1
    takes_activations = True

    @abstractmethod
    def launch(self, x: Lowered, segments: int = 1) -> AbstractLaunch:
        """What launches the kernels on a window of so many segments."""

    def forward(self, x: Lowered, memory: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        count, length = self._cut(x)
        if count == 1:
            return self.launch(x).forward(memory)
        steps = count * length
        ys, memory = self.launch(_folded(_part(x, 0, steps), count), count).forward(memory)
        ys = tuple(_unfolded(y, count) for y in ys)
        if steps == x.input.shape[1]:
            return ys, memory
        rest, memory = self.launch(_part(x, steps, None)).forward(memory)
        return tuple(torch.cat(pair, 1) for pair in zip(ys, rest, strict=True)), memory

    def backward(
        self, x: Lowered, memory: Tensor, dys: tuple[Tensor, ...], dmemory: Tensor
    ) -> tuple[Gradients, Tensor]:
        count, length = self._cut(x)
        if count == 1:
            return self.launch(x).backward(memory, dys, dmemory)
        steps, later = count * length, None
        first = self.launch(_folded(_part(x, 0, steps), count), count)
        if steps < x.input.shape[1]:
            _, between = first.forward(memory)
            rest = self.launch(_part(x, steps, None))
            later, dmemory = rest.backward(between, tuple(dy[:, steps:] for dy in dys), dmemory)
        folded = tuple(_fold(dy[:, :steps], count) for dy in dys)
        gradients, dbefore = first.backward(memory, folded, dmemory)
        return _gathered(gradients, later, x, count), dbefore

    def _cut(self, x: Lowered) -> tuple[int, int]:
        """How many segments, and their steps: whole chunks."""
        length = x.input.shape[1] // self.segments // self.tiles.chunk * self.tiles.chunk
        return (self.segments, length) if length else (1, x.input.shape[1])


class TritonChunked(AbstractSegmented):
    """Chunks on tensor cores: scores of a chunk where K (or V) decays entry by entry, then memories, then gradients."""

    def launch(self, x: Lowered, segments: int = 1) -> AbstractLaunch:
        return Launch(x, self.tiles, segments)


def _over_time(x: Lowered, change: Callable[[Tensor], Tensor]) -> Lowered:
    """The same window with every tensor of it changed; what takes a gradient still does."""

    def changed(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else change(tensor.detach()).requires_grad_(tensor.requires_grad)

    i, e, *reads = (change(tensor.detach()) for tensor in (x.input, x.expand, *x.reads))
    return replace(
        x,
        input=i,
        expand=e,
        reads=tuple(reads),
        over_key=changed(x.over_key),
        over_value=changed(x.over_value),
        erase=None if x.erase is None else (changed(x.erase[0]), changed(x.erase[1])),  # type: ignore[arg-type]
        reset=None if x.reset is None else change(x.reset),
    )


def _part(x: Lowered, start: int, stop: int | None) -> Lowered:
    return _over_time(x, lambda tensor: tensor if tensor.shape[1] == 1 else tensor[:, start:stop])


def _folded(x: Lowered, count: int) -> Lowered:
    """[B, n L, …] as [B n, L, …]; what is shared over batch and time stays as it is."""
    batch = x.input.shape[0]

    def fold(tensor: Tensor) -> Tensor:
        if tensor.shape[:2] == (1, 1):
            return tensor
        if tensor.shape[1] == 1:
            return tensor.repeat_interleave(count, 0)
        return _fold(tensor.expand(batch, *tensor.shape[1:]), count)

    return _over_time(x, fold)


def _fold(tensor: Tensor, count: int) -> Tensor:
    folded: Tensor = tensor.unflatten(1, (count, -1)).flatten(0, 1)
    return folded


def _unfolded(tensor: Tensor, count: int) -> Tensor:
    whole: Tensor = tensor.unflatten(0, (-1, count)).flatten(1, 2)
    return whole


def _gathered(first: Gradients, later: Gradients | None, x: Lowered, count: int) -> Gradients:
    """The gradients of a window from those of its segments and of what is left after them."""

    def whole(gradient: Tensor | None, rest: Tensor | None, like: Tensor | None) -> Tensor | None:
        if gradient is None or like is None:
            return None
        if like.shape[:2] == (1, 1):
            return gradient if rest is None else gradient + rest
        gradient = _unfolded(gradient, count)
        gradient = gradient.sum_to_size(len(like), min(like.shape[1], gradient.shape[1]), *like.shape[2:])
        if rest is None:
            return gradient
        return torch.cat([gradient, rest], 1) if like.shape[1] > 1 else gradient + rest

    def added(left: Tensor | None, right: Tensor | None) -> Tensor | None:
        return left if left is None or right is None else left + right

    others = Gradients(input=None, expand=None, reads=(None,) * len(x.reads)) if later is None else later
    return Gradients(
        input=whole(first.input, others.input, x.input),
        expand=whole(first.expand, others.expand, x.expand),
        reads=tuple(whole(d, rest, s) for d, rest, s in zip(first.reads, others.reads, x.reads, strict=True)),
        over_key=whole(first.over_key, others.over_key, x.over_key),
        over_value=whole(first.over_value, others.over_value, x.over_value),
        erase=(None, None)
        if x.erase is None
        else (
            whole(first.erase[0], others.erase[0], x.erase[0]),
            whole(first.erase[1], others.erase[1], x.erase[1]),
        ),
        biases=(added(first.biases[0], others.biases[0]), added(first.biases[1], others.biases[1]), None),
    )
