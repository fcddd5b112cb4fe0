"""Batches are made many times faster than the smallest training steps read them."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

from eos.cli.recipes import load_run_recipe
from eos.training.evaluation import summed_nats
from eos.training.optimizer import adamw
from eos.training.run import make_task

#: The experiments for two CPU cores whose data need no download: nothing smaller is trained.
SMALL = ["demo", "digits", "digits_generation", "masked", "mqar_small", "moving_digits", "overwriting", "parity"]
SMALL += ["translation", "word_problem"]
#: How often a batch is made while a step is done, at least.
TIMES = 20


@pytest.mark.alone
@pytest.mark.parametrize("experiment", SMALL)
def test_batches_are_made_many_times_faster_than_they_are_read(experiment: str, tmp_path: Path) -> None:
    recipe = load_run_recipe([f"experiment={experiment}"])
    rows = recipe.training.rows
    task = make_task(recipe)
    task.prepare(tmp_path)
    model = task.model(recipe.model)
    optimizer, batch = adamw(model, recipe.training), task.train_batch(1, 0, rows)

    def step(_: int) -> None:
        optimizer.zero_grad()
        (summed_nats(model, batch, "float32") / batch.tokens).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    read, made = seconds(step, rounds=5), seconds(lambda n: task.train_batch(1, n, rows), rounds=20)
    assert read >= TIMES * made, f"{1e3 * made:.2f} ms a batch, {1e3 * read:.1f} ms a step"


def seconds(run: Callable[[int], object], *, rounds: int) -> float:
    """The median processor time of a call, after one to warm up."""
    run(0)
    times = []
    for number in range(1, rounds + 1):
        start = time.process_time()
        run(number)
        times.append(time.process_time() - start)
    return median(times)
