"""Tasks of generated rows: exact rules, statistics of the published generators, pure batches, clear refusals."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from eos import registry
from eos.errors import DataError, RecipeError
from eos.tasks.generated.task import AbstractGeneratedTask, distinct
from eos.tasks.mqar import MqarTask, Segment
from eos.tasks.overwriting import OverwritingTask
from eos.tasks.task import IGNORED, Batch

#: A statistic of so many standard deviations from its expectation is met once in 15,000 runs; seeds are fixed.
DEVIATIONS = 4.0


def mqar(length: int = 64, pairs: int = 4, rows: int = 2000, **chosen: object) -> MqarTask:
    segments = [Segment(length=length, pairs=pairs, rows=rows)]
    return MqarTask(MqarTask.Options(train=segments, validation=segments, test=segments, **chosen))


def overwriting(**chosen: object) -> OverwritingTask:
    return OverwritingTask(OverwritingTask.Options(**chosen))


def places_of(batch: Batch) -> Tensor:
    """Where a row asks [rows, answers]."""
    asked = batch.targets != IGNORED
    return asked.nonzero()[:, 1].view(len(asked), -1)


@pytest.mark.parametrize("filler", ["zeros", "random"])
def test_every_key_is_asked_once_and_its_value_is_the_answer(filler: str) -> None:
    batch = mqar(128, 8, filler=filler).train_batch(1, 0, 500)
    keys, values, places = batch.inputs[:, 0:16:2], batch.inputs[:, 1:16:2], places_of(batch)
    assert places.shape == (500, 8)
    assert ((places >= 16) & (places % 2 == 0)).all()
    assert keys.min() >= 1
    assert keys.max() < 4096 <= values.min()
    for row in (keys, values):
        assert all(len(set(ids.tolist())) == 8 for ids in row)
    asked, answers = batch.inputs.gather(1, places), batch.targets.gather(1, places)
    index = (asked[:, :, None] == keys[:, None]).int().argmax(2)
    torch.testing.assert_close(keys.gather(1, index), asked)
    torch.testing.assert_close(values.gather(1, index), answers)
    assert all(len(set(each.tolist())) == 8 for each in index)
    rest = batch.inputs[:, 16:].masked_fill(batch.targets[:, 16:] != IGNORED, 0)
    assert (rest > 0).any() == (filler == "random")


#: Of the published generator: length, pairs, mean slot, its deviation over rows, chance that slots 0 and 1 are asked.
PUBLISHED = [(64, 4, 7.07, 3.3, 0.732, 0.481), (128, 8, 14.08, 4.5, 0.906, 0.676), (256, 16, 28.15, 6.2, 0.983, 0.873)]


@pytest.mark.parametrize(("length", "pairs", "mean", "spread", "first", "second"), PUBLISHED)
def test_queries_stand_where_the_published_generator_puts_them(
    length: int, pairs: int, mean: float, spread: float, first: float, second: float
) -> None:
    rows = 4000
    slots = (places_of(mqar(length, pairs, rows).train_batch(1, 0, rows)) - 2 * pairs) / 2
    # both sides were measured on thousands of rows
    error = DEVIATIONS * math.sqrt(2 / rows)
    assert abs(slots.mean().item() - mean) <= error * spread
    for slot, share in enumerate((first, second)):
        got = (slots == slot).any(1).float().mean().item()
        assert abs(got - share) <= error * math.sqrt(share * (1 - share))


def test_keys_listed_first_are_asked_sooner() -> None:
    """As drawn one after another: 11.35 on average for the first of eight keys, 16.98 for the last."""
    batch = mqar(128, 8, 4000).train_batch(3, 0, 4000)
    places = places_of(batch)
    index = (batch.inputs.gather(1, places)[:, :, None] == batch.inputs[:, None, 0:16:2]).int().argmax(2)
    slots = torch.zeros(4000, 8).scatter(1, index, ((places - 16) / 2).float()).mean(0)
    want = torch.tensor([11.35, 11.94, 13.09, 12.99, 15.01, 15.43, 16.08, 16.98])
    assert (slots - want).abs().max() <= DEVIATIONS * 14 * math.sqrt(1 / 4000 + 1 / 3000)


@pytest.mark.parametrize("interleaved", [True, False])
def test_the_later_of_two_values_is_asked(interleaved: bool) -> None:
    batch = overwriting(interleaved=interleaved).train_batch(1, 0, 300)
    apart = 0
    for row, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        memory: dict[int, list[int]] = {}
        for key, value in zip(row[0:32:2], row[1:32:2], strict=True):
            memory.setdefault(key, []).append(value)
        assert all(len(values) == 2 for values in memory.values())
        assert len({value for values in memory.values() for value in values}) == 16
        assert targets[:32] == [IGNORED] * 32
        assert targets[32:] == [memory[key][1] for key in row[32:]]
        assert sorted(row[32:]) == sorted(memory)
        apart += len(set(row[0:16:2])) == 8
    assert (apart == 300) == (not interleaved)


def test_distinct_numbers_are_distinct_and_uniform_in_every_place() -> None:
    generator = np.random.default_rng(0)
    found = distinct(generator, 6000, 3, 10, 16)
    assert all(len(set(row)) == 3 for row in found.tolist())
    for place in range(3):
        counts = np.bincount(found[:, place] - 10, minlength=6)
        assert np.abs(counts - 1000).max() <= DEVIATIONS * math.sqrt(6000 * 5 / 36)
    assert sorted(distinct(generator, 1, 6, 10, 16)[0].tolist()) == list(range(10, 16))


TASKS: dict[str, Callable[[], AbstractGeneratedTask]] = {"mqar": mqar, "overwriting": overwriting}


@pytest.mark.parametrize("name", TASKS)
def test_a_batch_is_a_function_of_seed_and_step(name: str) -> None:
    once, again = TASKS[name](), TASKS[name]()
    left, right = once.train_batch(5, 7, 16), again.train_batch(5, 7, 16)
    assert torch.equal(left.inputs, right.inputs)
    assert torch.equal(left.targets, right.targets)
    for other in (once.train_batch(5, 8, 16), once.train_batch(6, 7, 16), next(once.evaluation_batches("test", 16))):
        assert not torch.equal(left.inputs, other.inputs)


@pytest.mark.parametrize("name", TASKS)
def test_held_out_rows_do_not_depend_on_the_rows_of_a_batch(name: str) -> None:
    wide, narrow = (
        torch.cat([batch.inputs for batch in TASKS[name]().evaluation_batches("test", rows)]) for rows in (300, 7)
    )
    assert torch.equal(wide, narrow)
    assert len(wide) in (2000, 2048)


def test_segments_follow_one_another_and_the_epoch_repeats() -> None:
    train = [Segment(length=16, pairs=2, rows=70), Segment(length=32, pairs=4, rows=40)]
    task = MqarTask(MqarTask.Options(train=train, validation=train, test=train, vocabulary=64))
    lengths = [task.train_batch(1, step, 32).inputs.shape[1] for step in range(6)]
    assert lengths == [16, 16, 32, 16, 16, 32]
    assert torch.equal(task.train_batch(1, 1, 32).inputs, task.train_batch(1, 4, 32).inputs)
    assert not torch.equal(task.train_batch(1, 0, 32).inputs, task.train_batch(1, 1, 32).inputs)
    held = list(task.evaluation_batches("test", 50))
    assert [batch.inputs.shape for batch in held] == [(50, 16), (20, 16), (40, 32)]
    with pytest.raises(RecipeError, match="no segment fills a batch of 71 rows, the largest has 70"):
        task.train_batch(1, 0, 71)


def test_accuracy_is_the_mean_over_rows() -> None:
    task = mqar(32, 4, 10, vocabulary=64)
    batch = task.train_batch(1, 0, 2)
    right = one_hot(batch.targets.clamp(min=0), 64).float()
    assert task.metrics(0.0, task.count(batch) + task.grade(batch, right.argmax(-1)))["accuracy"] == 1.0
    one_wrong = right.clone()
    one_wrong[0, places_of(batch)[0, 0]] *= -1
    counts = task.count(batch) + task.grade(batch, one_wrong.argmax(-1))
    assert task.metrics(8.0, counts) == {"accuracy": (0.75 + 1.0) / 2, "nats_per_answer": 1.0}
    assert set(task.metrics(8.0, task.count(batch))) == {"nats_per_answer"}


def test_a_model_of_other_tokens_is_refused(tmp_path: Path) -> None:
    mqar().prepare(tmp_path)
    mqar(128, 8).prepare_other(tmp_path)
    with pytest.raises(DataError, match="built for vocabulary = 8192, and this task has 64"):
        overwriting().prepare_other(tmp_path)
    with pytest.raises(DataError, match="holds no run on a task of this kind"):
        overwriting().prepare_other(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: mqar(63, 4), "task.train: 4 pairs need an even length of at least 16 tokens, got 63"),
        (lambda: mqar(64, 17), "17 pairs need an even length of at least 68 tokens, got 64"),
        (lambda: mqar(64, 4, vocabulary=64), "the vocabulary must be larger than a row of 64 tokens, got 64"),
        (lambda: mqar(16, 4, vocabulary=8), "4 distinct keys need an even vocabulary of at least 10, got 8"),
        (lambda: overwriting(pairs=17), "task.pairs = 17 need 34 distinct values"),
    ],
)
def test_impossible_rows_are_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        make()


def test_prompts_are_ids() -> None:
    task = overwriting()
    assert task.encode("3 63") == [3, 63]
    assert task.decode([3, 63]) == " 3 63"
    for wrong in ("", "3 x", "64"):
        with pytest.raises(DataError):
            task.encode(wrong)


def test_recipes_of_tasks_name_tasks_that_are_there() -> None:
    assert {"mqar", "overwriting", "text"} <= set(registry.tasks())
    assert {"mqar", "mqar_mixture", "mqar_small", "overwriting"} <= set(registry.recipes("task"))
