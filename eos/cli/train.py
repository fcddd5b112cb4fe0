"""Train a model on a task, and evaluate it at the end."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eos.cli.arguments import overrides as overrides_argument
from eos.errors import RecipeError, RunError

if TYPE_CHECKING:
    from eos.training.run import Recipe


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asks for.

    Arguments:
        run: the folder, or None for one that is named after date, model, task and seed.
        resume: go on with an existing folder.
        seeds: a number of seeds, a list of them, or None for a single run.
        overrides: all other key=value.
    """

    run: Path | None
    resume: bool
    seeds: int | list[int] | None
    overrides: list[str]


@click.command()
@overrides_argument
def command(overrides: tuple[str, ...]) -> int:
    """Train a model on a task, evaluate it on held-out text, and keep all of it in one folder.

    KEY=VALUE chooses recipes (model=, task=, training=, experiment=) and changes any key of theirs. Beside them:

    \b
      size=NAME           layers, width, heads and hidden width at once: small, 70m … 7b (eos list sizes)
      run=PATH            the run's folder (default: runs/DATE-MODEL-TASK-SEED)
      run=PATH resume=true  go on with a run that was stopped, with the numbers it would have had
      seeds=3             a group of runs with three seeds (seeds=[1,5,9]: with these)

    The first Ctrl-C finishes the step and saves it; a second one ends the run at once.

    Several processes, or several machines, train one run where torchrun begins the command on each:

    \b
      torchrun --nproc-per-node 4 --no-python eos train …
    The rows of a step are shared by the processes; with training.sequence_parts=4 each sequence is, and with
    training.strategy=fsdp the model.

    \b
    Examples:
      eos train model=hgrn2 task.source=my.txt
      eos train model=linear_attention oscillation=head_decay+rotation layers=4 minutes=10 steps=null
      eos train experiment=demo seeds=3 run=runs/demo
      eos train run=runs/demo resume=true
    """
    request = split(overrides)
    # Only now, so that help is shown without waiting for PyTorch.
    from rich.console import Console

    from eos.cli.result import BY_SIGNAL, go_on, show_group, show_run
    from eos.training.folder import RunFolder
    from eos.training.group import is_group, resume_group, train_group
    from eos.training.run import recipe_of, resume, train
    from eos.training.stopping import StoppedAtOnce
    from eos.training.torchrun import begun_by_torchrun
    from eos.training.world import ProcessLost, assembled

    console = Console(stderr=True)
    said = ("eos", *sys.argv[1:])
    path, recipe = locate(request)
    try:
        options = None if recipe is None else recipe.training
        shared = options is not None and (options.sequence_parts > 1 or options.strategy == "fsdp")
        shared = shared or begun_by_torchrun() > 1
        if shared and (request.seeds is not None or is_group(path)):
            raise RecipeError(
                "several seeds are trained one after the other, each by one process: leave out torchrun, "
                "training.sequence_parts and training.strategy=fsdp, or train one seed"
            )
        if recipe is None and is_group(path):
            return show_group(path, resume_group(path, console=console, command=said))
        if recipe is None or request.seeds is None:
            with assembled(recipe_of(RunFolder(path)).training if recipe is None else recipe.training) as world:
                # a folder is named after the day, which may differ, and after what is there
                path = world.lead(lambda: path)
                if recipe is None:
                    result = resume(path, console=console, command=said, world=world)
                else:
                    result = train(recipe, path, console=console, command=said, world=world)
            return show_run(path, result) if world.leads else 0
        first = recipe.training.seed
        seeds = range(first, first + request.seeds) if isinstance(request.seeds, int) else request.seeds
        return show_group(path, train_group(recipe, path, seeds, console=console, command=said))
    except ProcessLost as lost:
        then = f"To go on: {go_on(path)}" if RunFolder(path).recipe.exists() else "Nothing was trained yet"
        raise ProcessLost(f"{lost}. {then}") from lost
    except StoppedAtOnce as stopped:
        click.echo(f"Stopped at once. To go on from the last checkpoint: {go_on(path)}", err=True)
        return BY_SIGNAL + stopped.signal


def split(overrides: tuple[str, ...]) -> Request:
    """Take run, resume and seeds out of the overrides.

    Raises:
        RecipeError: one of them twice, or with a value that it cannot have.
    """
    from eos.compose.reader import parse_value

    own: dict[str, Any] = {}
    rest = []
    for text in overrides:
        key, equals, value = text.partition("=")
        if key not in ("run", "resume", "seeds") or not equals:
            rest.append(text)
        elif key in own:
            raise RecipeError(f"{key} is given twice: {own[key]} and {value}")
        else:
            own[key] = value if key == "run" else parse_value(value, f"override {text!r}")
    resume, seeds = own.get("resume", False), own.get("seeds")
    if not isinstance(resume, bool):
        raise RecipeError(f"resume must be true or false, got {resume!r}")
    listed = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not (seeds is None or listed or (type(seeds) is int and seeds >= 1)):
        raise RecipeError(f"seeds must be how many (≥ 1) or a list of them, as in seeds=[1,2,3]; got {seeds!r}")
    if resume and "run" not in own:
        raise RecipeError("resume=true needs run=PATH: the folder to go on with")
    if resume and seeds is not None:
        raise RecipeError("resume=true takes the seeds from the folder; leave out seeds")
    return Request(run=Path(own["run"]) if "run" in own else None, resume=resume, seeds=seeds, overrides=rest)


def locate(request: Request) -> tuple[Path, "Recipe | None"]:
    """The folder to train in, and the recipe of a new run; a run that goes on has its own.

    Raises:
        RecipeError: an unknown name or key, or a value that is not allowed.
        RunError: a run to go on with does not exist, or was begun with another recipe than the overrides give.
    """
    from eos.cli.recipes import load_run_recipe
    from eos.cli.result import go_on
    from eos.training.folder import RunFolder, new_folder
    from eos.training.run import recipe_of

    if request.resume:
        assert request.run is not None
        begun = recipe_of(RunFolder(request.run))
        if request.overrides and load_run_recipe(request.overrides) != begun:
            raise RunError(
                f"{request.run} was begun with another recipe than these overrides give; "
                f"go on with its own: {go_on(request.run)}"
            )
        return request.run, None
    recipe = load_run_recipe(request.overrides)
    name = f"{recipe.names['model']}-{recipe.names['task']}"
    name += f"-{recipe.training.seed}" if request.seeds is None else "-seeds"
    return request.run or new_folder(Path("runs"), name), recipe
