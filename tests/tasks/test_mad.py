"""The tasks of MAD: exact rules, statistics of the published generator, accuracy by class, clear refusals."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torchmetrics.classification import MulticlassAccuracy

from eos import registry
from eos.errors import DataError, RecipeError
from eos.tasks.compression import CompressionTask
from eos.tasks.fuzzy_recall import FuzzyRecallTask
from eos.tasks.in_context_recall import InContextRecallTask
from eos.tasks.mad.grading import class_tally, macro_accuracy
from eos.tasks.mad.task import AbstractMadTask
from eos.tasks.memorization import MemorizationTask
from eos.tasks.selective_copying import SelectiveCopyingTask
from eos.tasks.task import IGNORED, Batch, Counts

#: A statistic of so many standard deviations from its expectation is met once in 15,000 runs; seeds are fixed.
DEVIATIONS = 4.0
#: Rows of the published generator that its statistics were measured on: a test part.
MEASURED = 1280


def recall(**chosen: object) -> InContextRecallTask:
    return InContextRecallTask(InContextRecallTask.Options(**chosen))


def noisy(**chosen: object) -> InContextRecallTask:
    return recall(**{"vocabulary": 32, "noise": 0.2, "noise_ids": 16, **chosen})


def fuzzy(**chosen: object) -> FuzzyRecallTask:
    return FuzzyRecallTask(FuzzyRecallTask.Options(**chosen))


def memorization(**chosen: object) -> MemorizationTask:
    return MemorizationTask(MemorizationTask.Options(**chosen))


def compression(**chosen: object) -> CompressionTask:
    return CompressionTask(CompressionTask.Options(**chosen))


def copying(**chosen: object) -> SelectiveCopyingTask:
    return SelectiveCopyingTask(SelectiveCopyingTask.Options(**chosen))


TASKS: dict[str, Callable[..., AbstractMadTask]] = {
    "recall": recall,
    "noisy": noisy,
    "fuzzy": fuzzy,
    "memorization": memorization,
    "compression": compression,
    "copying": copying,
}


def drawn(task: AbstractMadTask, part: str, rows: int = 256) -> Batch:
    return task.train_batch(3, 0, rows) if part == "train" else next(task.evaluation_batches("test", rows))


def held_out(task: AbstractMadTask) -> Batch:
    batches = list(task.evaluation_batches("test", 256))
    inputs, targets = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("inputs", "targets"))
    return Batch(inputs=inputs, targets=targets)


def whole(batch: Batch, row: int, last: int) -> list[int]:
    """A row before inputs and targets were set apart; its last token is asked for in every part."""
    assert batch.targets[row, -1] == last
    return [*batch.inputs[row].tolist(), last]


def close(values: Tensor, mean: float, *, also: int = MEASURED) -> bool:
    """Whether a mean over independent rows is that of ``also`` rows of the published generator, or an expectation."""
    values = values.double()
    error = values.std() * math.sqrt(1 / len(values) + (1 / also if also else 0))
    return bool((values.mean() - mean).abs() <= DEVIATIONS * error)


def targets_a_row(batch: Batch) -> Tensor:
    return (batch.targets != IGNORED).sum(1)


# In-context recall


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("multi_query", [True, False])
@pytest.mark.parametrize("noise", [0.0, 0.6])
def test_a_value_is_asked_where_its_key_comes_back(part: str, multi_query: bool, noise: float) -> None:
    ids = 12 if noise else 0
    task = recall(vocabulary=25 + ids, length=40, noise=noise, noise_ids=ids, multi_query=multi_query)
    keys, most = (12, 25) if multi_query else (12, 24)
    batch = drawn(task, part)
    assert batch.inputs.shape == (256, 39 if multi_query else 40)
    for row in range(256):
        tokens = whole(batch, row, int(batch.targets[row, -1]))
        wanted = [IGNORED] * len(tokens)
        if not multi_query:
            assert tokens.pop(-3) == task.vocabulary - 1
        values: dict[int, int] = {}
        for place in range(0, 40, 2):
            key, value = tokens[place : place + 2]
            if key >= keys:
                assert noise
                assert place < 38
                assert most <= min(key, value)
                assert max(key, value) < most + ids
                continue
            assert keys <= value < most
            if key in values:
                assert value == values[key]
                if multi_query:
                    wanted[place + 1] = value
            values[key] = value
        # the last key has been shown
        assert tokens[38] in tokens[0:38:2]
        if not multi_query:
            wanted[-1] = tokens[-1]
        asked = batch.targets[row].tolist()
        if part == "test":
            assert asked == wanted[1:]
        else:
            assert asked[:-1] == batch.inputs[row, 1:].tolist()
    assert targets_a_row(batch).eq(1).all() == (part == "test" and not multi_query)


def test_recall_has_the_published_statistics() -> None:
    batch = held_out(recall())
    assert batch.inputs.shape == (1280, 127)
    assert close(targets_a_row(batch), 56.0)
    for ids, places in ((range(8), batch.inputs[:, 0:126:2]), (range(8, 16), batch.inputs[:, 1:2])):
        counts = torch.bincount(places.flatten(), minlength=ids.stop)[ids.start :].double()
        share = counts / counts.sum() - 1 / 8
        assert (share.abs() <= DEVIATIONS * math.sqrt(7 / 64 / places.numel())).all()


def test_noisy_recall_has_the_published_statistics() -> None:
    batch = held_out(noisy())
    assert close((batch.inputs >= 16).double().sum(1) / 128, 0.195)
    targets = targets_a_row(batch)
    assert close(targets, 43.6)
    # 32 … 54 were measured; a tail goes on
    assert targets.min() >= 28
    assert targets.max() <= 57
    # the one pair that is never noise is any: each is noise alike
    shares = (batch.inputs[:, 0:126:2] >= 16).double().mean(0)
    want = 0.2 * 62 / 63
    assert ((shares - want).abs() <= DEVIATIONS * math.sqrt(want * (1 - want) / 1280)).all()
    assert (held_out(noisy(noise=0.99)).inputs[:, 0:126:2] < 8).any(1).all()


# Fuzzy recall


def pairs_of(tokens: Sequence[int], keys: int, values: int) -> list[tuple[tuple[int, ...], tuple[int, ...], int]]:
    """Keys, values and the place of the values, in a row whose padding stands in front."""
    found, place = [], 0
    while place < len(tokens) and tokens[place] == keys + values:
        place += 1
    while place < len(tokens):
        start = place
        while tokens[place] < keys:
            place += 1
        middle = place
        while place < len(tokens) and tokens[place] >= keys:
            place += 1
        found.append((tuple(tokens[start:middle]), tuple(tokens[middle:place]), middle))
    return found


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("motifs", [(3, 3), (2, 1), (1, 4)])
def test_a_value_of_several_ids_is_asked_where_its_key_comes_back(part: str, motifs: tuple[int, int]) -> None:
    task = fuzzy(vocabulary=10, length=61, key_motif=motifs[0], value_motif=motifs[1])
    batch = drawn(task, part)
    assert batch.inputs.shape == (256, 61)
    sizes: Counter[tuple[int, int]] = Counter()
    unanswered = 0
    for row in range(256):
        tokens = whole(batch, row, int(batch.targets[row, -1]))
        assert 9 not in tokens[tokens.count(9) :]
        pairs = pairs_of(tokens, 4, 5)
        wanted = [IGNORED] * 62
        known: dict[tuple[int, ...], tuple[int, ...]] = {}
        for index, (key, value, place) in enumerate(pairs):
            assert len(set(key)) == len(key)
            assert len(set(value)) == len(value)
            if index == len(pairs) - 1:
                unanswered += key not in known
            if key in known or index == len(pairs) - 1:
                assert known.get(key, value) == value
                wanted[place : place + len(value)] = value
            known[key] = value
            sizes[len(key), len(value)] += 1
        assert sum(sum(map(len, pair[:2])) for pair in pairs) + tokens.count(9) == 62
        expected = tokens if part == "train" else wanted
        assert batch.targets[row].tolist() == expected[1:]
    least = 1 if part == "train" else motifs[0]
    assert {key for key, _ in sizes} == set(range(least, motifs[0] + 1))
    assert {value for _, value in sizes} == set(range(1, motifs[1] + 1))
    assert unanswered < 256 * 0.1


def test_fuzzy_recall_has_the_published_statistics() -> None:
    batch = held_out(fuzzy())
    pads, targets = (batch.inputs == 15).sum(1), targets_a_row(batch)
    assert close(pads, 4.95)
    assert pads.max() == 7
    assert close(targets, 4.42)
    assert targets.min() == 1
    assert targets.max() <= 20  # 15 was measured; a tail goes on


def test_fuzzy_rows_are_drawn_like_those_of_a_loop() -> None:
    """Pair by pair, as the definition goes, in training, where lengths differ most."""
    generator = np.random.default_rng(1)
    loops = torch.tensor([_loop(generator) for _ in range(2000)]).double()
    batch = fuzzy().train_batch(1, 0, 2000)
    rows = [pairs_of(whole(batch, row, int(batch.targets[row, -1])), 7, 8) for row in range(2000)]
    drawn = torch.tensor([_statistics([pair[:2] for pair in row]) for row in rows]).double()
    error = (loops.var(0) / 2000 + drawn.var(0) / 2000).sqrt()
    assert ((loops.mean(0) - drawn.mean(0)).abs() <= DEVIATIONS * error).all()


Pair = tuple[tuple[int, ...], tuple[int, ...]]


def _loop(generator: np.random.Generator) -> list[float]:
    def motif(low: int, ids: int) -> tuple[int, ...]:
        return tuple((low + generator.permutation(ids)[: generator.integers(1, 4)]).tolist())

    probe = (motif(0, 7), motif(7, 8))
    length = sum(map(len, probe))
    place = int(generator.integers(128 - 2 * length))
    pairs: list[Pair] = []
    known: dict[tuple[int, ...], tuple[int, ...]] = {}
    while (now := sum(len(k) + len(v) for k, v in pairs)) < 128 - length - 6:
        key, value = motif(0, 7), motif(7, 8)
        if now >= place and probe[0] not in known:
            key, value = probe
        elif key == probe[0]:
            value = probe[1]
        known.setdefault(key, value)
        pairs.append((key, known[key]))
    return _statistics([*pairs, probe])


def _statistics(pairs: Sequence[Pair]) -> list[float]:
    """How many tokens and pairs; sizes of the last; how often and where its key stood; how many keys came back."""
    starts = np.cumsum([0, *(len(k) + len(v) for k, v in pairs)])
    places = [float(start) for start, pair in zip(starts, pairs[:-1], strict=False) if pair[0] == pairs[-1][0]]
    again = len(pairs) - len({key for key, _ in pairs})
    first = places[0] if places else 128.0
    lengths = (float(len(pairs[-1][0])), float(len(pairs[-1][1])))
    return [float(starts[-1]), float(len(pairs)), *lengths, float(len(places)), first, float(again)]


# Memorisation, compression, selective copying


def test_memorised_pairs_are_the_published_ones_in_every_part_and_run() -> None:
    generator = np.random.default_rng(12345)
    keys, values = list(permutations(range(127), 1)), list(permutations(range(127, 255), 1))
    generator.shuffle(keys)
    generator.shuffle(values)
    known = {key: value for (key,), (value,) in zip(keys, values, strict=False)}
    assert len(known) == len(set(known.values())) == 127
    task = memorization()
    for batch in (task.train_batch(1, 0, 256), task.train_batch(2, 0, 128), held_out(task)):
        assert batch.inputs.shape[1] == 32
        assert (batch.inputs[:, 1::2] == 255).all()
        assert (batch.targets[:, 0::2] == IGNORED).all()
        assert batch.targets[:, 1::2].flatten().tolist() == [
            known[key] for key in batch.inputs[:, 0::2].flatten().tolist()
        ]
    counts = torch.bincount(held_out(task).inputs[:, 0::2].flatten(), minlength=127).double()
    want = 1280 * 16 / 127
    assert ((counts - want).abs() <= DEVIATIONS * math.sqrt(want)).all()


def test_the_epoch_of_few_rows_comes_again_in_another_order() -> None:
    """Batches of 60 of 150 rows: the third holds the end of one epoch and the start of the next."""
    task = recall(epoch=150)
    rows = torch.cat([task.train_batch(1, step, 60).inputs for step in range(5)])
    first, second = (sorted(map(tuple, part.tolist())) for part in (rows[:150], rows[150:]))
    assert first == second
    assert not torch.equal(rows[:150], rows[150:])


def test_what_is_compressed_is_asked_again() -> None:
    batch = held_out(compression(vocabulary=9, length=17))
    assert torch.equal(batch.inputs, batch.targets)
    assert (batch.inputs[:, -1] == 8).all()
    counts = torch.bincount(batch.inputs[:, :-1].flatten(), minlength=9).double()
    assert counts[8] == 0
    want = 1280 * 16 / 8
    assert ((counts[:8] - want).abs() <= DEVIATIONS * math.sqrt(want)).all()


def test_data_are_copied_in_their_order() -> None:
    batch = held_out(copying())
    assert batch.inputs.shape == (1280, 256)
    data = batch.inputs < 14
    assert (data.sum(1) == 16).all()
    assert (batch.inputs[:, 239] == 15).all()
    assert (batch.inputs[:, 240:] == 14).all()
    assert data[:, 238].all()
    assert torch.equal(batch.targets[:, 240:], batch.inputs[data].view(1280, 16))
    assert (batch.targets[:, :240] == IGNORED).all()


def test_selective_copying_has_the_published_statistics() -> None:
    places = (held_out(copying()).inputs < 14).nonzero()[:, 1].view(1280, 16).double()
    assert close(places[:, 0], 13.97)
    assert close(places.mean(1), 126.04)
    # each of 223 blanks stands before a datum drawn uniformly
    for index in range(16):
        assert close(places[:, index], index + 223 * (index + 1) / 16, also=0) or index == 15


# What all of them share


@pytest.mark.parametrize("name", TASKS)
def test_a_batch_is_a_function_of_seed_and_step(name: str) -> None:
    once, again = TASKS[name](), TASKS[name]()
    left, right = once.train_batch(5, 1, 16), again.train_batch(5, 1, 16)
    assert torch.equal(left.inputs, right.inputs)
    assert torch.equal(left.targets, right.targets)
    for other in (once.train_batch(5, 2, 16), once.train_batch(6, 1, 16), drawn(once, "test", 16)):
        assert not torch.equal(left.inputs, other.inputs)


@pytest.mark.parametrize("name", TASKS)
def test_held_out_rows_do_not_depend_on_the_rows_of_a_batch(name: str) -> None:
    wide, narrow = (
        torch.cat([batch.inputs for batch in TASKS[name](held_out=300).evaluation_batches("validation", rows)])
        for rows in (300, 7)
    )
    assert torch.equal(wide, narrow)
    assert wide.shape == (300, TASKS[name]().length)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ids", [7, 40])
def test_accuracy_by_class_is_that_of_torchmetrics(ids: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    # some ids are never asked for, of these some are chosen, and some are neither
    targets = torch.randint(2, 2 + ids // 2, (6, 9), generator=generator)
    targets[torch.rand(6, 9, generator=generator) < 0.3] = IGNORED
    logits = torch.randn(6, 9, ids, generator=generator)
    logits += 2 * one_hot(targets.clamp(min=0), ids)
    logits[..., ids - 2 :] -= 100
    batches = [Batch(inputs=targets[rows], targets=targets[rows]) for rows in (slice(0, 4), slice(4, 6))]
    chosen = logits.argmax(-1)
    counts = class_tally(batches[0], chosen[:4]) + class_tally(batches[1], chosen[4:])
    metric = MulticlassAccuracy(num_classes=ids, ignore_index=IGNORED)
    want = metric(chosen.flatten(), targets.flatten())
    assert macro_accuracy(counts.groups) == pytest.approx(float(want), abs=1e-6)
    assert 0 < float(want) < 1


@pytest.mark.parametrize("name", TASKS)
def test_metrics_are_of_classes_and_of_rows(name: str) -> None:
    task = TASKS[name](held_out=40)
    batch = held_out(task)
    right = one_hot(batch.targets.clamp(min=0), task.vocabulary).float()
    found = task.metrics(10.0, task.count(batch) + task.grade(batch, right.argmax(-1)))
    assert set(found) == {"macro_accuracy", "accuracy", "nats_per_answer"}
    assert (found["macro_accuracy"], found["accuracy"]) == (1.0, 1.0)
    assert found["nats_per_answer"] == pytest.approx(10.0 / targets_a_row(batch).sum().item())
    assert set(task.metrics(10.0, Counts(targets=5))) == {"nats_per_answer"}
    wrong = task.metrics(0.0, task.grade(batch, right.argmin(-1)))
    assert wrong["macro_accuracy"] == wrong["accuracy"] == 0.0


@pytest.mark.parametrize("name", TASKS)
def test_chance_and_floor_are_what_they_say(name: str) -> None:
    """Ids drawn uniformly, and the trivial method, on 1,280 rows: to a fifth of the figure."""
    task = TASKS[name]()
    batch, standard = held_out(task), task.standard
    generator = torch.Generator().manual_seed(0)
    random = torch.rand((*batch.targets.shape, task.vocabulary), generator=generator)
    trivial = torch.zeros((*batch.targets.shape, task.vocabulary))
    match name:
        case "recall" | "noisy":
            trivial.scatter_(2, _of_some_key(batch)[..., None], 1.0)
        case "compression":
            trivial[:, :-1, 3] = trivial[:, -1, 15] = 1.0
        case _:
            trivial[..., int(batch.targets[batch.targets != IGNORED].min())] = 1.0
    for logits, want in ((random, standard.chance), (trivial, standard.floor)):
        got = task.metrics(0.0, task.grade(batch, logits.argmax(-1)))["macro_accuracy"]
        assert got == pytest.approx(want, rel=0.2)
    assert 0 < standard.chance <= standard.floor < 1


def _of_some_key(batch: Batch) -> Tensor:
    """At each position the value of one of the row's 8 keys, drawn uniformly."""
    pairs = batch.inputs[:, :126].view(-1, 63, 2)
    keys, values = pairs[..., 0].clamp(max=8), pairs[..., 1]
    known = torch.full((len(keys), 9), 8).scatter(1, keys, values)
    generator = torch.Generator().manual_seed(1)
    return known.gather(1, torch.randint(8, batch.targets.shape, generator=generator))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: recall(length=127), "task.length must be even, a key and a value each, got 127"),
        (lambda: recall(noise=0.2), "task.noise = 0.2 needs task.noise_ids of at least 1, got 0"),
        (lambda: noisy(vocabulary=17), "must leave a key and a value: at least 18, got 17"),
        (lambda: recall(vocabulary=2, multi_query=False), "must leave a key and a value: at least 3, got 2"),
        (lambda: fuzzy(length=12), "task.length must be above 12, twice a key of 3 and a value of 3 ids, got 12"),
        (lambda: fuzzy(vocabulary=6), "task.vocabulary must be at least 7, for keys of 3 and values of 3"),
        (lambda: memorization(length=33), "task.length must be even, a key and a place for its value each, got 33"),
        (lambda: copying(length=33), "task.copied = 16 needs a task.length of at least 34, got 33"),
    ],
)
def test_impossible_rows_are_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        make()


def test_the_smallest_rows_can_be_drawn() -> None:
    for task in (
        recall(vocabulary=2, length=4, epoch=9),
        recall(vocabulary=3, length=4, multi_query=False, epoch=9),
        noisy(vocabulary=18, length=4, noise=0.99, epoch=9),
        fuzzy(vocabulary=3, length=5, key_motif=1, value_motif=1, epoch=9),
        fuzzy(vocabulary=7, length=13, epoch=9),
        memorization(vocabulary=3, length=2, epoch=9),
        compression(vocabulary=2, length=2, epoch=9),
        copying(vocabulary=3, length=4, copied=1, epoch=9),
    ):
        for part in ("train", "test"):
            batch = drawn(task, part, 9)
            assert batch.inputs.shape == batch.targets.shape == (9, task.length)
            assert ((batch.inputs >= 0) & (batch.inputs < task.vocabulary)).all()
            assert (targets_a_row(batch) >= 1).all()


def test_what_is_compressed_is_not_written_on(tmp_path: Path) -> None:
    recall().restore(tmp_path)
    with pytest.raises(DataError, match="writes nothing"):
        compression().restore(tmp_path)


def test_a_model_of_other_tokens_is_refused(tmp_path: Path) -> None:
    recall().prepare(tmp_path)
    recall(length=256).prepare_other(tmp_path)
    with pytest.raises(DataError, match="built for vocabulary = 16, and this task has 32"):
        noisy().prepare_other(tmp_path)


def test_there_is_a_recipe_for_each() -> None:
    names = "in_context_recall noisy_recall fuzzy_recall memorization compression selective_copying".split()
    assert {f"mad_{name}" for name in names} <= set(registry.recipes("task"))
    found = registry.tasks()
    for name in set(names) - {"noisy_recall"}:
        assert issubclass(found[name].load(), AbstractMadTask)
        assert all((found[name].equation, found[name].metric, found[name].chance, found[name].floor))
