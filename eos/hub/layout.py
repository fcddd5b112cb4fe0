"""Layouts of public checkpoints: which recipe they are, and where each of their weights belongs.

A layout is a recipe of the group ``checkpoint``: names and numbers, no code. It says what ``config.json`` must hold,
how its keys become overrides of a model recipe, and which of our parameters each weight of the file fills.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from eos import registry
from eos.compose import load_model_recipe
from eos.compose.check import check
from eos.compose.reader import read_recipe
from eos.config import ModelRecipe, option, options
from eos.errors import RecipeError, RunError, unknown

Change = Literal["none", "transposed", "taps", "complement", "rolled", "per_channel"]

#: What a weight goes through before it is cut into our parameters.
CHANGES: dict[Change, Callable[[Tensor, torch.Size], Tensor]] = {
    "none": lambda z, shape: z,
    "transposed": lambda z, shape: z.mT,
    # [channels,1,taps], the last tap meeting the present token → [taps,channels], the first one meeting it
    "taps": lambda z, shape: z.squeeze(1).flip(-1).mT,
    "complement": lambda z, shape: 1 - z,
    "rolled": lambda z, shape: z.roll(-1, 0),
    "per_channel": lambda z, shape: z[:, None].expand(shape),
}


@options
class Size:
    """The length of an axis of a weight in the file."""

    weight: str = option(description="its name")
    axis: int = option(0, "0 or 1", low=0, high=1)


#: A key of config.json, a length, or the first divided by the second.
Source = str | Size | list[str | Size]


@options
class Rule:
    """Weights of the file, one after another along their first axis, and the parameters that they are cut into."""

    ours: str | list[str] = option(description="our parameters, in the order of the file's rows")
    theirs: str | int | list[str | int] = option(description="weights of the file; 0 stands for zeros")
    change: Change = option("none", "what happens to the rows on the way")

    @property
    def targets(self) -> list[str]:
        """Our parameters."""
        return self.ours if isinstance(self.ours, list) else [self.ours]

    @property
    def sources(self) -> list[str | int]:
        """Weights of the file, and numbers."""
        return self.theirs if isinstance(self.theirs, list) else [self.theirs]


@options
class Variant:
    """More of a layout, where ``config.json`` says so."""

    when: dict[str, Any] = option(description="keys of config.json and their values")
    set: dict[str, Any] = option({}, "overrides of the model recipe")
    read: dict[str, Source] = option({}, "overrides of the model recipe, and where their values stand")


@options
class Layout:
    """One layout of checkpoints."""

    model: str = option(description="the model recipe that it is")
    model_type: str = option(description="what config.json has under model_type")
    prefix: str = option(description="what the names of a layer's weights begin with, before its index")
    defaults: dict[str, Any] = option({}, "values of keys that config.json leaves out, or has as null")
    require: dict[str, list[Any]] = option({}, "keys of config.json and the values that this layout is written for")
    set: dict[str, Any] = option({}, "overrides of the model recipe")
    read: dict[str, Source] = option(description="overrides of the model recipe, and where their values stand")
    variants: list[Variant] = option([], "what differs by config.json")
    weights: list[Rule] = option(description="of the whole model")
    layer_weights: list[Rule] = option(description="of every layer, without prefix and index")

    def rules(self, layers: int) -> Iterator[Rule]:
        """The rules of the whole model and of every layer, with full names."""
        yield from self.weights
        for layer in range(layers):
            for rule in self.layer_weights:
                yield Rule(
                    ours=[f"blocks.{layer}.{name}" for name in rule.targets],
                    theirs=[
                        f"{self.prefix}.{layer}.{part}" if isinstance(part, str) else part for part in rule.sources
                    ],
                    change=rule.change,
                )


def read_config(folder: Path) -> dict[str, Any]:
    """What config.json of a checkpoint holds; infinities as the word "inf".

    Raises:
        RecipeError: there is none, or it is no mapping.
    """
    path = folder / "config.json"
    try:
        data = json.loads(
            path.read_text(encoding="utf-8"), parse_constant=lambda word: word.lower().replace("inity", "")
        )
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise RecipeError(f"{path} must be a mapping of keys to values")
    finite: dict[str, Any] = _without_tags(data)
    return finite


def layout_of(config: Mapping[str, Any]) -> Layout:
    """The layout of checkpoints with this ``config.json``.

    Raises:
        RecipeError: none is known.
    """
    known = {name: _layout(path) for name, path in registry.recipes("checkpoint").items()}
    for layout in known.values():
        if layout.model_type == config.get("model_type"):
            return layout
    raise RecipeError(
        unknown("model_type", str(config.get("model_type")), {layout.model_type for layout in known.values()})
    )


def recipe_of(layout: Layout, config: Mapping[str, Any], shapes: Mapping[str, list[int]]) -> ModelRecipe:
    """The model recipe of a checkpoint.

    Arguments:
        config: its ``config.json``.
        shapes: of the weights in its file.

    Raises:
        RecipeError: a value that the layout is not written for, or a key or weight that is missing.
    """
    held = {**layout.defaults, **{key: value for key, value in config.items() if value is not None}}
    for key, allowed in layout.require.items():
        if held.get(key) not in allowed:
            raise RecipeError(
                f"config.json: {key} is {held.get(key)!r}; checkpoints of model_type {layout.model_type} are read "
                f"with {key} in {allowed}"
            )
    changes = {**layout.set, **_read(layout.read, held, shapes)}
    for variant in layout.variants:
        if all(held.get(key) == value for key, value in variant.when.items()):
            changes |= {**variant.set, **_read(variant.read, held, shapes)}
    overrides = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in changes.items()]
    return load_model_recipe(layout.model, overrides)


def changed(rule: Rule, found: Callable[[str], Tensor], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Our parameters of a rule.

    Arguments:
        found: gives a weight of the file.
        shapes: of our parameters.

    Raises:
        RunError: the weights do not fit our parameters.
    """
    if rule.sources == [0]:
        return {name: torch.zeros(shapes[name]) for name in rule.targets}
    given = [found(part) if isinstance(part, str) else None for part in rule.sources]
    # a vector may come as [1,1,D]
    held = [z.flatten() if z.dim() == 3 and z.shape[:2] == (1, 1) else z for z in given if z is not None]
    parts = iter(held)
    z = torch.cat([torch.zeros_like(held[0]) if part is None else next(parts) for part in given])
    if rule.change == "per_channel":
        return {name: CHANGES[rule.change](z, shapes[name]) for name in rule.targets}
    rows = [shapes[name].numel() // z[0].numel() for name in rule.targets]
    if sum(rows) != len(z):
        wanted = " and ".join(f"{name} {list(shapes[name])}" for name in rule.targets)
        raise RunError(f"{' and '.join(map(str, rule.sources))} {list(z.shape)} does not hold {wanted}")
    cut = zip(rule.targets, z.split(rows), strict=True)
    return {name: CHANGES[rule.change](part, shapes[name]).reshape(shapes[name]) for name, part in cut}


def _layout(path: Path) -> Layout:
    return check(Layout, read_recipe(path), source=str(path))


def _read(sources: Mapping[str, Source], config: Mapping[str, Any], shapes: Mapping[str, list[int]]) -> dict[str, Any]:
    return {key: _value(source, config, shapes) for key, source in sources.items()}


def _value(source: Source, config: Mapping[str, Any], shapes: Mapping[str, list[int]]) -> Any:
    if isinstance(source, list):
        over, under = (_value(each, config, shapes) for each in source)
        if not all(isinstance(each, int | float) for each in (over, under)) or under == 0:
            raise RecipeError(f"config.json: {' / '.join(map(str, source))} is no number, got {over!r} / {under!r}")
        return over // under if over % under == 0 else over / under
    if isinstance(source, Size):
        if source.weight not in shapes:
            raise RecipeError(f"the checkpoint has no weight {source.weight}")
        if source.axis >= len(shapes[source.weight]):
            raise RecipeError(f"the weight {source.weight} has {len(shapes[source.weight])} axes, too few")
        return shapes[source.weight][source.axis]
    if source not in config:
        raise RecipeError(f"config.json has no {source}")
    return config[source]


def _without_tags(data: Any) -> Any:
    """The data with {"__float__": "Infinity"} as "inf"."""
    if isinstance(data, dict):
        if set(data) == {"__float__"}:
            return str(data["__float__"]).lower().replace("inity", "")
        return {key: _without_tags(value) for key, value in data.items()}
    return [_without_tags(value) for value in data] if isinstance(data, list) else data
