"""A worker: claims trials of a study, trains their candidates, and tells what came of them, until none is left."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from eos.errors import DataError, RecipeError, RunError
from eos.tasks.task import AbstractTask
from eos.training.fit import budget_in_steps
from eos.training.run import make_task
from eos.training.stopping import StopRequest
from search.liveness import BEAT, GRACE, Heartbeat, Watcher, worker_name
from search.objective import Outcome, evaluate, forget_weights
from search.sampler import Sampled, make_sampler
from search.space import Candidate, Space
from search.storage import StudyError
from search.study import CHOICES, REASON, RETRY_OF, RUNS, SECONDS, Study, make_pruner, plugins_named

#: Seconds between two looks for trials that wait, where others may free some.
PAUSE = 1.0

#: What a stage of one's own may raise: the candidate has failed, and the search goes on.
FAULTS = (ArithmeticError, AttributeError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)

Objective = Callable[[Candidate, Trial, Path], Outcome]


@dataclass(frozen=True, kw_only=True)
class Worked:
    """What a worker did.

    Arguments:
        trials: how many it ended.
        signal: the number of the signal that stopped it, or None.
    """

    trials: int
    signal: int | None


class Trainer:
    """The objective of a study: trains candidates in this process, which reuses imports and data.

    Arguments:
        study: says what is sought.
        task: of the base, prepared.
        folder: where the runs of all trials go.
    """

    def __init__(self, study: Study, task: AbstractTask, folder: Path) -> None:
        self.record = study.record
        self.task = task
        self.folder = folder
        training = study.record.base.training
        steps = budget_in_steps(task, study.record.base.model, training)
        if study.record.search.pruner != "none" and (steps is None or training.validate_every is None):
            raise RecipeError(
                f"pruner={study.record.search.pruner} looks at validations of a known number of steps: set "
                "training.validate_every, and training.steps or training.tokens"
            )
        study.optuna.pruner = make_pruner(study.record.search, first=training.validate_every or 1, steps=steps or 1)

    def __call__(self, candidate: Candidate, trial: Trial, folder: Path) -> Outcome:
        """Train a candidate, or go on with it."""
        single = len(self.record.search.objectives) == 1

        def report(step: int, value: float) -> bool:
            if not single:
                return False
            trial.report(value, step)
            return trial.should_prune()

        outcome = evaluate(candidate.recipe, self.record.search, self.record.quality, self.task, folder, report=report)
        if outcome.status != "stopped" and self.record.search.keep == "results":
            forget_weights(folder)
        return outcome


def prepared(study: Study, folder: Path) -> tuple[Space, AbstractTask]:
    """The space of a study and its task, ready.

    Raises:
        RecipeError: the stages or options of this installation are not those that the study was begun with.
        DataError: the data cannot be used.
    """
    record = study.record
    task = make_task(record.base)
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    task.prepare(data)
    with plugins_named(record.plugins, study.name):
        space = Space(record.search, record.base, task=task)
        if space.description != record.space:
            raise RecipeError(
                f"the stages here are not those that study {study.name} was begun with: its space has changed; begin "
                f"another study, with from={study.name} to carry over what is still valid"
            )
    return space, task


def work(
    study: Study,
    space: Space,
    objective: Objective,
    *,
    folder: Path,
    until: float | None = None,
    beat: float = BEAT,
    grace: float = GRACE,
    each: Callable[[int, str], None] = lambda number, status: None,
) -> Worked:
    """Run trials until none waits and none of others may come back.

    Arguments:
        objective: what a candidate is worth.
        folder: where runs go.
        until: no trial begins after this time of the monotonic clock; None: no limit.
        beat, grace: as :class:`~search.liveness.Heartbeat` and :class:`~search.liveness.Watcher` have them.
        each: told the number of a trial, when it begins ("running") and when it ends.

    Raises:
        DataError: the data cannot be used, by any candidate.
        RunError, StudyError: the disk is full, that of the runs or that of the storage. The trial then waits for who
            goes on with it, or is lost like that of a killed worker.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name, done = worker_name(), 0
    watcher = Watcher(study, grace=grace)
    with StopRequest() as stop, Heartbeat(study, name, every=beat) as heart:
        while stop.signal is None and (until is None or time.monotonic() < until):
            watcher.rescue()
            trial = study.claim()
            if trial is None:
                if not any(other.state == TrialState.RUNNING for other in study.trials):
                    break
                time.sleep(min(PAUSE, beat))
                continue
            heart.runs(trial.number)
            each(trial.number, "running")
            began = time.monotonic()
            try:
                outcome = _attempt(study, space, objective, trial, folder / f"{trial.number:04d}")
            except FAULTS as error:
                if isinstance(error, DataError | RunError | StudyError):
                    study.release(trial)
                    raise
                outcome = Outcome(status="failed", reason=f"{type(error).__name__}: {error}")
            except BaseException:
                study.release(trial)
                raise
            _tell(study, trial, outcome, seconds=time.monotonic() - began)
            heart.runs(None)
            each(trial.number, outcome.status)
            if outcome.status == "stopped":
                return Worked(trials=done, signal=outcome.signal)
            done += 1
        return Worked(trials=done, signal=stop.signal)


def _attempt(study: Study, space: Space, objective: Objective, trial: Trial, folder: Path) -> Outcome:
    sampler = make_sampler(study.record.search, trial.number)
    study.optuna.sampler = sampler
    retried = trial.user_attrs.get(RETRY_OF)
    if retried is not None:
        # What the lost worker had saved is gone on with.
        folder = folder.with_name(f"{retried:04d}")
    try:
        candidate = space.compose(Sampled(trial, sampler))
        trial.set_user_attr(CHOICES, candidate.shown)
    except RecipeError as error:
        return Outcome(status="failed", reason=str(error))
    return objective(candidate, trial, folder)


def _tell(study: Study, trial: Trial, outcome: Outcome, *, seconds: float) -> None:
    if outcome.status == "stopped":
        study.release(trial)
        return
    before = float(trial.user_attrs.get(SECONDS, 0.0))
    attributes: dict[str, Any] = {RUNS: outcome.runs, SECONDS: round(before + seconds, 3)}
    if outcome.reason:
        attributes[REASON] = outcome.reason
    for key, value in attributes.items():
        trial.set_user_attr(key, value)
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    values = outcome.values if outcome.status == "complete" else None
    study.optuna.tell(trial, values, state=states[outcome.status], skip_if_finished=True)
