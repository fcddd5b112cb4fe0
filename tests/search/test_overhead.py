"""What a trial takes beside its training."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from eos.tasks.task import AbstractTask
from search.space import Space
from search.study import RUNS, Study
from search.worker import Trainer, work

TRIALS = 12


@pytest.mark.alone
@pytest.mark.usefixtures("untyped")
def test_a_trial_takes_at_most_half_a_second_beside_its_training(
    space_of: Callable[..., Space], study_of: Callable[..., Study], task: AbstractTask, tmp_path: Path
) -> None:
    space = space_of(options="choices")
    study = study_of(space, trials=2)
    trainer = Trainer(study, task, tmp_path)
    work(study, space, trainer, folder=tmp_path / "trials")
    study.ask_for(2 + TRIALS)
    began = time.perf_counter()
    work(study, space, trainer, folder=tmp_path / "trials")
    elapsed = time.perf_counter() - began
    trained = sum(run["training_seconds"] for trial in study.trials[2:] for run in trial.user_attrs[RUNS])
    beside = (elapsed - trained) / TRIALS
    print(f"\n{beside:.2f} s a trial beside its training")  # noqa: T201
    assert beside <= 0.5
