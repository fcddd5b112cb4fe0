"""Run recipes: a model, a task and how to train, checked together, and their form in a run folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from eos import registry
from eos.compose.check import check
from eos.compose.model import check_model, flat, source_of
from eos.compose.override import apply
from eos.compose.reader import read_recipe, write_recipe
from eos.config import ModelRecipe
from eos.errors import RecipeError

T = TypeVar("T")

PARTS = ("model", "task", "training")


@dataclass(frozen=True, kw_only=True)
class TaskRecipe:
    """A task by its registered name, and its checked options.

    Arguments:
        name: as ``eos list tasks`` shows it.
        options: an instance of the task's own ``Options``.
    """

    name: str
    options: Any


@dataclass(frozen=True, kw_only=True)
class RunRecipe(Generic[T]):
    """All that decides a run.

    Arguments:
        model, task, training: the three parts, checked.
        names: the recipe that each part came from, and the experiment if there was one.
    """

    model: ModelRecipe
    task: TaskRecipe
    training: T
    names: dict[str, str] = field(default_factory=dict)


def check_run(
    data: Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    training: type[T],
    names: Mapping[str, str],
    sources: Mapping[str, Path | str],
) -> RunRecipe[T]:
    """The run that three recipes and overrides of any of their keys describe.

    Arguments:
        data: under model, task and training the data of a recipe each.
        overrides: changes in the short grammar, in their order.
        training: the options class of training.
        names: the name of each part's recipe, kept in the result.
        sources: where each part comes from, for errors.

    Raises:
        RecipeError: an unknown name or key, or a value that is not allowed.
    """
    told = {part: source_of(sources[part], overrides) for part in PARTS}
    task = data["task"]
    if not isinstance(task, dict) or not isinstance(task.get("name"), str):
        raise RecipeError(f"{told['task']}: name is missing: the task's name, as eos list tasks shows it")
    try:
        options = registry.task(task["name"]).load().Options
    except RecipeError as error:
        raise RecipeError(f"{told['task']}: {error}") from None
    data = apply({part: data[part] for part in PARTS}, overrides, {"task": options, "training": training})
    chosen = {key: value for key, value in data["task"].items() if key != "name"}
    return RunRecipe(
        model=check_model(data["model"], source=told["model"]),
        task=TaskRecipe(name=task["name"], options=check(options, chosen, source=told["task"])),
        training=check(training, data["training"], source=told["training"]),
        names=dict(names),
    )


def save_run_recipe(recipe: RunRecipe[Any], path: Path) -> None:
    """Write the recipe with every option filled in, as :func:`read_run_recipe` reads it."""
    write_recipe(
        {
            "names": recipe.names,
            "model": flat(recipe.model),
            "task": {"name": recipe.task.name, **flat(recipe.task.options)},
            "training": flat(recipe.training),
        },
        path,
    )


def read_run_recipe(path: Path, *, training: type[T]) -> RunRecipe[T]:
    """The recipe of a run folder, checked like any other.

    Raises:
        RecipeError: it cannot be read, or does not hold what :func:`save_run_recipe` writes.
    """
    data = read_recipe(path)
    if data.keys() != {"names", *PARTS} or not all(isinstance(part, dict) for part in data.values()):
        raise RecipeError(f"{path} must hold names, {', '.join(PARTS)}; it holds {', '.join(data) or 'nothing'}")
    return check_run(data, training=training, names=data["names"], sources=dict.fromkeys(PARTS, path))
