"""The blocks of a model, and the outline that stands for them where a model is only counted."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from torch import nn

from eos.config import CrossMixer, ModelRecipe
from eos.models.block import Block


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What one stack of blocks would be.

    Arguments:
        blocks: of every mixer the first, in the order of the layout; the others of its name have weights as many.
        layers: the layers of every mixer.
        shared: parameters that all layers share, which are there once.
    """

    blocks: dict[str, Block]
    layers: dict[str, tuple[int, ...]]
    shared: tuple[nn.Parameter, ...]


_outlines: ContextVar[list[Outline] | None] = ContextVar("outlines", default=None)


@contextmanager
def outlined() -> Iterator[list[Outline]]:
    """Inside it a model gets one block of every mixer, in place of all; what it yields fills with their outlines."""
    outlines: list[Outline] = []
    token = _outlines.set(outlines)
    try:
        yield outlines
    finally:
        _outlines.reset(token)


def make_blocks(recipe: ModelRecipe, names: Sequence[str], *, cross: CrossMixer | None = None) -> nn.ModuleList:
    """The blocks of a model, the mixer of layer l being ``names[l]``."""
    shared: dict[str, nn.Parameter] = {}
    outlines = _outlines.get()
    if outlines is None:
        return nn.ModuleList(
            Block(recipe, name, layer=layer, shared=shared, cross=cross) for layer, name in enumerate(names)
        )
    layers: dict[str, tuple[int, ...]] = {}
    for layer, name in enumerate(names):
        layers[name] = (*layers.get(name, ()), layer)
    blocks = {name: Block(recipe, name, layer=at[0], shared=shared, cross=cross) for name, at in layers.items()}
    outlines.append(Outline(blocks=blocks, layers=layers, shared=tuple(shared.values())))
    return nn.ModuleList(blocks.values())
