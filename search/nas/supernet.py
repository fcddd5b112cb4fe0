"""One network that holds the weights of every network of a space.

A network is run as what it is: its own modules, built from its own recipe, on weights that are parts of the shared
ones. So any composition can stand in the space, and a network taken out computes what it computed inside.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from eos.training.recompute import recompute_blocks
from search.nas.architecture import Architecture, Layer
from search.nas.slices import Cut, Home, head_axes, home, in_common
from search.nas.space import Space

#: Networks whose modules are kept.
KEPT = 128


@dataclass(frozen=True, kw_only=True)
class _Network:
    """Modules without weights of their own, and where each weight lives, by every name that it has."""

    modules: nn.Module
    places: Mapping[str, tuple[str, Cut]]


class Supernet(nn.Module):
    """The weights of all networks of ``space``; it runs the one that was selected last, at first a largest.

    Arguments:
        space: the networks.
        recompute: compute every block again in the backward pass.

    Source: arXiv:2005.14187, section 3 (weights of smaller networks are parts of larger ones' in attention models)
    """

    def __init__(self, space: Space, *, recompute: bool = False) -> None:
        super().__init__()
        self.space = space
        self._recompute = recompute
        self._headed = {name: head_axes(mixer) for name, mixer in space.mixers.items()}
        self._shared: frozenset[tuple[str, str]] = frozenset()
        #: How much of an axis networks with so many blocks take up at most: by weight, axis and blocks.
        self._spans: dict[tuple[str, int, int], int] = defaultdict(int)
        self._networks: OrderedDict[tuple[Architecture, torch.device], _Network] = OrderedDict()
        #: What is run while nothing else is selected: what validations in training are of.
        self.usual = space.largest(np.random.default_rng(space.nas.seed))
        self.architecture = self.usual
        self.weights = nn.ParameterDict()
        for key, shape in self._measured().items():
            self.weights[_slug(key)] = nn.Parameter(torch.zeros(shape))
        self._start()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.weights.parameters()).device

    def select(self, architecture: Architecture) -> None:
        """Run this network from now on."""
        self.architecture = architecture

    def rest(self) -> None:
        """Run the usual network again."""
        self.architecture = self.usual

    def forward(self, *inputs: Tensor, **arguments: Any) -> Tensor:
        """What the selected network makes of its inputs."""
        network = self._network(self.architecture)
        network.modules.train(self.training)
        weights = {name: cut.of(self.weights[key]) for name, (key, cut) in network.places.items()}
        output: Tensor = functional_call(network.modules, weights, inputs, arguments, tie_weights=False)
        return output

    @torch.no_grad()
    def taken_out(self, architecture: Architecture) -> nn.Module:
        """A network with a copy of its weights, built as training by its recipe would build it."""
        with torch.random.fork_rng():
            model = self.space.task.model(self.space.recipe(architecture))
        for _, held, parameter in self._trained(architecture, model):
            parameter.copy_(self._cut(held, parameter.shape).of(self.weights[_slug(held.key)]))
        return model.to(self.device)

    def _network(self, architecture: Architecture) -> _Network:
        key = (architecture, self.device)
        if key in self._networks:
            self._networks.move_to_end(key)
            return self._networks[key]
        with torch.random.fork_rng():
            model = self.space.task.model(self.space.recipe(architecture))
        places = {
            name: (_slug(held.key), self._cut(held, parameter.shape))
            for name, held, parameter in self._trained(architecture, model)
        }
        modules = _hollow(model.to(self.device))
        if self._recompute:
            recompute_blocks(modules, lent=True)
        self._networks[key] = network = _Network(modules=modules, places=places)
        if len(self._networks) > KEPT:
            self._networks.popitem(last=False)
        return network

    def _trained(self, architecture: Architecture, model: nn.Module) -> Iterator[tuple[str, Home, nn.Parameter]]:
        """What is trained of a model, by every name that it has, and where it lives."""
        for name, parameter in model.named_parameters(remove_duplicate=False):
            if parameter.requires_grad:
                yield name, home(name, architecture, self._shared), parameter

    def _blocks(self, held: Home, shape: torch.Size) -> tuple[int, ...]:
        headed: tuple[bool, ...] = ()
        heads = None
        if held.layer is not None:
            headed = self._headed[held.layer.mixer].get(held.name, ())
            heads = held.layer.heads or getattr(self.space.mixers[held.layer.mixer], "heads", None)
        if heads is None or len(headed) != len(shape):
            return (1,) * len(shape)
        return tuple(heads if own and size % heads == 0 else 1 for own, size in zip(headed, shape, strict=True))

    def _cut(self, held: Home, shape: torch.Size) -> Cut:
        blocks = self._blocks(held, shape)
        spans = tuple(
            size if count == 1 else self._spans[held.key, axis, count]
            for axis, (size, count) in enumerate(zip(shape, blocks, strict=True))
        )
        return Cut(shape=tuple(shape), blocks=blocks, spans=spans)

    def _measured(self) -> dict[str, list[int]]:
        """The shape of every weight: as large along each axis as any network needs it."""
        shapes: dict[str, list[int]] = {}
        with torch.device("meta"):
            models = [(each, self.space.task.model(self.space.recipe(each))) for each in _uniform(self.space)]
        self._shared = frozenset(pair for each, model in models for pair in in_common(each, model))
        for each, model in models:
            for _, held, parameter in self._trained(each, model):
                known = shapes.get(held.key, parameter.shape)
                shapes[held.key] = [max(sizes) for sizes in zip(known, parameter.shape, strict=True)]
                for axis, count in enumerate(self._blocks(held, parameter.shape)):
                    place = (held.key, axis, count)
                    self._spans[place] = max(self._spans[place], parameter.shape[axis])
        return shapes

    @torch.no_grad()
    def _start(self) -> None:
        """Start every weight as the networks do, the largest last."""
        for architecture in _uniform(self.space):
            model = self.space.task.model(self.space.recipe(architecture))
            embedded = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
            for _, held, parameter in self._trained(architecture, model):
                weight = self.weights[_slug(held.key)]
                self._cut(held, parameter.shape).put(parameter, weight)
                free = parameter.ndim < 2 or id(parameter) in embedded or hasattr(parameter, "_no_weight_decay")
                weight._no_weight_decay = free


def _uniform(space: Space) -> list[Architecture]:
    """Networks of one mixer alone, as deep as can be, in all sizes: between them they need every weight."""
    found = []
    for width in sorted(space.nas.width):
        for name in space.mixers:
            for heads, key in sorted(space.shapes[name, width], key=lambda shape: [size or 0 for size in shape]):
                layer = Layer(mixer=name, heads=heads, key_size=key, ratio=max(space.nas.ratios))
                stacks = [(layer,) * max(depths, default=0) for depths in (space.nas.depth, space.nas.encoder_depth)]
                found.append(Architecture(width=width, layers=stacks[0], encoder=stacks[1] or None))
    return found


def _hollow(model: nn.Module) -> nn.Module:
    """The model with nothing in the place of what is trained of it."""
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.requires_grad:
                setattr(module, name, nn.Parameter(torch.empty_like(parameter, device="meta")))
    return model


def _slug(key: str) -> str:
    """A name without the dots that stand between modules."""
    return key.replace(".", "/")
