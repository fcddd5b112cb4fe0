"""A task of generated rows: drawn block by block, graded by the share of right answers."""

import json
import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eos.config import option, options
from eos.errors import DataError
from eos.tasks.task import IGNORED, AbstractTask, Batch, Counts, Split

#: What stands in a run's folder: the tokens its model knows.
KEPT = "task.json"
#: Parts of the data, each with numbers of its own.
_PARTS = {"train": 0, "validation": 1, "test": 2}

Rows = tuple[NDArray[np.int64], NDArray[np.int64]]


@options
class Segment:
    """Rows of one length."""

    length: int = option(description="tokens T of a row", low=2)
    pairs: int = option(description="pairs of key and value in a row", low=1)
    rows: int = option(description="how many there are", low=1)


class AbstractGeneratedTask(AbstractTask):
    """Rows drawn by a counter-based generator: a block of rows is a pure function of the seed, its part and its place.

    A training batch is of one segment; segments come in their order, and the same again every epoch. What is left of a
    segment where the rows of a batch do not divide it is left out. Held-out rows do not depend on the run's seed, so
    that every run of an option set is graded on the same.
    """

    @property
    @abstractmethod
    def training(self) -> Sequence[Segment]:
        """The segments of an epoch."""

    @abstractmethod
    def held_out(self, split: Split) -> Sequence[Segment]:
        """Those of a held-out part."""

    @abstractmethod
    def draw(self, generator: np.random.Generator, segment: Segment, rows: int) -> Rows:
        """Inputs and targets [rows, T] of a segment; a target is −100 where nothing is asked."""

    @property
    @abstractmethod
    def chance(self) -> float:
        """The accuracy of an answer drawn among those that a row holds, on the first held-out segment."""

    def prepare(self, folder: Path) -> None:
        (folder / KEPT).write_text(json.dumps({"vocabulary": self.vocabulary}) + "\n", encoding="utf-8")

    def prepare_other(self, folder: Path) -> None:
        try:
            known = json.loads((folder / KEPT).read_text(encoding="utf-8"))["vocabulary"]
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{folder} holds no run on a generated task: {KEPT} cannot be read ({error})") from error
        if known != self.vocabulary:
            raise DataError(f"the run's model knows {known} tokens and this task has {self.vocabulary}")

    def restore(self, folder: Path) -> None:
        return None

    @property
    def summary(self) -> str:
        counted = ", ".join(f"{s.rows:,} rows of {s.length} tokens with {s.pairs} pairs" for s in self.training)
        asked = sum(segment.rows for segment in self.held_out("test"))
        return f"trained on {counted}; tested on {asked:,} rows; chance {self.chance:.3g}"

    @property
    def length(self) -> int:
        return max(segment.length for segment in self.training)

    def train_batch(self, seed: int, step: int, rows: int) -> Batch:
        batches = [segment.rows // rows for segment in self.training]
        if not sum(batches):
            most = max(segment.rows for segment in self.training)
            raise DataError(f"no segment fills a batch of {rows} rows, the largest has {most}; lower training.rows")
        place = step % sum(batches)
        for index, segment in enumerate(self.training):
            if place < batches[index]:
                return self._batch("train", seed, index, place, segment, rows)
            place -= batches[index]
        raise AssertionError("a place in an epoch is in one of its segments")

    def evaluation_batches(self, split: Split, rows: int) -> Iterator[Batch]:
        for index, segment in enumerate(self.held_out(split)):
            for place, first in enumerate(range(0, segment.rows, BLOCK)):
                block = self._batch(split, 0, index, place, segment, min(BLOCK, segment.rows - first))
                for start in range(0, block.inputs.shape[0], rows):
                    part = slice(start, start + rows)
                    yield Batch(inputs=block.inputs[part], targets=block.targets[part])

    def _batch(self, part: str, seed: int, index: int, place: int, segment: Segment, rows: int) -> Batch:
        """Rows of a block; by the counter of the generator any block has numbers of its own."""
        key = np.array([seed, (_PARTS[part] << 32) + index], np.uint64)
        generator = np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, 0, place], np.uint64)))
        inputs, targets = self.draw(generator, segment, rows)
        return Batch(inputs=torch.from_numpy(inputs), targets=torch.from_numpy(targets))

    def count(self, batch: Batch) -> Counts:
        return Counts(targets=int((batch.targets != IGNORED).sum()))

    def grade(self, batch: Batch, logits: Tensor) -> Counts:
        asked = batch.targets != IGNORED
        right = ((logits.argmax(-1) == batch.targets) & asked).sum(1)
        shares = right / asked.sum(1).clamp(min=1)
        return Counts(rows=len(shares), right=float(shares.double().sum()))

    def metrics(self, nats: float, counts: Counts) -> dict[str, float]:
        found = {"nats_per_answer": nats / counts.targets if counts.targets else math.nan}
        return {"accuracy": counts.right / counts.rows, **found} if counts.rows else found

    def encode(self, text: str) -> list[int]:
        try:
            ids = [int(word) for word in text.split()]
        except ValueError as error:
            raise DataError(f"a prompt of this task is token ids with spaces between, got {text!r}") from error
        if not ids or not all(0 <= token < self.vocabulary for token in ids):
            raise DataError(f"token ids are from 0 to {self.vocabulary - 1}, at least one; got {text!r}")
        return ids

    def decode(self, ids: list[int]) -> str:
        return "".join(f" {token}" for token in ids)


#: Held-out rows drawn at once, whatever the rows of a batch.
BLOCK = 256


def distinct(generator: np.random.Generator, rows: int, count: int, low: int, high: int) -> NDArray[np.int64]:
    """``count`` distinct numbers of low ≤ n < high in every row, in random order."""
    order = generator.random((rows, high - low), dtype=np.float32)
    few = np.argpartition(order, count - 1, axis=1)[:, :count] if count < high - low else _all(rows, high - low)
    ranks = np.argsort(np.take_along_axis(order, few, 1), 1)
    return low + np.take_along_axis(few, ranks, 1)


def _all(rows: int, count: int) -> NDArray[np.int64]:
    return np.broadcast_to(np.arange(count), (rows, count))
