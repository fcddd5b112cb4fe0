"""Begins architecture searches, goes on with them, and takes networks out of them."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import click

from eos import registry
from eos.cli.arguments import again
from eos.cli.output import console, print_line, progress
from eos.cli.recipes import load_run_recipe
from eos.compose.check import check
from eos.compose.reader import read_recipe, value_text
from eos.errors import RecipeError, RunError, unknown
from eos.training.report import report_on
from eos.training.stopping import EvaluationAbandoned, StopRequest
from search.cli.request import Request, put, split
from search.export import Exported, export_recipe
from search.nas.architecture import Architecture
from search.nas.baselines import mixers
from search.nas.folder import PHASES, NASFolder, Stopped, opened, remember, reopened
from search.nas.phases import run
from search.nas.recipe import NASRecipe
from search.nas.search import Search, Show
from search.space import Recipe

#: Phases that others can do without.
SKIPPED = ("rank", "retrain", "report")
#: Where searches stand, and where latencies are kept.
ROOT, CACHE = Path("runs/nas"), Path("~/.cache/eos/latency")
OWN = ("search", "name", "folder", "skip", "until")


def run_nas(arguments: Sequence[str]) -> int:
    """Begin an architecture search or go on with it; the exit status."""
    request = split(arguments, OWN)
    skip, until = _phases(request)
    nas = nas_recipe(request)
    base = opened_base(request, nas)
    name = request.own.get("name", request.own.get("search", "nas_mqar"))
    folder = NASFolder(Path(request.own.get("folder", ROOT / name)))
    try:
        space = opened(folder, nas, base)
        if "retrain" not in skip and PHASES.index(until) >= PHASES.index("retrain"):
            mixers(space)  # before hours are spent
        remember(folder, nas, base)
    except BaseException:
        if not folder.record.exists():
            # A folder without a search would only stand in the way of the next try.
            shutil.rmtree(folder.path, ignore_errors=True)
        raise
    go_on = again("nas", *arguments)
    with StopRequest() as stop:
        search = Search(
            folder=folder,
            space=space,
            base=base,
            command=["eos", "nas", *arguments],
            show=_show(),
            cache=CACHE.expanduser(),
            stop=stop,
        )
        try:
            run(search, skip=skip, until=until)
        except (Stopped, EvaluationAbandoned) as stopped:
            click.echo(f"Stopped and saved. To go on: {go_on}", err=True)
            return 128 + (stopped.signal if isinstance(stopped, Stopped) else stop.signal or 0)
    report = folder.path / "report.md"
    print_line(f"folder  {folder.path}" if until != PHASES[-1] else f"report  {report}")
    return 0


def nas_recipe(request: Request) -> NASRecipe:
    """The recipe of the search with its changes.

    Raises:
        RecipeError: an unknown name or key, a value that is not allowed, or a recipe of another kind of search.
    """
    name = request.own.get("search", "nas_mqar")
    path = registry.recipe("search", name)
    data = read_recipe(path)
    if data.get("kind") != "nas":
        raise RecipeError(f"search={name} is no architecture search: eos search search={name}")
    for keys, value in request.search:
        put(data, keys, value)
    typed = ", ".join(f"search.{'.'.join(keys)}={value_text(value)}" for keys, value in request.search)
    return check(NASRecipe, data, source=f"{path} with {typed}" if typed else str(path))


def reopen(path: Path) -> Search:
    """The search in a folder, to look at.

    Raises:
        RunError: there is none.
    """
    folder, space, base = reopened(path)
    return Search(
        folder=folder,
        space=space,
        base=base,
        command=(),
        show=_show(),
        cache=CACHE.expanduser(),
        stop=StopRequest(),
    )


def run_check(path: Path, networks: int, seeds: int) -> int:
    """Train some networks from scratch and tell how their order agrees with what was said before; the exit status."""
    from search.nas.check import check

    search = reopen(path)
    try:
        with search.show.progress("networks trained") as each:
            found = check(search, networks, seeds=seeds, each=each)
    except Stopped as stopped:
        go_on = again("nas", "check", str(path), "--networks", str(networks), "--seeds", str(seeds))
        click.echo(f"Stopped and saved. To go on: {go_on}", err=True)
        return 128 + stopped.signal
    print_line(f"Kendall's τ with {networks} networks trained from scratch, and its 95 % bootstrap interval:")
    for name, one in found.items():
        print_line(f"  {name:<20} {one.tau:+.2f}  [{one.low:+.2f}, {one.high:+.2f}]")
    return 0


def export_member(path: Path, number: int, *, into: Path, name: str | None) -> Exported:
    """Write a member of a search's front as recipes.

    Raises:
        RunError: there is no search, or no such member.
    """
    folder, space, base = reopened(path)
    members = folder.read("finalists")["front"]
    if number > len(members):
        raise RunError(f"the front of {path} has {len(members)} members, the cheapest being 1; got {number}")
    network = Architecture.from_plain(members[number - 1]["network"])
    recipe = Recipe(model=space.recipe(network), task=base.task, training=base.training, names=base.names)
    return export_recipe(recipe, into=into, name=name or f"{path.name}_{number}".replace("-", "_"))


def opened_base(request: Request, nas: NASRecipe) -> Recipe:
    """The run that all networks differ from: what the command names, or else the experiment of the search."""
    named = {text.partition("=")[0] for text in request.overrides}
    first = (
        [] if named & {"experiment", "model", "task"} or nas.experiment is None else [f"experiment={nas.experiment}"]
    )
    return load_run_recipe([*first, *request.overrides])


def _phases(request: Request) -> tuple[list[str], str]:
    skip = [each for each in request.own.get("skip", "").split(",") if each]
    until = request.own.get("until", PHASES[-1])
    for phase in (*skip, until):
        if phase not in PHASES:
            raise RecipeError(unknown("phase", phase, PHASES))
    if needed := [phase for phase in skip if phase not in SKIPPED]:
        raise RecipeError(f"skip={needed[0]}: what follows needs it; {', '.join(SKIPPED)} can be skipped")
    return skip, until


def _show() -> Show:
    out = console()
    return Show(note=print_line, progress=progress, report=lambda steps: report_on(out, steps=steps), console=out)
