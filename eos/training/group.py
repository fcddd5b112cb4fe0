"""The same recipe with several seeds: a folder of runs on the same batches, and what their metrics have in common."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from scipy.special import stdtrit

from eos.compose.run import save_run_recipe
from eos.errors import RecipeError
from eos.training.files import read_json, replacing, write_json
from eos.training.folder import RunFolder, claim
from eos.training.result import Result, Status
from eos.training.run import Recipe, recipe_of, resume, train

RECORD = "group.json"
#: Of the intervals around a mean.
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One metric over the runs that have finished.

    Arguments:
        mean: of the values; None where one of them is not finite.
        std: their sample standard deviation; None where there is no mean, or one value alone.
        interval: where the mean of many such runs lies with 95 % confidence, by Student's t distribution; None as std.
        values: in the order of the seeds.
    """

    mean: float | None
    std: float | None
    interval: tuple[float, float] | None
    values: list[float | None]


@dataclass(frozen=True, kw_only=True)
class Group:
    """What group.json holds.

    Arguments:
        status: running until every run has finished; also when the process was killed.
        seeds: of the runs, which stand in folders ``seed-N``.
        metrics: by part and name.
        standard: as a result's.
        signal: the number of the signal that stopped it.
    """

    status: Status | Literal["running"]
    seeds: list[int]
    metrics: dict[str, dict[str, Spread]]
    standard: dict[str, Any] | None = None
    signal: int | None = None


def train_group(
    recipe: Recipe, path: Path, seeds: Sequence[int], *, console: Console | None = None, command: Sequence[str] = ()
) -> Group:
    """Train a run for each seed, one after the other, in a new folder.

    All see the same batches in the same order, those of the recipe's data_seed or else of its seed: what differs is
    initial weights and dropout.

    Arguments:
        seeds: distinct, at least one; each takes the place of the recipe's own.

    Raises:
        RecipeError: no seeds, or one twice.
        RunError: the folder exists, or as for :func:`~eos.training.run.train`.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise RecipeError(f"seeds must be distinct and at least one, got {list(seeds)}")
    claim(path)
    with replacing(RunFolder(path).recipe) as temporary:
        save_run_recipe(recipe, temporary)
    _write(path, "running", list(seeds), [])
    return resume_group(path, console=console, command=command)


def resume_group(path: Path, *, console: Console | None = None, command: Sequence[str] = ()) -> Group:
    """Go on with a group: finish the run that was stopped, and begin those that were not begun."""
    recipe = recipe_of(RunFolder(path))
    seeds = seeds_of(path)
    results: list[Result] = []
    try:
        for seed, run in zip(seeds, runs_of(path), strict=True):
            if run.exists():
                result = resume(run, console=console, command=command)
            else:
                options = replace(recipe.training, seed=seed, data_seed=recipe.training.order)
                seeded = replace(recipe, training=options)
                result = train(seeded, run, console=console, command=command)
            if result.status == "stopped":
                return _write(path, "stopped", seeds, results, signal=result.signal)
            results.append(result)
            _write(path, "running", seeds, results)
    except Exception:
        _write(path, "failed", seeds, results)
        raise
    return _write(path, "finished", seeds, results)


def is_group(path: Path) -> bool:
    """Whether the folder is a group's."""
    return (path / RECORD).is_file()


def seeds_of(path: Path) -> list[int]:
    """The seeds of a group."""
    seeds: list[int] = read_json(path / RECORD)["seeds"]
    return seeds


def runs_of(path: Path) -> list[Path]:
    """The folders of a group's runs, in the order of its seeds; the last ones may not exist yet."""
    return [path / f"seed-{seed}" for seed in seeds_of(path)]


def _write(
    path: Path,
    status: Status | Literal["running"],
    seeds: list[int],
    results: list[Result],
    *,
    signal: int | None = None,
) -> Group:
    metrics: dict[str, dict[str, Spread]] = {}
    for part, named in results[0].metrics.items() if results else ():
        metrics[part] = {name: spread([result.metrics[part][name] for result in results]) for name in named}
    standard = results[0].standard if results else None
    group = Group(status=status, seeds=seeds, metrics=metrics, standard=standard, signal=signal)
    write_json(path / RECORD, asdict(group))
    return group


def spread(values: list[float | None]) -> Spread:
    """Mean, deviation and interval of one metric's values."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return Spread(mean=None, std=None, interval=None, values=values)
    mean = statistics.fmean(known)
    if len(known) == 1:
        return Spread(mean=mean, std=None, interval=None, values=values)
    std = statistics.stdev(known)
    half = float(stdtrit(len(known) - 1, (1 + CONFIDENCE) / 2)) * std / math.sqrt(len(known))
    return Spread(mean=mean, std=std, interval=(mean - half, mean + half), values=values)
