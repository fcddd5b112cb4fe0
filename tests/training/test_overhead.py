"""What the trainer costs beside the training itself."""

import time
from pathlib import Path
from statistics import median

import pytest
import torch
from torch import nn

from eos.compose import build
from eos.tasks.task import AbstractTask
from eos.training.evaluation import summed_nats
from eos.training.fit import fit
from eos.training.folder import RunFolder
from eos.training.module import TrainingModule
from eos.training.optimizer import adamw
from eos.training.report import SilentReport
from eos.training.run import Recipe, make_task
from eos.training.stopping import StopRequest
from tests.training.conftest import Describe

STEPS = 20
# Of the bare loop's processor time.
ALLOWED = 1.05


def bare_loop(recipe: Recipe, task: AbstractTask) -> None:
    model = build(recipe.model, vocabulary=task.vocabulary)
    optimizer = adamw(model, recipe.training)
    for step in range(STEPS):
        batch = task.train_batch(1, step, recipe.training.rows)
        optimizer.zero_grad(set_to_none=True)
        (summed_nats(model, batch, "float32") / batch.targets.numel()).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def trainer(recipe: Recipe, task: AbstractTask, path: Path) -> None:
    module = TrainingModule(build(recipe.model, vocabulary=task.vocabulary), recipe.training, steps=STEPS)
    RunFolder(path).create()
    with StopRequest() as stop:
        fit(module, task, folder=RunFolder(path), device=torch.device("cpu"), stop=stop, report=SilentReport())


@pytest.mark.alone
def test_trainer_adds_less_than_a_twentieth_to_a_bare_loop(describe: Describe, tmp_path: Path) -> None:
    recipe = describe(
        *("layers=5", "width=128", "length=256", "rows=8", f"steps={STEPS}"),
        *("log_every=10", "validate_every=null", "checkpoint_every=1000"),
    )
    task = make_task(recipe)
    task.prepare(tmp_path)
    bare_loop(recipe, task)
    trainer(recipe, task, tmp_path / "warm")
    ratios = []
    for number in range(5):
        start = time.process_time()
        bare_loop(recipe, task)
        between = time.process_time()
        trainer(recipe, task, tmp_path / str(number))
        ratios.append((time.process_time() - between) / (between - start))
    assert median(ratios) < ALLOWED, ratios
