"""From the name of a stage to the stage."""

from typing import Any

from eos.config import StageRecipe, checked
from eos.errors import CompositionError
from eos.registry import stage
from eos.stage import LayerContext


def build_stage(kind: str, recipe: StageRecipe, context: LayerContext) -> Any:
    """The stage of this name, built.

    Raises:
        RecipeError: an unknown name, or an option that is unknown or out of range.
        CompositionError: the stage refuses to stand here.
    """
    found, options = check_stage(kind, recipe, context)
    return found(options, context)


def check_stage(kind: str, recipe: StageRecipe, context: LayerContext) -> tuple[type[Any], Any]:
    """The class and the options of a stage that does not refuse to stand here; raises as :func:`build_stage` does."""
    found = stage(kind, recipe.name).load()
    options = checked(found.Options, recipe.options, f"{kind} stage {recipe.name!r}")
    if reason := found.refuse(options, context):
        raise CompositionError(f"{kind} stage {recipe.name!r}: {reason}")
    return found, options
