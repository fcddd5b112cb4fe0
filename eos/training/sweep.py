"""Many runs: every combination of some choices, on one task or on a suite of them, and what came of each."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from eos.config import option, options
from eos.errors import RecipeError, RunError
from eos.tasks.task import Standard
from eos.training.files import read_json, write_json
from eos.training.folder import RunFolder, claim
from eos.training.group import RECORD as GROUP_RECORD
from eos.training.group import Spread, is_group, runs_of, spread
from eos.training.result import read_result
from eos.training.stopping import StopRequest

RECORD = "sweep.json"


@options
class Suite:
    """Settings of several tasks, each trained by itself; a recipe of the group suite.

    The score of a setting is the best over the sweep, that of a task the mean over its settings, and that of the suite
    the mean over its tasks.
    """

    overrides: list[str] = option([], "of every run")
    vary: dict[str, list[str | float | int | bool]] = option({}, "keys with the values to choose the best of")
    settings: dict[str, dict[str, list[str]]] = option(description="by task and name, the overrides of a setting")
    select: Literal["validation", "test"] = option(
        "validation", "the part on which the best of the sweep is chosen; the test part where the publication did so"
    )


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One combination.

    Arguments:
        folder: of its run or group of runs, below the sweep's.
        task, setting: of the suite; empty without one.
        choices: a value for each axis, as it is written.
        overrides: all of them.
    """

    folder: str
    task: str
    setting: str
    choices: dict[str, str]
    overrides: list[str]

    @property
    def name(self) -> str:
        """Its choices in a line."""
        place = [f"{self.task} {self.setting}".strip()] if self.task else []
        return " ".join([*place, *(f"{key}={value}" for key, value in self.choices.items())])


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What to train.

    Arguments:
        axes: keys, each with the values to try.
        by: the axis whose values are compared; of the others the best is taken.
        overrides: of every run.
        own: of every run too, after all others: they change what a suite says.
        seeds: of every combination; None for a single run.
        settings: of a suite; one without a name where there is none.
        select: the part on which the best is chosen.
    """

    axes: dict[str, list[str]]
    by: str
    overrides: list[str]
    own: list[str] = field(default_factory=list)
    seeds: list[int] | None = None
    settings: dict[str, dict[str, list[str]]] = field(default_factory=lambda: {"": {"": []}})
    select: Literal["validation", "test"] = "validation"

    def cells(self) -> list[Cell]:
        """Every combination, in order.

        Raises:
            RecipeError: two of one name.
        """
        found: dict[str, Cell] = {}
        for task, settings in self.settings.items():
            for setting, changes in settings.items():
                for values in product(*self.axes.values()):
                    choices = dict(zip(self.axes, values, strict=True))
                    folder = re.sub(r"[^\w.,=+-]", "_", ",".join(f"{key}={value}" for key, value in choices.items()))
                    folder = "/".join(filter(None, (task, setting, folder)))
                    if folder in found:
                        raise RecipeError(f"two combinations share the folder {folder}; name each value once")
                    chosen = [f"{key}={value}" for key, value in choices.items()]
                    found[folder] = Cell(
                        folder=folder,
                        task=task,
                        setting=setting,
                        choices=choices,
                        # Recipes are chosen before their keys are changed, whatever the order.
                        overrides=[*self.overrides, *changes, *chosen, *self.own],
                    )
        return list(found.values())


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one combination.

    Arguments:
        status: finished, or how far it is.
        standard: of its task; None where nothing has finished.
        validation, test: the metric that counts; None where nothing has finished.
    """

    status: str
    standard: Standard | None = None
    validation: Spread | None = None
    test: Spread | None = None


@dataclass(frozen=True, kw_only=True)
class Best:
    """Of one value of the axis compared, in one setting: the choices of the other axes that did best, and how well."""

    choices: dict[str, str]
    test: Spread


@dataclass(frozen=True, kw_only=True)
class Score:
    """One value of the axis compared.

    Arguments:
        value: of the axis.
        best: by task and setting; those where nothing has finished are left out.
        tasks: the mean over the settings of each task, where all have finished.
        score: the mean over tasks; None until all are there.
    """

    value: str
    best: dict[str, dict[str, Best]]
    tasks: dict[str, float]
    score: float | None


def begin(sweep: Sweep, path: Path) -> None:
    """Write down a new sweep.

    Raises:
        RunError: the path is taken.
    """
    claim(path)
    write_json(path / RECORD, {"sweep": asdict(sweep)})


def read_sweep(path: Path) -> Sweep:
    """The sweep of a folder.

    Raises:
        RunError: there is none.
    """
    if not (path / RECORD).is_file():
        raise RunError(f"{path} holds no sweep of runs (there is no {RECORD} in it)")
    try:
        return Sweep(**read_json(path / RECORD)["sweep"])
    except (KeyError, TypeError) as error:
        raise RunError(f"{path / RECORD} is not the record of a sweep: {error}") from error


def run_sweep(
    sweep: Sweep, path: Path, *, jobs: int, plugins: Sequence[Path], each: Callable[[int, Cell, str], None]
) -> int | None:
    """Train what has not finished, each combination in a process of its own; write what came of all.

    Arguments:
        jobs: processes at once, ≥ 1; with several, each has its share of the cores and writes to a log of its own.
        plugins: folders that the processes are to know.
        each: told of every combination, with its number, when it begins ("") and when it ends (its status).

    Returns:
        The number of the signal that stopped it, or None. The first lets every process finish its step and save.
    """
    cells = [(n, cell) for n, cell in enumerate(sweep.cells(), 1) if outcome(path / cell.folder).status != "finished"]
    waiting = iter(cells)
    running: dict[Future[int], tuple[int, Cell]] = {}
    processes: dict[str, subprocess.Popen[bytes]] = {}
    with StopRequest() as stop, ThreadPoolExecutor(jobs) as pool:
        told = 0
        while True:
            while stop.signal is None and len(running) < jobs and (item := next(waiting, None)) is not None:
                number, cell = item
                each(number, cell, "")
                processes[cell.folder] = _start(cell, path, seeds=sweep.seeds, jobs=jobs, plugins=plugins)
                running[pool.submit(processes[cell.folder].wait)] = item
            if not running:
                break
            done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                number, cell = running.pop(future)
                del processes[cell.folder]
                ended = outcome(path / cell.folder).status
                # A process that was told to stop before it had a folder has lost nothing.
                each(number, cell, "stopped" if stop.signal is not None and ended == "failed" else ended)
            if stop.signal is not None and not told:
                # They stand outside of the terminal's process group, so that each is told once.
                told = stop.signal
                for process in processes.values():
                    process.send_signal(told)
    write_json(path / RECORD, {"sweep": asdict(sweep), "scores": [asdict(score) for score in scores(sweep, path)]})
    return stop.signal


def _start(
    cell: Cell, path: Path, *, seeds: list[int] | None, jobs: int, plugins: Sequence[Path]
) -> "subprocess.Popen[bytes]":
    folder = path / cell.folder
    command = [sys.executable, "-m", "eos.cli.main", "train"]
    for plugin in plugins:
        command += ["--plugins", str(plugin)]
    if folder.exists():
        command += [f"run={folder}", "resume=true"]
    else:
        folder.parent.mkdir(parents=True, exist_ok=True)
        command += [*cell.overrides, f"run={folder}"]
        command += [] if seeds is None else [f"seeds=[{','.join(map(str, seeds))}]"]
    environment = dict(os.environ)
    if jobs > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    with log_of(folder).open("ab") as log:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log if jobs > 1 else None,
            start_new_session=True,
        )


def log_of(folder: Path) -> Path:
    """Where the process of a combination writes."""
    return folder.with_name(f"{folder.name}.log")


def outcome(folder: Path) -> Outcome:
    """What has come of a run or group of runs so far."""
    if is_group(folder):
        status, first = str(read_json(folder / GROUP_RECORD)["status"]), runs_of(folder)[0]
        results = [RunFolder(run).result for run in runs_of(folder)]
    else:
        status, first = "", folder
        results = [RunFolder(folder).result]
    if not RunFolder(first).result.is_file():
        return Outcome(status=status or ("stopped" if folder.exists() else "failed"))
    done = [read_result(result) for result in results if result.is_file()]
    status = status or done[0].status
    finished = [result for result in done if result.status == "finished" and result.standard is not None]
    if status != "finished" or not finished:
        return Outcome(status=status)
    standard = Standard(**(finished[0].standard or {}))
    parts = {
        part: spread([result.metrics[part][standard.metric] for result in finished]) for part in ("validation", "test")
    }
    return Outcome(status=status, standard=standard, validation=parts["validation"], test=parts["test"])


def scores(sweep: Sweep, path: Path) -> list[Score]:
    """What came of every value of the axis compared, in its order."""
    outcomes = [(cell, outcome(path / cell.folder)) for cell in sweep.cells()]
    return [_score(sweep, value, list(_of(value, sweep.by, outcomes))) for value in sweep.axes[sweep.by]]


def _of(value: str, by: str, outcomes: list[tuple[Cell, Outcome]]) -> Iterator[tuple[Cell, Outcome]]:
    for cell, found in outcomes:
        if cell.choices[by] == value:
            yield cell, found


def _score(sweep: Sweep, value: str, outcomes: list[tuple[Cell, Outcome]]) -> Score:
    best: dict[str, dict[str, Best]] = {}
    for task, settings in sweep.settings.items():
        for setting in settings:
            here = [(cell, each) for cell, each in outcomes if (cell.task, cell.setting) == (task, setting)]
            if (chosen := _best(here, sweep)) is not None:
                best.setdefault(task, {})[setting] = chosen
    tasks = {}
    for task, found in best.items():
        means = [one.test.mean for one in found.values() if one.test.mean is not None]
        if len(means) == len(sweep.settings[task]):
            tasks[task] = fmean(means)
    return Score(
        value=value, best=best, tasks=tasks, score=fmean(tasks.values()) if len(tasks) == len(sweep.settings) else None
    )


def _best(found: list[tuple[Cell, Outcome]], sweep: Sweep) -> Best | None:
    """The combination whose mean on the part that decides is best; one that is not finite never is."""
    ranked = []
    for cell, each in found:
        decides = each.validation if sweep.select == "validation" else each.test
        if each.standard is None or each.test is None or decides is None or decides.mean is None:
            continue
        sign = 1 if each.standard.higher else -1
        ranked.append((sign * decides.mean, cell, each.test))
    if not ranked:
        return None
    _, cell, test = max(ranked, key=lambda entry: entry[0])
    return Best(choices={key: value for key, value in cell.choices.items() if key != sweep.by}, test=test)


def written(values: Mapping[str, Sequence[Any]]) -> dict[str, list[str]]:
    """The values of a suite's grid as overrides say them."""

    def one(value: Any) -> str:
        return str(value).lower() if isinstance(value, bool) else str(value)

    return {key: [one(value) for value in chosen] for key, chosen in values.items()}
