"""The space of an architecture search: which networks there are, and the recipe that each stands for."""

import itertools
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from eos.compose import refuse
from eos.compose.cost import ModelCost, cost_of
from eos.compose.model import load_model_recipe
from eos.config import ChannelMixer, EncoderPart, EOSMixer, Mixer, ModelRecipe, SoftmaxMixer
from eos.errors import RecipeError
from eos.models import EncoderDecoder
from eos.models.layout import resolve_layout
from eos.tasks.task import AbstractTask
from search.nas.architecture import Architecture, Layer
from search.nas.recipe import NASRecipe

#: Heads and K of a mixer.
Shape = tuple[int | None, int | None]


@dataclass(frozen=True, kw_only=True)
class Space:
    """All networks of a search.

    Arguments:
        nas: what is searched.
        model: whose norm, embedding, dropout and kind of channel mixer all networks have.
        task: what they are for.
        mixers: by name, as their recipes have them.
        shapes: heads and K that a mixer can have in a model of a width, by both.

    Raises:
        RecipeError: a mixer that cannot live in the task, or in no width, or a space of one network.
    """

    nas: NASRecipe
    model: ModelRecipe
    task: AbstractTask
    mixers: Mapping[str, Mixer] = field(init=False)
    shapes: Mapping[tuple[str, int], list[Shape]] = field(init=False)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        if self.nas.ratios != [0] and self.model.channel_mixer.name == "none":
            raise RecipeError("the base run's model has no channel mixer: set search.ratios=[0], or take another model")
        if bool(self.nas.encoder_depth) != issubclass(self.task.kind, EncoderDecoder):
            needed = "needs" if issubclass(self.task.kind, EncoderDecoder) else "takes no"
            raise RecipeError(f"task={self.task_name} {needed} search.encoder_depth")
        if self.model.positions in self.nas.mixers:
            raise RecipeError(f"search.mixers.{self.model.positions}: the model has a mixer of this name; take another")
        set_(self, "mixers", {})
        set_(self, "shapes", {})
        for name, text in self.nas.mixers.items():
            self._add(name, alternatives(name, text))
        if self.size == 1:
            raise RecipeError("the space holds one network: give mixers, width, depth, heads, key_sizes or ratios more")

    @property
    def task_name(self) -> str:
        """The task's name."""
        return type(self.task).__module__.rpartition(".")[2]

    @property
    def size(self) -> int:
        """How many networks there are, those that break a constraint among them."""
        total = 0
        for width in self.nas.width:
            layers = sum(len(self.shapes[name, width]) for name in self.mixers) * len(self.nas.ratios)
            encoders = sum(layers**depth for depth in self.nas.encoder_depth) or 1
            total += sum(layers**depth for depth in self.nas.depth) * encoders
        return total

    def _add(self, name: str, texts: Mapping[str, str]) -> None:
        """Take up a mixer, or of its alternatives those that can be built."""
        mixers: dict[str, Mixer] = {}
        shapes: dict[tuple[str, int], list[Shape]] = {}
        reason: RecipeError | None = None
        for label, text in texts.items():
            mixer = _mixer(label, text)
            try:
                found = {(label, width): self._shapes(label, text, mixer, width) for width in self.nas.width}
            except RecipeError as error:
                reason = reason or error
                continue
            mixers[label], shapes = mixer, shapes | found
        if reason is not None and not mixers:
            raise reason
        if twice := mixers.keys() & self.mixers.keys():
            raise RecipeError(f"search.mixers.{name}: there is a mixer {min(twice)} already; take another name")
        object.__setattr__(self, "mixers", {**self.mixers, **mixers})
        object.__setattr__(self, "shapes", {**self.shapes, **shapes})

    def _shapes(self, name: str, text: str, mixer: Mixer, width: int) -> list[Shape]:
        reason = ""
        heads: Sequence[int | None] = self.nas.heads if getattr(mixer, "heads", None) not in (None, 1) else ()
        keys: Sequence[int | None] = self.nas.key_sizes if isinstance(mixer, EOSMixer) else ()
        found: list[Shape] = []
        # where no K of the list will do, as where K follows from what is written, it stays the recipe's
        for some in (keys, (None,)):
            for shape in [(h, k) for h in heads or (None,) for k in some or (None,)]:
                why = refuse(self._alone(name, mixer, width, shape), causal=self.task.causal)
                reason = why or reason
                if why is None:
                    found.append(shape)
            if found:
                return found
        raise RecipeError(f"mixer {name} ({text}) cannot stand in width {width}: {reason}")

    def _alone(self, name: str, mixer: Mixer, width: int, shape: Shape) -> ModelRecipe:
        mixer = sized(mixer, shape)
        return replace(self.model, width=width, layers=1, mixers={name: mixer}, layout=[name], positions=None)

    def random(self, draw: np.random.Generator) -> Architecture:
        """A network; every depth, width, mixer and size is as likely as any other."""
        width = int(draw.choice(self.nas.width))
        return self._drawn(draw, width, lambda values: values[draw.integers(len(values))])

    def largest(self, draw: np.random.Generator) -> Architecture:
        """The widest and deepest network with the most of all else; its mixers are drawn."""
        return self._drawn(draw, max(self.nas.width), max)

    def smallest(self, draw: np.random.Generator) -> Architecture:
        """The least wide and deep network with the least of all else; its mixers are drawn."""
        return self._drawn(draw, min(self.nas.width), min)

    def _drawn(self, draw: np.random.Generator, width: int, pick: Any) -> Architecture:
        names = list(self.mixers)

        def layer() -> Layer:
            name = names[draw.integers(len(names))]
            shapes = self.shapes[name, width]
            heads, key = pick(sorted(shapes, key=lambda shape: [size or 0 for size in shape]))
            return Layer(mixer=name, heads=heads, key_size=key, ratio=pick(self.nas.ratios))

        def stack(depths: list[int]) -> tuple[Layer, ...]:
            return tuple(layer() for _ in range(pick(depths)))

        encoder = stack(self.nas.encoder_depth) if self.nas.encoder_depth else None
        return Architecture(width=width, layers=stack(self.nas.depth), encoder=encoder)

    def recipe(self, architecture: Architecture) -> ModelRecipe:
        """The model recipe of a network: an ordinary one, whose layout names a mixer for each layer."""
        names: dict[Layer, str] = {}
        for layer in (*(architecture.encoder or ()), *architecture.layers):
            if layer not in names:
                count = sum(other.mixer == layer.mixer for other in names)
                names[layer] = layer.mixer if count == 0 else f"{layer.mixer}_{count + 1}"
        encoder = None
        if architecture.encoder is not None:
            layout: list[str] = [names[layer] for layer in architecture.encoder]
            encoder = EncoderPart(layers=len(layout), layout=list(layout))
        return replace(
            self.model,
            width=architecture.width,
            layers=len(architecture.layers),
            layout=[names[layer] for layer in architecture.layers],
            mixers={
                **self._first,
                **{name: sized(self.mixers[each.mixer], (each.heads, each.key_size)) for each, name in names.items()},
            },
            channel_mixers={name: self._channels(layer.ratio) for layer, name in names.items()},
            encoder=encoder,
        )

    @property
    def _first(self) -> dict[str, Mixer]:
        """The mixer after the embedding, where the base run's model has one."""
        name = self.model.positions
        return {} if name is None else {name: self.model.mixers[name]}

    def _channels(self, ratio: float) -> ChannelMixer:
        mixer = self.model.channel_mixer
        return replace(mixer, ratio=ratio) if ratio > 0 else ChannelMixer(name="none")

    def cost(self, architecture: Architecture) -> ModelCost:
        """Parameters, FLOPs and decoding state of a network."""
        return cost_of(
            self.recipe(architecture),
            vocabulary=self.task.vocabulary,
            length=self.task.length,
            make=self.task.model,
            grid=self.task.grid,
        )


def sized(mixer: Mixer, shape: Shape) -> Mixer:
    """A mixer with other heads and another K, where they are given."""
    heads, key = shape
    if heads is not None and isinstance(mixer, EOSMixer | SoftmaxMixer):
        mixer = replace(mixer, heads=heads)
    if key is not None and isinstance(mixer, EOSMixer):
        mixer = replace(mixer, key_size=key)
    return mixer


def alternatives(name: str, text: str) -> dict[str, str]:
    """By name the mixers that a text stands for: ``gla oscillation=head_decay|key_gate`` is two."""
    words = shlex.split(text)
    choices = []
    for word in words:
        key, equals, value = word.partition("=")
        choices.append([f"{key}{equals}{one}" for one in value.split("|")] if equals else [word])
    found = {}
    for chosen in itertools.product(*choices):
        own = [one.partition("=")[2] for one, all_ in zip(chosen, choices, strict=True) if len(all_) > 1]
        label = re.sub(r"\W+", "_", "_".join([name, *own]))
        found[label if own else name] = shlex.join(chosen)
    return found


def _mixer(name: str, text: str) -> Mixer:
    """The one mixer of a model recipe, given with overrides as on a command line."""
    recipe, *overrides = shlex.split(text) or [""]
    try:
        model = load_model_recipe(recipe, overrides)
    except RecipeError as error:
        raise RecipeError(f"search.mixers.{name}: {error}") from error
    placed = list(dict.fromkeys(resolve_layout(model)))
    if len(placed) > 1:
        raise RecipeError(
            f"search.mixers.{name}: {recipe} has the mixers {', '.join(placed)}: choose one with layout=[NAME]"
        )
    return model.mixers[placed[0]]
