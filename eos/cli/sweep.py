"""Train every combination of some choices, and compare what came of them: ablations."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eos import registry
from eos.cli.arguments import overrides as overrides_argument
from eos.cli.sweep_plan import go_on, plan_lines, progress_line, show, time_line
from eos.cli.sweep_request import Request, asked, composed, split, whole
from eos.errors import RecipeError, RunError

if TYPE_CHECKING:
    from eos.training.run import Recipe
    from eos.training.sweep import Point, Sweep


@click.command()
@overrides_argument
@click.option("--plan", "plan_only", is_flag=True, help="Show what would be trained and how long it takes, and stop.")
@click.option("--retry", is_flag=True, help="Train again what has failed, too.")
def command(overrides: tuple[str, ...], plan_only: bool, retry: bool) -> int:
    """Train every combination of some choices, and compare what came of them: ablations.

    experiment=NAME of an experiment that varies some keys crosses their values. KEY=A,B,C tries several values of any
    key, in place of the experiment's; KEY+KEY=A,B,C gives several keys the same value. All other KEY=VALUE are as for
    eos train. Of one key or some (by=KEY,KEY; model where it has several values, else the first) every value is
    compared; of the others the best is taken, by the validation part, and its test figure shown. Combinations whose
    stages make no sense together, or of which one raises something, are left out, with the reason.

    \b
      seeds=3             every combination with three seeds, on the same batches: mean, deviation, 95 % interval
      jobs=2              so many at once, each with its share of the cores and a log of its own
      vary=NAME           what the experiment NAME varies, in a run of other sizes
      suite=NAME          a benchmark of several tasks, with the grid it was published with (mad)
      run=PATH            the folder of all of them (default: runs/DATE-sweep); the same line again goes on with it
      run=PATH resume=true  go on with what has not finished

    The first Ctrl-C lets every run finish its step and saves it.

    \b
    Examples:
      eos sweep experiment=lcsm_tau --plan
      eos sweep experiment=lcsm_dependence seeds=3 jobs=2 run=runs/dependence
      eos sweep experiment=mqar_small model=gla,llama learning_rate=3e-3,1e-2 seeds=3 jobs=2
      eos sweep suite=mad_small model=gla,mamba2 jobs=2
    """
    return train_sweep(overrides, plan_only=plan_only, retry=retry)


def train_sweep(
    overrides: tuple[str, ...],
    *,
    plan_only: bool,
    retry: bool,
    command: str = "sweep",
    unfinished: Callable[[], None] = lambda: None,
) -> int:
    """What :func:`command` does; messages name the command by which it goes on.

    Arguments:
        unfinished: called where it ends with runs that are not finished, beside others that may be.
    """
    request = split(overrides)
    # Only now, so that help is shown without waiting for PyTorch.
    from eos.cli.result import BY_SIGNAL
    from eos.training.stopping import StoppedAtOnce
    from eos.training.sweep import begin, is_sweep, read_sweep
    from eos.training.sweep_run import Progress, run_sweep, states, to_do
    from eos.training.sweep_scores import scores
    from eos.training.sweep_time import predict, threads_of_each

    jobs = whole(request.own.get("jobs", "1"), "jobs")
    path, sweep, recipes, recorded = locate(request, command)
    points = states(sweep, path, recorded)
    todo = to_do(points, retry=retry)
    prediction = predict(recipes if todo else {}, seeds=len(sweep.seeds or [1]), threads=threads_of_each(jobs))
    left = prediction.left(points, waiting=todo, running={}, jobs=jobs)
    time = time_line(left, points, todo=len(todo), jobs=jobs, unknown=prediction.unknown)
    for line in plan_lines(sweep, points, path, time=time, retry=retry):
        click.echo(line, err=not plan_only)
    if plan_only:
        return 0
    if not is_sweep(path):
        begin(sweep, path)

    def each(progress: Progress) -> None:
        click.echo(progress_line(progress, path), err=True)

    then = go_on(path, jobs=jobs, command=command)
    plugins = registry.plugin_folders()
    try:
        signal = run_sweep(sweep, path, jobs=jobs, retry=retry, plugins=plugins, prediction=prediction, each=each)
    except StoppedAtOnce as stopped:
        click.echo(f"Stopped at once. To go on: {then}", err=True)
        return BY_SIGNAL + stopped.signal
    show(sweep, scores(sweep, path), path)
    if signal is not None:
        unfinished()
        click.echo(f"Stopped and saved. To go on: {then}", err=True)
        return BY_SIGNAL + signal
    ended = states(sweep, path, read_sweep(path)[1])
    for status, advice in (("failed", f"To train them again: {then} --retry"), ("stopped", f"To go on: {then}")):
        if names := [cell.name for cell in sweep.cells() if ended[cell.folder].status == status]:
            unfinished()
            raise RunError(f"{len(names)} of {len(ended)} {status}: {'; '.join(names)}. {advice}")
    return 0


def locate(request: Request, command: str) -> "tuple[Path, Sweep, dict[str, Recipe], dict[str, Point]]":
    """The folder, what to train there, the recipe of every combination, and how far each was when last seen.

    Raises:
        RecipeError: an unknown name or key, or a value that is not allowed.
        RunError: a sweep to go on with does not exist, or was begun with other choices; the path is taken.
    """
    from eos.training.folder import new_folder, taken
    from eos.training.sweep import is_sweep, read_sweep, same_choices

    if request.own.get("resume", "false") == "true":
        if "run" not in request.own or request.axes or request.before or request.after:
            raise RecipeError("resume=true goes on with a sweep as it was begun: give run=PATH, and jobs if you like")
        path = Path(request.own["run"])
        sweep, points = read_sweep(path)
        return path, sweep, composed(sweep.cells()), points
    sweep, recipes = asked(request)
    if "run" not in request.own:
        return new_folder(Path("runs"), "sweep"), sweep, recipes, {}
    path = Path(request.own["run"])
    if not is_sweep(path):
        if path.exists():
            raise taken(path)
        return path, sweep, recipes, {}
    begun, points = read_sweep(path)
    if not same_choices(begun, sweep):
        raise RunError(
            f"{path} was begun with other choices than these; choose another run=PATH, or go on with its own: "
            + go_on(path, jobs=1, command=command)
        )
    # A stage that was mended since is left out no longer.
    begun = replace(begun, refused={key: why for key, why in begun.refused.items() if key in sweep.refused})
    return path, begun, recipes if begun == sweep else composed(begun.cells()), points
