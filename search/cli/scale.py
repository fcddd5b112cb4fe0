"""Scaling laws: train a ladder of sizes and budgets, and say how loss falls and how a budget is best spent."""

import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from search.cli.search import SearchGroup

if TYPE_CHECKING:
    from search.scale.predict import Cluster

#: What --plan takes beside recipes.
CLUSTER = ("gpus", "gpu", "utilisation", "link", "price")


@click.group(cls=SearchGroup)
def command() -> None:
    """Scaling laws: train a ladder of sizes and budgets, and say how loss falls and how a budget is best spent.

    \b
      eos scale KEY=VALUE …            train what the ladder still lacks, then fit and report
      eos scale KEY=VALUE … --plan     what it would take, and nothing is trained
      eos scale KEY=VALUE … --retry    train again what has failed, too
      eos scale report FOLDER          fit and report anew, of a ladder or of any folder of runs

    A ladder stays what it was begun with. For another size train a second one beside it, and report the folder that
    holds both.

    A ladder is a sweep over model=, size= and a budget, as training.tokens=125000,500000,2000000 or
    training.tokens_per_parameter=5,20,80 (for each parameter outside of embedding and head); all of eos sweep is
    there: jobs=2, seeds=3, run=PATH, resume=true.
    Of each model three laws are fitted: L = β C^−α on the frontier, the same with a loss that nothing gets below, and
    L = E + A N^−a + B D^−b of all runs, which says what size a budget is best spent on.

    \b
    With --plan nothing is trained. gpus=64 says beside it what every run would take on so many GPUs:
      gpu=h100           a100, h100 or h200
      utilisation=0.4    the share of the GPU's peak that training reaches; measure yours with one GPU
      link=5e10          bytes a second that each GPU sends; default: within one machine
      price=2.5          of a GPU for an hour

    \b
    Examples:
      eos scale experiment=scale_text jobs=2 run=runs/ladder
      eos scale experiment=scale_text model=gla,gated_deltanet size=25k,100k,330k,1m --plan
      eos scale experiment=scale_family gpus=64 gpu=h100 link=5e10 price=2.5 --plan
      eos scale report runs/ladder
    """


@command.command()
@click.argument("overrides", nargs=-1)
@click.option("--plan", "plan_only", is_flag=True, help="Show what would be trained and what it takes, and stop.")
@click.option("--retry", is_flag=True, help="Train again what has failed, too.")
def run(overrides: tuple[str, ...], plan_only: bool, retry: bool) -> int:
    """Train a ladder, or go on with one, and report (the same as eos scale KEY=VALUE)."""
    from eos.cli.sweep import train_sweep
    from eos.errors import RecipeError, RunError
    from eos.training.folder import new_folder

    own = {text.partition("=")[0]: text.partition("=")[2] for text in overrides if text.partition("=")[0] in CLUSTER}
    rest = [text for text in overrides if text.partition("=")[0] not in CLUSTER]
    if own and not plan_only:
        raise RecipeError(f"{', '.join(own)} plan what other machines would take: add --plan")
    if "gpus" in own:
        return _plan(rest, cluster_of(own))
    if own:
        raise RecipeError("gpus=N says how many GPUs to plan for")
    runs = [Path(text.partition("=")[2]) for text in rest if text.startswith("run=")]
    if not runs:
        runs = [new_folder(Path("runs"), "scale")]
        rest.append(f"run={runs[0]}")

    def unfinished() -> None:
        with suppress(RunError):  # not even one run is finished
            _report(runs[0])

    code = train_sweep(tuple(rest), plan_only=plan_only, retry=retry, command="scale", unfinished=unfinished)
    return code if code or plan_only else _report(runs[0])


@command.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def report(folder: Path) -> int:
    """Fit the laws of a ladder, or of any folder of runs, and write the report anew."""
    return _report(folder)


def cluster_of(own: dict[str, str]) -> "Cluster":
    """The GPUs that a command line plans for.

    Raises:
        RecipeError: an unknown kind, or a number that is none.
    """
    from eos.errors import RecipeError, unknown
    from search.scale.predict import GPUS, UTILISATION, Cluster

    def real(key: str, default: float | None, *, most: float) -> float | None:
        if key not in own:
            return default
        try:
            value = float(own[key])
        except ValueError:
            value = -1.0
        if not (0 < value <= most and math.isfinite(value)):
            limit = "" if most == math.inf else f" and at most {most:g}"
            raise RecipeError(f"{key} must be a number above 0{limit}, got {own[key]!r}")
        return value

    kind = own.get("gpu", "h100")
    if kind not in GPUS:
        raise RecipeError(unknown("gpu", kind, GPUS))
    count = real("gpus", 1, most=math.inf)
    utilisation = real("utilisation", UTILISATION, most=1)
    assert count is not None
    assert utilisation is not None
    if count != int(count):
        raise RecipeError(f"gpus must be a whole number, got {own['gpus']!r}")
    return Cluster(
        gpu=GPUS[kind],
        gpus=int(count),
        utilisation=utilisation,
        link=real("link", None, most=math.inf),
        price=real("price", None, most=math.inf),
    )


def _plan(overrides: list[str], cluster: "Cluster") -> int:
    from eos.cli.recipes import load_run_recipe
    from eos.cli.sweep_request import NothingVaries, asked, split
    from search.scale.plan import plan_lines

    request, seeds = split(tuple(overrides)), 1
    try:
        sweep, recipes = asked(request)
        names = {cell.folder: cell.name for cell in sweep.cells()}
        runs, seeds = {names[folder]: recipe for folder, recipe in recipes.items()}, len(sweep.seeds or [1])
    except NothingVaries:
        runs = {"one run": load_run_recipe([*request.before, *request.after])}
    for line in plan_lines(runs, cluster, seeds=seeds):
        click.echo(line)
    return 0


def _report(folder: Path) -> int:
    from eos.cli.output import print_line
    from search.scale.report import write_report
    from search.scale.runs import read_ladder

    for name in write_report(read_ladder(folder), folder):
        print_line(str(folder / name))
    return 0
