"""A trial as recipes that train by name."""

from dataclasses import dataclass, replace
from pathlib import Path

from eos import registry
from eos.compose.model import flat
from eos.compose.reader import write_recipe
from eos.errors import RecipeError, unknown
from eos.training.files import replacing
from search.space import Recipe
from search.storage import StudyError
from search.study import RUNS, Study
from search.worker import prepared


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written.

    Arguments:
        name: of all recipes.
        model, task, training, experiment: their files.
    """

    name: str
    model: Path
    task: Path
    training: Path
    experiment: Path


def export_trial(study: Study, folder: Path, number: int, *, into: Path, name: str | None = None) -> Exported:
    """Write the model, task and training of a trial as recipes, and an experiment that chooses them.

    Arguments:
        folder: of the study's runs.
        number: of the trial.
        into: a folder for ``--plugins``; ``recipes/`` in it is made.
        name: of the recipes; None: ``STUDY_NUMBER``.

    Raises:
        StudyError: there is no such trial, or it was never composed.
        RecipeError: the name is taken, or is none.
    """
    found = next((trial for trial in study.trials if trial.number == number), None)
    if found is None:
        raise StudyError(unknown(f"trial of {study.name}", str(number), [str(trial.number) for trial in study.trials]))
    if not found.params:
        raise StudyError(f"trial {number} of {study.name} has no parameters: it has not been begun")
    space, _ = prepared(study, folder)
    recipe = space.candidate(found.params).recipe
    chosen = [run["learning_rate"] for run in found.user_attrs.get(RUNS, ()) if run.get("chosen")]
    if chosen:
        recipe = replace(recipe, training=replace(recipe.training, learning_rate=chosen[0]))
    return export_recipe(recipe, into=into, name=name or f"{study.name}_{number}".replace("-", "_"))


def export_recipe(recipe: Recipe, *, into: Path, name: str) -> Exported:
    """Write the model, task and training of a run as recipes, and an experiment that chooses them.

    Raises:
        RecipeError: the name is taken, or is none.
    """
    files = {part: into / "recipes" / part / f"{name}.yaml" for part in ("model", "task", "training", "experiment")}
    if taken := next((path for path in files.values() if path.exists()), None):
        raise RecipeError(f"{taken} exists already; choose another --name")
    if part := next((part for part in files if name in registry.recipes(part)), None):
        # Two of one name would let no command of this folder run.
        raise RecipeError(f"there is a {part} recipe {name} already; choose another --name")
    parts = {
        "model": flat(recipe.model),
        "task": {"name": recipe.task.name, **flat(recipe.task.options)},
        "training": flat(recipe.training),
        "experiment": {"defaults": [{f"override /{part}": name} for part in ("model", "task", "training")]},
    }
    for part, path in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            write_recipe(parts[part], temporary)
    return Exported(name=name, **files)
