"""Model recipes: from a name and overrides to a checked recipe, to a model, and back to plain data."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eos import registry
from eos.compose.check import Keys, check, dotted
from eos.compose.override import apply
from eos.compose.reader import read_recipe
from eos.compose.stages import FIRST, nested
from eos.config import ConvolutionMixer, EOSMixer, ModelRecipe, StageRecipe
from eos.errors import CompositionError, RecipeError

if TYPE_CHECKING:
    from eos.models import LanguageModel

#: What a recipe's data is made of.
Leaf = str | int | float | bool | None


def load_model_recipe(name: str, overrides: Sequence[str] = ()) -> ModelRecipe:
    """The model recipe of this name, changed by overrides such as ``expand=elu`` or ``layers=4``, and checked.

    Raises:
        RecipeError: an unknown name or key, or a value that is not allowed.
    """
    path = registry.recipe("model", name)
    data = apply({"model": read_recipe(path)}, overrides)
    return check_model(data["model"], source=source_of(path, overrides))


def build(recipe: str | ModelRecipe, overrides: Sequence[str] = (), *, vocabulary: int = 256) -> "LanguageModel":
    """The language model of a recipe, with fresh weights.

    Arguments:
        recipe: the name of a model recipe, or a recipe itself.
        overrides: changes in the short grammar, ``("expand=elu", "layers=4")``.
        vocabulary: number of token ids, ≥ 1; 256 for bytes.

    Raises:
        RecipeError: an unknown name or key, or a value that is not allowed.
        CompositionError: stages that make no sense together, with the reason.
    """
    if isinstance(recipe, str):
        recipe = load_model_recipe(recipe, overrides)
    else:
        data = apply({"model": flat(recipe)}, overrides)
        recipe = check_model(data["model"], source=source_of("the recipe", overrides))
    if reason := refuse(recipe):
        raise CompositionError(reason)
    from eos.models import LanguageModel

    return LanguageModel(recipe, vocabulary)


def refuse(recipe: ModelRecipe, *, causal: bool = True) -> str | None:
    """Why the stages of a recipe cannot be built together, or None: the one predicate of commands and search.

    Arguments:
        causal: the model may see no token that comes later.
    """
    from eos import layer
    from eos.models.layout import causal_layout

    for name, mixer in recipe.mixers.items():
        if reason := layer.refuse(mixer, recipe.width):
            return f"mixers.{name}: {reason}"
    if causal:
        try:
            causal_layout(recipe)
        except CompositionError as error:
            return str(error)
    return None


def check_model(data: Any, *, source: str) -> ModelRecipe:
    """``data``, as YAML gives it, as a model recipe whose stages exist and have every option filled in.

    Raises:
        RecipeError: naming the source and the dotted key.
    """
    from eos.models.layout import resolve_layout

    recipe = check(ModelRecipe, nested(data), source=source)
    try:
        resolve_layout(recipe)
    except RecipeError as error:
        raise RecipeError(f"{source}: layout: {error}") from None
    mixers = {name: _checked(mixer, source, ("mixers", name)) for name, mixer in recipe.mixers.items()}
    return replace(recipe, mixers=mixers)


def flat(value: Any) -> Any:
    """A recipe, or any part of one, as the data that :func:`~eos.compose.reader.read_recipe` would give."""
    match value:
        case StageRecipe():
            return {"name": value.name, **flat(value.options)}
        case dict():
            return {key: flat(inner) for key, inner in value.items()}
        case list() | tuple():
            return [flat(inner) for inner in value]
        case _ if is_dataclass(value):
            return {field.name: flat(getattr(value, field.name)) for field in fields(value)}
        case _:
            return value


def leaves(data: Any, prefix: str = "") -> Iterator[tuple[str, Leaf]]:
    """Every leaf of a recipe's data with its path: ``model.mixers.main.expand.name``, ``model.layout[0]``."""
    if isinstance(data, dict):
        for key, part in data.items():
            yield from leaves(part, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(data, list):
        for place, part in enumerate(data):
            yield from leaves(part, f"{prefix}[{place}]")
        if not data:
            yield prefix, "[]"
    else:
        yield prefix, data


def source_of(recipe: Path | str, overrides: Sequence[str]) -> str:
    """How an error names a recipe: its file and what changed it."""
    return f"{recipe} with {' '.join(overrides)}" if overrides else str(recipe)


def _checked(mixer: Any, source: str, at: Keys) -> Any:
    """The mixer with every option of its stages checked and filled in."""
    if isinstance(mixer, ConvolutionMixer):
        return replace(mixer, response=_checked_stage("response", mixer.response, source, (*at, "response")))
    if not isinstance(mixer, EOSMixer):
        return mixer
    return replace(
        mixer,
        expand=_checked_stage("expand", mixer.expand, source, (*at, "expand")),
        oscillation=[
            _checked_stage("oscillation", part, source, (*at, "oscillation", index))
            for index, part in enumerate(mixer.oscillation)
        ],
        shrink=_checked_stage("shrink", mixer.shrink, source, (*at, "shrink")),
        couple=mixer.couple and _checked_stage("couple", mixer.couple, source, (*at, "couple")),
        first_pass=mixer.first_pass
        and replace(
            mixer.first_pass,
            expand=_checked_stage("expand", mixer.first_pass.expand, source, (*at, FIRST, "expand")),
            shrink=_checked_stage("shrink", mixer.first_pass.shrink, source, (*at, FIRST, "shrink")),
        ),
    )


def _checked_stage(kind: str, recipe: StageRecipe, source: str, at: Keys) -> StageRecipe:
    try:
        stage = registry.stage(kind, recipe.name)
    except RecipeError as error:
        raise RecipeError(f"{source}: {dotted(at)}: {error}") from None
    source = f"{source}: {kind} stage {recipe.name!r}"
    options = check(stage.load().Options, recipe.options, source=source, at=at)
    return StageRecipe(name=recipe.name, options=asdict(options))
