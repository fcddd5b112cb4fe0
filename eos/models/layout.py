"""Which mixer stands in which layer."""

from dataclasses import replace

from eos.config import ChannelMixer, ModelRecipe
from eos.errors import CompositionError, RecipeError, unknown

FORMS = "[a, a, b] cycled over depth, {first: a, rest: b}, or {0.5: a, 1.0: b} by fraction of depth"


def resolve_layout(recipe: ModelRecipe) -> list[str]:
    """The name of the mixer of every layer.

    Raises:
        RecipeError: a layout of another form, or a name that is no mixer's; of an encoder beside it likewise.
    """
    names = _names(recipe.layout, recipe.layers)
    for name in recipe.channel_mixers:
        if name not in recipe.mixers:
            raise RecipeError(unknown("mixer in channel_mixers", name, recipe.mixers))
    if recipe.encoder is not None:
        resolve_layout(of_encoder(recipe))
    for name in recipe.layout if isinstance(recipe.layout, list) else recipe.layout.values():
        if name not in recipe.mixers:
            raise RecipeError(unknown("mixer in layout", name, recipe.mixers))
    if recipe.positions is not None and recipe.positions not in recipe.mixers:
        raise RecipeError(unknown("mixer in positions", recipe.positions, recipe.mixers))
    return names


def of_encoder(recipe: ModelRecipe) -> ModelRecipe:
    """The recipe of the encoder beside a decoder, with the mixers as the decoder has them."""
    part = recipe.encoder
    return recipe if part is None else replace(recipe, layers=part.layers, layout=part.layout, encoder=None)


def refuse_encoder(recipe: ModelRecipe) -> None:
    """Refuse a recipe with an encoder where there is no decoder.

    Raises:
        RecipeError: it has one.
    """
    if recipe.encoder is not None:
        raise RecipeError("encoder is of models with a decoder beside it (task=translation); set it to null")


def channel_mixer_of(recipe: ModelRecipe, name: str) -> ChannelMixer:
    """The feed-forward part of the blocks whose mixer has this name."""
    return recipe.channel_mixers.get(name, recipe.channel_mixer)


def causal_layout(recipe: ModelRecipe) -> list[str]:
    """The name of the mixer of every layer, none of which sees what comes later.

    Raises:
        RecipeError: as :func:`resolve_layout`.
        CompositionError: a mixer that does.
    """
    names = resolve_layout(recipe)
    for name in (*names, *([] if recipe.positions is None else [recipe.positions])):
        if (direction := recipe.mixers[name].direction) != "forward":
            raise CompositionError(
                f"mixers.{name}: direction={direction} sees what comes later, which this model has to tell; take "
                "direction=forward, or build an Encoder or a Classifier from it (a task that classifies does)"
            )
    return names


def _names(layout: list[str] | dict[str | float, str], layers: int) -> list[str]:
    if not layout:
        raise RecipeError(f"an empty layout; allowed is {FORMS}")
    if isinstance(layout, list):
        return [layout[layer % len(layout)] for layer in range(layers)]
    if set(layout) == {"first", "rest"}:
        return [layout["first"]] + [layout["rest"]] * (layers - 1)
    try:
        parts = sorted((float(stop), name) for stop, name in layout.items())
    except ValueError:
        raise RecipeError(f"a layout with keys {', '.join(map(str, layout))}; allowed is {FORMS}") from None
    if not parts[0][0] > 0 or parts[-1][0] != 1:
        raise RecipeError(f"fractions of depth must be > 0 and end with 1.0, got {[stop for stop, _ in parts]}")
    names: list[str] = []
    for stop, name in parts:
        names += [name] * (round(stop * layers) - len(names))
    return names
