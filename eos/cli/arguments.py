"""The ``key=value`` arguments that several sub-commands take, and how a shell completes them."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eos import registry
from eos.errors import RecipeError

if TYPE_CHECKING:
    from eos.config import OptionField

CHOICES = ("model", "task", "training", "experiment")


def again(*words: str, plugins: Sequence[Path] = ()) -> str:
    """An ``eos`` command to type next, with the plugin folders that this one was given, and more of them."""
    given = (part for folder in (*registry.plugin_folders(), *plugins) for part in ("--plugins", str(folder)))
    return shlex.join(["eos", *given, *words])


def choose_model(overrides: Sequence[str]) -> tuple[str, list[str]]:
    """The name of the model recipe that ``model=NAME`` chooses, and all other overrides.

    Raises:
        RecipeError: no model is chosen, or more than one.
    """
    names = [text.partition("=")[2] for text in overrides if text.startswith("model=")]
    if len(names) != 1:
        known = ", ".join(registry.recipes("model"))
        raise RecipeError(f"say one model, as model=NAME; {len(names)} were said. Known: {known}.")
    return names[0], [text for text in overrides if not text.startswith("model=")]


def complete_override(incomplete: str) -> list[str]:
    """What a started ``key=value`` may become, for keys whose values can be listed.

    Several keys are completed as far as ``key=``, a single one with its values.
    """
    key, equals, value = incomplete.partition("=")
    if not equals:
        known = (*CHOICES, "size", *registry.KINDS, *_fields())
        keys = [name for name in dict.fromkeys(known) if name.startswith(incomplete) and _values(name)]
        return [f"{name}=" for name in keys] if len(keys) != 1 else complete_override(f"{keys[0]}=")
    before, plus, last = value.rpartition("+") if key.endswith("oscillation") else ("", "", value)
    return [f"{key}={before}{plus}{name}" for name in _values(key) if name.startswith(last)]


def _values(key: str) -> list[str]:
    if key in (*CHOICES, "size"):
        return sorted(registry.recipes(key))
    last = key.rpartition(".")[2]
    if last in registry.KINDS:
        return sorted(registry.stages(last))
    field = _fields().get(last)
    return [] if field is None else [as_written(value) for value in field.choices]


def _fields() -> "dict[str, OptionField]":
    # Only now: names are completed without waiting for the import of typed recipes.
    from eos.config import EOSMixer, ModelRecipe, option_fields

    return option_fields(ModelRecipe) | option_fields(EOSMixer)


def as_written(value: object) -> str:
    """A value as an override or a recipe says it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return complete_override(incomplete)


#: Decorates a command that takes any number of key=value.
overrides = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=_complete)

#: Decorates a command that reads folders of runs.
run_folders = click.argument(
    "runs", nargs=-1, metavar="[RUNS]...", type=click.Path(path_type=Path, file_okay=False), default=("runs",)
)
#: Decorates a command that shows studies too.
studies = click.option(
    "--study", "studies", multiple=True, metavar="URL", help="A study whose folder is not among them, by its storage."
)
