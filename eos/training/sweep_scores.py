"""What came of a sweep: of every value that is compared, the best of all other choices."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean

from eos.tasks.task import Standard
from eos.training.files import read_json
from eos.training.folder import RunFolder
from eos.training.group import RECORD as GROUP_RECORD
from eos.training.group import Spread, is_group, runs_of, spread
from eos.training.result import result_if_readable
from eos.training.sweep import Cell, Sweep


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
    """Of one value that is compared, in one setting: the choices of the other axes that did best, and how well."""

    choices: dict[str, str]
    test: Spread


@dataclass(frozen=True, kw_only=True)
class Score:
    """One value of the axis compared, or one combination of the values of several.

    Arguments:
        value: of the axis; of several, each with its key.
        wanted: the same, by key.
        best: by task and setting; those where nothing has finished are left out.
        tasks: the mean over the settings of each task, where all have finished.
        score: the mean over tasks; None until all are there.
    """

    value: str
    wanted: dict[str, str]
    best: dict[str, dict[str, Best]]
    tasks: dict[str, float]
    score: float | None


def outcome(folder: Path) -> Outcome:
    """What has come of a run or group of runs so far."""
    if is_group(folder):
        status, runs = str(read_json(folder / GROUP_RECORD)["status"]), runs_of(folder)
    else:
        status, runs = "", [folder]
    results = [result_if_readable(RunFolder(run).result) for run in runs]
    done = [result for result in results if result is not None]
    if not done:
        return Outcome(status=status or ("stopped" if folder.exists() else "failed"))
    status = status or done[0].status
    if status == "finished" and len(done) < len(runs):  # one is damaged or lost, and is found anew
        status = "stopped"
    finished = [result for result in done if result.status == "finished" and result.standard is not None]
    if status != "finished" or not finished:
        return Outcome(status=status)
    standard = Standard(**(finished[0].standard or {}))
    parts = {
        part: spread([result.metrics[part][standard.metric] for result in finished]) for part in ("validation", "test")
    }
    return Outcome(status=status, standard=standard, validation=parts["validation"], test=parts["test"])


def scores(sweep: Sweep, path: Path) -> list[Score]:
    """What came of every value that is compared, in their order."""
    outcomes = [(cell, outcome(path / cell.folder)) for cell in sweep.cells()]
    found = []
    for values in product(*(sweep.axes[key] for key in sweep.by)):
        wanted = dict(zip(sweep.by, values, strict=True))
        here = [(cell, each) for cell, each in outcomes if wanted.items() <= cell.choices.items()]
        name = values[0] if len(values) == 1 else " ".join(f"{key}={value}" for key, value in wanted.items())
        found.append(_score(sweep, name, wanted, here))
    return found


def _score(sweep: Sweep, value: str, wanted: dict[str, str], outcomes: list[tuple[Cell, Outcome]]) -> Score:
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
        value=value,
        wanted=wanted,
        best=best,
        tasks=tasks,
        score=fmean(tasks.values()) if len(tasks) == len(sweep.settings) else None,
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
    return Best(choices={key: value for key, value in cell.choices.items() if key not in sweep.by}, test=test)
