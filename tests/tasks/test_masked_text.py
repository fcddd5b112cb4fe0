"""Masked text: the shares of BERT, pure batches, masks that no run changes, and a model that sees both sides."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from eos.compose import load_model_recipe
from eos.errors import DataError, RecipeError
from eos.models import MaskedModel
from eos.tasks.masked_text import MaskedTextTask
from eos.tasks.task import IGNORED, Batch

#: A statistic of so many standard deviations from its expectation is met once in 15,000 runs; seeds are fixed.
DEVIATIONS = 4.0
LETTERS = "abcdefghij"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("".join(np.random.default_rng(0).choice(list(LETTERS), 40_000)))
    return path


def made(text: Path, *, run: str = "run", **chosen: object) -> MaskedTextTask:
    options = {"source": str(text), "cache": str(text.parent / "cache"), "length": 40, **chosen}
    task = MaskedTextTask(MaskedTextTask.Options(**options))
    (text.parent / run).mkdir(exist_ok=True)
    task.prepare(text.parent / run)
    return task


def held_out(task: MaskedTextTask, rows: int = 50, split: str = "test") -> Batch:
    batches = list(task.evaluation_batches(split, rows))
    return Batch(
        inputs=torch.cat([batch.inputs for batch in batches]), targets=torch.cat([batch.targets for batch in batches])
    )


def share(found: Tensor) -> float:
    return found.double().mean().item()


def test_the_shares_are_those_of_bert(text: Path) -> None:
    task = made(text)
    batch = task.train_batch(1, 0, 900)
    asked = batch.targets != IGNORED
    assert (asked.sum(1) == 6).all()  # 15 % of 40
    read, right = batch.inputs[asked], batch.targets[asked]
    mask = task.vocabulary - 1
    error = DEVIATIONS * math.sqrt(0.25 / len(read))
    assert abs(share(read == mask) - 0.8) <= error
    assert abs(share(read == right) - (0.1 + 0.1 / 257)) <= error
    others = read[(read != mask) & (read != right)]
    assert abs(len(others) / len(read) - 0.1 * 256 / 257) <= error
    assert others.unique().numel() > 150  # any token, of 257
    assert (others < mask).all()
    assert (batch.inputs[~asked] < mask).all()
    assert (right < 256).all()


def test_every_place_is_asked_equally_often(text: Path) -> None:
    rows = 2000
    counts = (made(text).train_batch(3, 0, rows).targets != IGNORED).sum(0).double()
    assert (counts - 0.15 * rows).abs().max() <= DEVIATIONS * math.sqrt(0.15 * 0.85 * rows)


def test_what_is_not_hidden_is_the_text(text: Path) -> None:
    task = made(text, share=0.1)
    batch = task.train_batch(1, 0, 20)
    whole = torch.where(batch.targets != IGNORED, batch.targets, batch.inputs)
    written = text.read_text()
    assert all(bytes(row).decode() in written for row in whole.tolist())
    held = held_out(task)
    found = torch.where(held.targets != IGNORED, held.targets, held.inputs).flatten().tolist()
    assert bytes(found[1:]).decode() in written  # the first is the end of text, which leads the part
    assert len(found) > 4000 - 40


def test_a_batch_is_a_function_of_seed_and_step_and_masks_of_no_run(text: Path) -> None:
    once, again = made(text), made(text, run="other")
    left, right = once.train_batch(5, 7, 16), again.train_batch(5, 7, 16)
    assert torch.equal(left.inputs, right.inputs)
    assert torch.equal(left.targets, right.targets)
    for other in (once.train_batch(5, 8, 16), once.train_batch(6, 7, 16)):
        assert not torch.equal(left.inputs, other.inputs)
    wide, narrow = held_out(once, 1000), held_out(again, 7)
    assert torch.equal(wide.inputs, narrow.inputs)
    assert torch.equal(wide.targets, narrow.targets)
    masks = [held_out(once, split=split).targets[:50] != IGNORED for split in ("validation", "test")]
    assert not torch.equal(*masks)


@pytest.mark.parametrize("tokens", ["bytes", "bpe", "words"])
def test_every_kind_of_token_is_masked(text: Path, tokens: str) -> None:
    text.write_text("the memory of a model decays \n" * 600)
    task = made(text, run=tokens, tokens=tokens, vocabulary=270, documents=False, length=16)
    batch = task.train_batch(1, 0, 8)
    assert (batch.inputs == task.vocabulary - 1).any()
    assert ((batch.targets != IGNORED).sum(1) == 2).all()
    assert batch.reset is None


def test_metrics_and_what_they_are_held_against(text: Path) -> None:
    text.write_text("abcaa" * 4000)
    task = made(text)
    standard = task.standard
    assert standard.floor == pytest.approx(0.6, abs=0.01)
    assert standard.chance == 1 / 257
    batch = held_out(task)
    counts = task.count(batch)
    assert counts.targets == 6 * len(batch.inputs)
    right = task.grade(batch, batch.targets)
    found = task.metrics(counts.targets * math.log(5), counts + right)
    assert found == pytest.approx({"accuracy": 1.0, "nats_per_answer": math.log(5), "perplexity_per_answer": 5.0})
    assert task.metrics(1e9, counts)["perplexity_per_answer"] == math.inf


@pytest.mark.parametrize("tied", [True, False])
def test_its_model_sees_both_sides(tied: bool) -> None:
    torch.manual_seed(0)
    small = ["layers=2", "width=16", "heads=2", "direction=both", f"tied={str(tied).lower()}"]
    model = MaskedModel(load_model_recipe("gla", small), 11).eval()
    assert (model.head is None) == tied
    tokens = torch.randint(11, (1, 9))
    changed = tokens.clone()
    changed[0, -1] = (changed[0, -1] + 1) % 11
    with torch.no_grad():
        left, right = model(tokens), model(changed)
    assert left.shape == (1, 9, 11)
    assert not torch.allclose(left[0, 0], right[0, 0])
    with pytest.raises(RecipeError, match="at least two tokens"):
        MaskedModel(load_model_recipe("gla", small), 1)


def test_what_makes_no_sense_is_refused(text: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"task\.masked = 0\.9 and task\.swapped = 0\.2 .* at most 1"):
        MaskedTextTask(MaskedTextTask.Options(masked=0.9, swapped=0.2))
    with pytest.raises(DataError, match="call prepare"):
        MaskedTextTask(MaskedTextTask.Options()).train_batch(0, 0, 1)
    with pytest.raises(DataError, match="writes nothing"):
        made(text).restore(tmp_path / "run")
    with pytest.raises(DataError, match="too short"):
        made(text, length=5000)
