"""What a candidate is worth: its runs, one for each learning rate and seed, and the numbers that are sought."""

import shutil
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from eos.errors import RunError
from eos.tasks.task import AbstractTask
from eos.training.bookkeeping import Watch
from eos.training.files import is_disk_full
from eos.training.fit import torch_device
from eos.training.folder import RunFolder
from eos.training.latency import latency
from eos.training.result import Result
from eos.training.run import resume, train
from eos.training.stopping import RunAbandoned
from search.recipe import SearchRecipe
from search.space import Recipe
from search.study import Quality


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a candidate.

    Arguments:
        status: complete; pruned; failed, with a reason; or stopped by a signal, and ready to go on.
        values: of the objectives, in their order.
        runs: of each run its seed, learning rate and numbers.
        reason: why it failed or was pruned.
        signal: the number of the signal that stopped it.
    """

    status: Literal["complete", "pruned", "failed", "stopped"]
    values: list[float] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""
    signal: int | None = None


Report = Callable[[int, float], bool]


def evaluate(
    recipe: Recipe, search: SearchRecipe, quality: Quality, task: AbstractTask, folder: Path, *, report: Report
) -> Outcome:
    """Train a candidate, or go on with it.

    Arguments:
        recipe: of the candidate.
        search: says at which learning rates, with how many seeds, and what is sought.
        quality: the metric.
        task: of the base, prepared.
        folder: where its runs stand.
        report: told the step and the quality of every validation of the first run; whether to give the candidate up.

    Raises:
        DataError: the data cannot be used, by any candidate.
        RunError: the disk is full.
    """
    rates = search.learning_rates or [recipe.training.learning_rate]
    first = recipe.training.seed
    runs: list[dict[str, Any]] = []
    for rate in rates:
        for seed in range(first, first + search.seeds):
            options = replace(recipe.training, learning_rate=rate, seed=seed, data_seed=recipe.training.order, sample=0)
            watched = None if runs else _watch(quality, report, last=options.steps)
            path = folder / (f"rate-{rate:g}" if len(rates) > 1 else ".") / f"seed-{seed}"
            try:
                result = _run(replace(recipe, training=options), path, watched)
            except torch.OutOfMemoryError as error:
                return Outcome(status="failed", runs=runs, reason=f"out of memory: {error}")
            except RunError as error:
                if is_disk_full(error):
                    raise
                return Outcome(status="failed", runs=runs, reason=str(error))
            except MemoryError:
                return Outcome(status="failed", runs=runs, reason="out of memory: take a smaller batch or model")
            if result.status == "stopped":
                return Outcome(status="stopped", runs=runs, signal=result.signal)
            runs.append(_summary(result, quality, rate=rate, seed=seed, path=path.relative_to(folder)))
            if result.status == "abandoned":
                return Outcome(status="pruned", runs=runs, reason=result.error or "")
    return _judged(recipe, search, quality, task, runs)


def _run(recipe: Recipe, path: Path, watch: Watch | None) -> Result:
    if RunFolder(path).recipe.is_file():
        return resume(path, watch=watch)
    shutil.rmtree(path, ignore_errors=True)
    return train(recipe, path, watch=watch)


def _watch(quality: Quality, report: Report, *, last: int | None) -> Watch:
    def watch(step: int, metrics: Mapping[str, float]) -> None:
        # What a model writes by itself is graded at the end alone; until then validations tell of the loss.
        if quality.metric in metrics and report(step, metrics[quality.metric]) and step != last:
            raise RunAbandoned(f"given up after {step} steps at {quality.metric} = {metrics[quality.metric]:.4g}")

    return watch


def _summary(result: Result, quality: Quality, *, rate: float, seed: int, path: Path) -> dict[str, Any]:
    found = {part: metrics.get(quality.metric) for part, metrics in result.metrics.items()}
    return {
        "seed": seed,
        "learning_rate": rate,
        "status": result.status,
        "validation": found.get("validation"),
        "test": found.get("test"),
        "parameters": result.parameters,
        "state_bytes": result.state_bytes,
        "training_flops_per_token": result.training_flops_per_token,
        "training_seconds": round(result.training_seconds, 3),
        "steps": result.steps,
        "folder": str(path),
    }


def _judged(
    recipe: Recipe, search: SearchRecipe, quality: Quality, task: AbstractTask, runs: list[dict[str, Any]]
) -> Outcome:
    """The best learning rate by the mean over seeds, and what the candidate costs."""
    means: dict[float, float] = {}
    for rate in dict.fromkeys(run["learning_rate"] for run in runs):
        values = [run["validation"] for run in runs if run["learning_rate"] == rate]
        if all(value is not None for value in values):
            means[rate] = statistics.fmean(values)
    if not means:
        return Outcome(status="failed", runs=runs, reason=f"{quality.metric} of the validation part is not finite")
    choose = max if quality.higher else min
    rate = choose(means, key=means.__getitem__)
    for run in runs:
        run["chosen"] = run["learning_rate"] == rate
    one = runs[0]
    known = {
        "quality": means[rate],
        "parameters": one["parameters"],
        "state": one["state_bytes"],
        "flops": one["training_flops_per_token"],
    }
    values = []
    for name in search.objectives:
        value = _latency(recipe, task) if name == "latency" else known[name]
        if value is None:
            return Outcome(status="failed", runs=runs, reason=f"{name} is not defined for this task's models")
        values.append(float(value))
    return Outcome(status="complete", values=values, runs=runs)


def _latency(recipe: Recipe, task: AbstractTask) -> float:
    """Of the model with fresh weights: its own are gone, or were never kept."""
    model = task.model(recipe.model).to(torch_device(recipe.training.device))
    return latency(model, task, precision=recipe.training.precision)


def forget_weights(folder: Path) -> None:
    """Delete weights and checkpoints of a candidate's runs; recipe, log and result stay."""
    for weights in folder.rglob("weights.safetensors"):
        weights.unlink()
    for checkpoints in folder.rglob("checkpoints"):
        shutil.rmtree(checkpoints, ignore_errors=True)
