"""Begins searches and goes on with them."""

import shlex
import shutil
import time
from pathlib import Path

import click
import optuna
from rich.console import Console
from rich.live import Live
from rich.text import Text

from eos import registry
from eos.cli.arguments import again
from eos.errors import RecipeError, unknown
from eos.tasks.task import AbstractTask
from eos.training.run import make_task
from eos.training.stopping import StopRequest
from search.cli.request import Request, base_of, search_recipe, split
from search.crew import AbstractCrew, Processes, RayTasks, SlurmJobs
from search.live import best_table, ended_line, failures, live_view, standing, status_line
from search.place import FOLDERS, JOURNAL, ROOT, point
from search.recipe import SearchRecipe
from search.space import Recipe, Space, version_of
from search.storage import StudyError, open_storage, without_password
from search.study import Quality, Study, StudyRecord, begin, carry_over, differences, exist, join, kept
from search.worker import Trainer, Worked, prepared, work

#: Candidates where none are asked for, and seconds between two pictures of the table.
TRIALS, REDRAW = 50, 1.0


def run_search(request: Request) -> int:
    """Begin a search or go on with it; the exit status."""
    alone = request.whole("jobs", 1) == 1 and request.own.get("on", "here") == "here"
    study, folder, space, task = _study(request)
    signal = _alone(study, folder, space, task, request.hours) if alone else _together(study, folder, request)
    show_study(study, folder)
    now = standing(study.trials, study.wanted)
    go_on = again("search", *request.given)
    if signal is not None:
        click.echo(f"Stopped and saved. To go on: {go_on}", err=True)
        return 128 + signal
    if now.waiting:
        click.echo(f"{now.waiting} trials wait. To go on: {go_on}", err=True)
    return 0


def _study(request: Request) -> tuple[Study, Path, Space, AbstractTask]:
    """The study that is asked for, begun if it is new, with trials enough."""
    base = base_of(request)
    search = search_recipe(request)
    names = [request.own.get("search", "stages"), base.names["model"], base.names.get("experiment", base.names["task"])]
    name = request.own.get("study", "-".join(names))
    folder = Path(request.own.get("folder", ROOT / name))
    new = not folder.exists()
    try:
        study, space, task = _begun(request, base, search, name, folder)
    except BaseException:
        if new:
            # A folder without a study would only stand in the way of the next try.
            shutil.rmtree(folder, ignore_errors=True)
        raise
    point(folder, study.url, name)
    return study, folder, space, task


def _begun(
    request: Request, base: Recipe, search: SearchRecipe, name: str, folder: Path
) -> tuple[Study, Space, AbstractTask]:
    task = make_task(base)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    task.prepare(folder / "data")
    space = Space(search, base, task=task)
    record = StudyRecord(
        search=search,
        base=base,
        space=space.description,
        quality=_quality(search.metric, task),
        folder=str(folder),
        plugins=[str(plugin) for plugin in registry.plugin_folders()],
    )
    url = request.own.get("storage", str(folder / JOURNAL))
    if name in exist(open_storage(url)):
        study = join(url, name)
        if lines := differences(study.record, record):
            raise StudyError(
                f"study {name} was begun otherwise:\n"
                + "\n".join(f"  {line}" for line in lines)
                + "\nGo on with it as it was begun, or begin another"
                + (" and take over what is still valid" if kept(lines) else "")
                + f": study={name}-2"
                + (f" from={name}" if kept(lines) else "")
            )
        if "trials" in request.own:
            study.ask_for(request.whole("trials", TRIALS))
    else:
        for stage, reason in space.never().items():
            click.echo(f"{stage} is never tried: {reason}", err=True)
        study = begin(url, name, record)
        try:
            _fill(study, space, request, url)
        except BaseException:
            # Without its first trials it would only stand in the way of the next try.
            optuna.delete_study(study_name=name, storage=study.storage)
            raise
    return study, space, task


def _quality(metric: str | None, task: AbstractTask) -> Quality:
    from eos.tasks.task import Counts, more_is_better

    standard = task.standard
    if metric is None or metric == standard.metric:
        return Quality(metric=standard.metric, higher=standard.higher)
    batch = next(iter(task.evaluation_batches("validation", 1)))
    known = [*task.metrics(0.0, task.count(batch) + Counts()), standard.metric]
    if metric not in known:
        raise RecipeError(unknown("metric of the task", metric, known))
    return Quality(metric=metric, higher=more_is_better(metric))


def _fill(study: Study, space: Space, request: Request, url: str) -> None:
    """The first trials of a new study: those of another, known recipes, and those that the sampler proposes."""
    if (source := request.own.get("from")) is not None:
        place = request.own.get("storage", str(ROOT / source / JOURNAL))
        taken, left = carry_over(join(place, source), study, space)
        click.echo(f"{taken} trials taken over from {source}, {left} left there: no candidates of this space", err=True)
    for name in study.record.search.first[: request.whole("trials", TRIALS)]:
        try:
            study.enqueue(space.known(name).params, origin=name)
        except RecipeError as error:
            click.echo(f"{name} is not tried first: {error}", err=True)
    if study.record.search.sampler == "grid":
        candidates = [candidate.params for candidate in space.every()]
        limit = request.whole("trials", len(candidates))
        for params in candidates[:limit]:
            study.enqueue(params, origin="grid")
        study.ask_for(min(limit, len(study.trials)))
    else:
        study.ask_for(request.whole("trials", TRIALS))


def _alone(study: Study, folder: Path, space: Space, task: AbstractTask, hours: float | None) -> int | None:
    """Work in this process; the signal that stopped it."""
    console = Console(stderr=True)
    trainer = Trainer(study, task, folder)
    until = None if hours is None else time.monotonic() + 3600 * hours
    if not console.is_terminal:
        return _work(study, space, trainer, folder, until, console).signal
    with Live(console=console, get_renderable=lambda: live_view(study, workers=1), refresh_per_second=1 / REDRAW):
        return _work(study, space, trainer, folder, until, None).signal


def _work(
    study: Study, space: Space, trainer: Trainer, folder: Path, until: float | None, console: Console | None
) -> Worked:
    def each(number: int, status: str) -> None:
        if console is not None and status != "running":
            console.print(Text(ended_line(study, number)), soft_wrap=True, highlight=False)

    return work(study, space, trainer, folder=folder / FOLDERS, until=until, each=each)


def _crew(study: Study, folder: Path, request: Request) -> AbstractCrew:
    """The workers that are asked for."""
    where = [f"storage={study.url}", f"study={study.name}", f"folder={folder}"]
    if request.hours is not None:
        where.append(f"hours={request.hours:g}")
    count, options = request.whole("jobs", 1), request.mapping("options")
    match request.own.get("on", "here"):
        case "here":
            return Processes(where, count, folder)
        case "slurm":
            return SlurmJobs(where, count, folder / "slurm", options)
        case "ray":
            return RayTasks(where, count, address=request.own.get("address"), options=options)
        case other:
            raise RecipeError(unknown("place for workers", other, ("here", "slurm", "ray")))


def _together(study: Study, folder: Path, request: Request) -> int | None:
    """Let several workers work, and show how it stands; the signal that stopped them."""
    console = Console(stderr=True)
    jobs = request.whole("jobs", 1)
    seen: set[int] = {trial.number for trial in study.trials if trial.state.is_finished()}
    with StopRequest() as stop:
        crew, told = _crew(study, folder, request), False
        live = Live(
            console=console, get_renderable=lambda: live_view(study, workers=jobs), refresh_per_second=1 / REDRAW
        )
        if console.is_terminal:
            live.start()
        while crew.working():
            time.sleep(0.2)
            if stop.signal is not None and not told:
                told = True
                crew.stop(stop.signal)
            if not console.is_terminal:
                seen = _tell_ended(study, seen, console)
        if console.is_terminal:
            live.stop()
    fault = crew.fault()
    if stop.signal is None and fault is not None:
        raise StudyError(fault)
    return stop.signal


def _tell_ended(study: Study, seen: set[int], console: Console) -> set[int]:
    ended = {trial.number for trial in study.trials if trial.state.is_finished()}
    for number in sorted(ended - seen):
        console.print(Text(ended_line(study, number)), soft_wrap=True, highlight=False)
    return ended


def run_worker(arguments: tuple[str, ...]) -> int:
    """Join a study and work on it; the exit status."""
    from search.place import located

    own = ("storage", "study", "folder", "hours")
    paths = [text for text in arguments if "=" not in text]
    request = split([text for text in arguments if "=" in text], own)
    if len(paths) > 1 or request.overrides or request.search:
        raise RecipeError(
            "a worker is told its study alone: its folder, or storage=URL study=NAME; and hours=, folder="
        )
    study, folder = located(paths[0] if paths else None, request.own)
    space, task = prepared(study, folder)
    until = None if request.hours is None else time.monotonic() + 3600 * request.hours
    console = Console(stderr=True)
    console.print(Text(f"worker of study {study.name} in {without_password(study.url)}"), soft_wrap=True)
    done = _work(study, space, Trainer(study, task, folder), folder, until, console)
    console.print(Text(f"{done.trials} trials; {status_line(standing(study.trials, study.wanted))}"), soft_wrap=True)
    return 0 if done.signal is None else 128 + done.signal


def show_study(study: Study, folder: Path) -> None:
    """Print how a study stands, and what to type next."""
    from eos.cli.output import console, print_columns, print_line

    trials = study.trials
    now = standing(trials, study.wanted)
    print_line(f"study {study.name}: {status_line(now, at_work=False)}", style="bold")
    if now.complete:
        console().print(best_table(trials, study.record))
    for line in failures(trials):
        print_line(line)
    count = len(study.record.space)
    then = [again("worker", str(folder))] if now.waiting else []
    if now.complete:
        then += [again("search", "report", str(folder)), f"{again('search', 'export', str(folder))} N"]
    then.append(f"optuna-dashboard {shlex.quote(without_password(study.url))}")
    rows = [
        ("space", f"{count} parameter{'s' * (count != 1)}, version {version_of(study.record.space)}"),
        ("folder", str(folder)),
        *(("next" if line is then[0] else "", line) for line in then),
    ]
    print_columns((name, Text(value)) for name, value in rows)
