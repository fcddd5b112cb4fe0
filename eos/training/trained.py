"""A trained model, from its run's folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import nn

from eos import registry
from eos.compose.reader import read_recipe
from eos.compose.run import PARTS, check_run
from eos.errors import DataError, RecipeError, RunError
from eos.models import LanguageModel, load_weights
from eos.tasks.task import AbstractTask
from eos.training.config import Device, TrainingOptions
from eos.training.fit import torch_device
from eos.training.folder import RunFolder
from eos.training.group import is_group, runs_of
from eos.training.run import Recipe, make_task, recipe_of

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Trained(Generic[M]):
    """A run's model with its trained weights, on a device, and its task.

    Arguments:
        recipe: the run's, or with other data than the run's.
        model: in evaluation mode.
        task: ready to evaluate, or to encode and decode alone.
    """

    recipe: Recipe
    model: M
    task: AbstractTask


def load_restored(path: Path, *, device: Device = "auto") -> Trained[nn.Module]:
    """The model of a run and its task, ready to encode and decode; the data need not exist any more.

    Raises:
        RunError: there is no run, or one without weights yet.
        DataError: the run's model writes nothing.
    """
    folder, recipe = _with_weights(path)
    task = make_task(recipe)
    task.restore(path)
    return Trained(recipe=recipe, model=_model(folder, recipe, task, device), task=task)


def load_for_decoding(path: Path, *, device: Device = "auto") -> Trained[LanguageModel]:
    """The same of a language model, which writes token by token.

    Raises:
        RunError: there is no run, or one without weights yet.
        DataError: the run's model writes nothing, or is of another kind.
    """
    found = load_restored(path, device=device)
    if not isinstance(found.model, LanguageModel):
        raise DataError(
            f"the model in {path} is a {type(found.model).__name__}, and eos generate is for those that write token by "
            "token; one of task=translation answers eos translate, any other eos eval"
        )
    return Trained(recipe=found.recipe, model=found.model, task=found.task)


def load_for_evaluation(path: Path, overrides: Sequence[str] = ()) -> Trained[nn.Module]:
    """The model of a run and its task, ready to evaluate.

    Arguments:
        path: the run's folder.
        overrides: changes of task and training options, as ``task.source=other.txt`` or ``device=cpu``, and
            ``task=NAME`` for another task. Other data is read in the tokens of the run.

    Raises:
        RunError: there is no run, or one without weights yet.
        RecipeError: an override that is not allowed, or changes the model.
        DataError: the data cannot be used.
    """
    folder, recipe = _with_weights(path)
    data = {part: data for part, data in read_recipe(folder.recipe).items() if part in PARTS}
    names, sources = dict(recipe.names), dict.fromkeys(PARTS, folder.recipe)
    chosen = [text.partition("=")[2] for text in overrides if text.startswith("task=")]
    if len(chosen) > 1:
        raise RecipeError(f"task is chosen twice: {' and '.join(chosen)}")
    for name in chosen:
        names["task"], sources["task"] = name, registry.recipe("task", name)
        data["task"] = read_recipe(sources["task"])
    changes = [text for text in overrides if not text.startswith("task=")]
    changed = check_run(data, changes, training=TrainingOptions, names=names, sources=sources)
    if changed.model != recipe.model:
        raise RecipeError("the model of a run is as it was trained; change task and training options alone")
    task = make_task(changed)
    if changed.task == recipe.task:
        task.prepare(path)
    else:
        task.prepare_other(path)
    return Trained(recipe=changed, model=_model(folder, changed, task, changed.training.device), task=task)


def _with_weights(path: Path) -> tuple[RunFolder, Recipe]:
    folder = RunFolder(path)
    recipe = recipe_of(folder)
    if is_group(path):
        raise RunError(f"{path} is a group of runs; name one of them: {', '.join(map(str, runs_of(path)))}")
    if not folder.weights.is_file():
        raise RunError(f"{path} has no weights yet: finish it with eos train run={path} resume=true")
    return folder, recipe


def _model(folder: RunFolder, recipe: Recipe, task: AbstractTask, device: Device) -> nn.Module:
    chosen: torch.device = torch_device(device)
    model = task.model(recipe.model)
    load_weights(model, folder.weights)
    return model.to(chosen).eval()
