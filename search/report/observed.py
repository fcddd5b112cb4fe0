"""The finished trials of a study as they are analysed: choices, quality by seed, and costs."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from search.alternatives import KINDS
from search.report.linear import Factor, Matrix, factor
from search.storage import StudyError
from search.study import CHOICES, REASON, RUNS, Study, StudyRecord, lost

#: What stands for a choice that a trial has not made.
ABSENT = "(none here)"
#: The costs of a run, and its units.
COSTS = {"parameters": "parameters", "state": "state_bytes", "flops": "training_flops_per_token"}
UNITS = {"parameters": "parameters", "state": "bytes of state", "flops": "training FLOPs a token", "latency": "ms"}


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A finished trial.

    Arguments:
        number: of the trial.
        params: its parameters.
        shown: its choices in a line.
        quality: its metric on the validation part, the mean over seeds.
        seeds: the metric of each seed, at the learning rate that was chosen.
        tests: the same on the test part, where it is known.
        costs: what is known of parameters, state, flops and latency.
        trial: as Optuna has it.
    """

    number: int
    params: dict[str, Any]
    shown: str
    quality: float
    seeds: dict[int, float]
    tests: dict[int, float]
    costs: dict[str, float]
    trial: FrozenTrial


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What there is to learn from.

    Arguments:
        name: of the study.
        record: what the study says of itself.
        complete: the finished trials whose quality is finite, in the order of their numbers.
        ended: all that ended, those that a lost worker left apart.
        not_finite: how many finished trials are left out because their quality is not finite.
        unfinished: running and waiting trials.
    """

    name: str
    record: StudyRecord
    complete: list[Observation]
    ended: list[FrozenTrial]
    not_finite: int
    unfinished: int

    @property
    def sign(self) -> int:
        """1 where more of the metric is better, else −1: differences are turned so that + is better."""
        return 1 if self.record.quality.higher else -1

    def count(self, state: TrialState) -> int:
        """Trials that ended so."""
        return sum(trial.state == state for trial in self.ended)

    def reasons(self) -> list[tuple[str, int]]:
        """Why trials failed, the most frequent first."""
        failed = [trial for trial in self.ended if trial.state == TrialState.FAIL]
        return Counter(str(trial.user_attrs.get(REASON, "no reason is known")) for trial in failed).most_common()


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The trials that effects are fitted to.

    Arguments:
        factors: choices with at least two levels, stages first.
        numbers: numeric parameters that vary beside them, scaled to −1 … 1, with their squares.
        covariates: their names.
        values: signed so that + is better, a row for each trial and a column for each seed.
        seeds: of the columns; none where trials have no seeds in common.
        left_out: trials without one of these seeds.
    """

    factors: list[Factor]
    numbers: Matrix
    covariates: list[str]
    values: Matrix
    seeds: tuple[int, ...]
    left_out: int


def observe(study: Study) -> Observed:
    """Read a study.

    Raises:
        StudyError: no trial has finished with a finite quality.
    """
    record = study.record
    trials = [trial for trial in study.trials if not lost(trial)]
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    read = [_observation(trial, record) for trial in finished]
    complete = sorted((each for each in read if each is not None), key=lambda each: each.number)
    found = Observed(
        name=study.name,
        record=record,
        complete=complete,
        ended=[trial for trial in trials if trial.state.is_finished()],
        not_finite=len(finished) - len(complete),
        unfinished=sum(not trial.state.is_finished() for trial in trials),
    )
    if not complete:
        counts = {
            "pruned": found.count(TrialState.PRUNED),
            "failed": found.count(TrialState.FAIL),
            "without a finite quality": found.not_finite,
            "running or waiting": found.unfinished,
        }
        said = ", ".join(f"{number} {name}" for name, number in counts.items() if number) or "no trials at all"
        why = f"; the most frequent reason: {found.reasons()[0][0][:200]}" if found.reasons() else ""
        raise StudyError(f"study {study.name} has no complete trial to learn from: {said}{why}")
    return found


def _observation(trial: FrozenTrial, record: StudyRecord) -> Observation | None:
    runs = trial.user_attrs.get(RUNS) or []
    runs = [run for run in runs if run.get("chosen", True)] or runs
    seeds = {int(run["seed"]): float(run["validation"]) for run in runs if _finite(run.get("validation"))}
    tests = {int(run["seed"]): float(run["test"]) for run in runs if _finite(run.get("test"))}
    objectives = dict(zip(record.search.objectives, trial.values, strict=True))
    quality = objectives.get("quality", float(np.mean(list(seeds.values()))) if seeds else math.nan)
    if not math.isfinite(quality):
        return None
    costs = {name: float(runs[0][key]) for name, key in COSTS.items() if runs and _finite(runs[0].get(key))}
    costs |= {name: value for name, value in objectives.items() if name != "quality" and math.isfinite(value)}
    shown = str(trial.user_attrs.get(CHOICES) or " ".join(f"{key}={value}" for key, value in trial.params.items()))
    return Observation(
        number=trial.number,
        params=trial.params,
        shown=shown,
        quality=quality,
        seeds=seeds,
        tests=tests,
        costs=costs,
        trial=trial,
    )


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def choices(record: StudyRecord) -> list[str]:
    """The parameters that are choices of all trials: stages (and mixers of layers) first, then lists of vary."""
    stages, others = [], []
    for name, text in record.space.items():
        if not isinstance(json_to_distribution(text), CategoricalDistribution):
            continue
        if name in record.search.vary:
            others.append(name)
        elif name.rpartition(".")[2] in (*KINDS, "mixer") and name.count(".") <= 1:
            stages.append(name)
    order = {kind: place for place, kind in enumerate(("mixer", *KINDS))}
    return sorted(stages, key=lambda name: (_layer(name), order[name.rpartition(".")[2]])) + others


def is_stage(name: str, record: StudyRecord) -> bool:
    """Whether a choice is one of stages."""
    return name not in record.search.vary and name.rpartition(".")[2] in KINDS


def _layer(name: str) -> tuple[int, str]:
    prefix = name.rpartition(".")[0]
    digits = prefix.removeprefix("layer")
    return (int(digits) if digits.isdecimal() else -1, prefix)


def panel(observed: Observed, complete: Sequence[Observation] | None = None) -> Panel:
    """The trials that have the most frequent set of seeds, and what varies in them."""
    trials = list(observed.complete if complete is None else complete)
    sets = Counter(tuple(sorted(each.seeds)) for each in trials)
    seeds = max(sets, key=lambda each: (sets[each], len(each)), default=())
    used = [each for each in trials if set(seeds) <= each.seeds.keys()]
    if len(seeds) >= 2:
        values = np.array([[each.seeds[seed] for seed in seeds] for each in used])
    else:
        values = np.array([[each.quality] for each in used])
    factors = []
    for name in choices(observed.record):
        labels = [str(each.params[name]) if name in each.params else ABSENT for each in used]
        found = factor(name, labels)
        if len(found.levels) > 1:
            factors.append(found)
    numbers, covariates = _numbers(used, observed.record)
    return Panel(
        factors=factors,
        numbers=numbers,
        covariates=covariates,
        values=observed.sign * values,
        seeds=seeds,
        left_out=len(trials) - len(used),
    )


def _numbers(used: Sequence[Observation], record: StudyRecord) -> tuple[Matrix, list[str]]:
    columns: list[Matrix] = []
    names = []
    for name in record.search.vary:
        distribution = json_to_distribution(record.space[name])
        if not isinstance(distribution, FloatDistribution | IntDistribution):
            continue
        if not all(name in each.params for each in used):
            continue
        values = np.array([float(each.params[name]) for each in used])
        values = np.log(values) if distribution.log else values
        if (width := float(np.ptp(values))) == 0:
            continue
        scaled = 2 * (values - values.min()) / width - 1
        columns.append(scaled)
        if len(set(values)) > 2:
            columns.append(scaled**2)
        names.append(name)
    return (np.stack(columns, axis=1) if columns else np.zeros((len(used), 0))), names
