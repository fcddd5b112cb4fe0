"""A task of generated rows: drawn block by block, graded by the share of right answers."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from eos.config import option, options
from eos.errors import DataError, RecipeError
from eos.tasks.grading import AbstractGradedTask
from eos.tasks.kept import Kept, check_kept, keep
from eos.tasks.task import Batch, Split

#: Parts of the data, each with numbers of its own.
Part = Literal["train", "validation", "test"]
_PARTS: dict[Part, int] = {"train": 0, "validation": 1, "test": 2}

Rows = tuple[NDArray[np.int64], NDArray[np.int64]]


@runtime_checkable
class AbstractSegment(Protocol):
    """Rows that are drawn alike, and are of one length; a task's own options class."""

    @property
    def length(self) -> int:
        """Tokens T of a row."""

    @property
    def rows(self) -> int:
        """How many there are."""


@options
class Length:
    """Rows of one length."""

    length: int = option(description="tokens T of a row", low=1)
    rows: int = option(description="how many there are", low=1)


S = TypeVar("S", bound=AbstractSegment)


class AbstractGeneratedTask(AbstractGradedTask, Generic[S]):
    """Rows drawn by a counter-based generator: a block of rows is a pure function of the seed, its part and its place.

    A training batch is of one segment; segments come in their order, and the same again every epoch. What is left of a
    segment where the rows of a batch do not divide it is left out. Held-out rows do not depend on the run's seed, so
    that every run of an option set is graded on the same. Where a held-out part has several segments, each is graded
    by itself too.
    """

    @property
    @abstractmethod
    def training(self) -> Sequence[S]:
        """The segments of an epoch."""

    @abstractmethod
    def held_out(self, split: Split) -> Sequence[S]:
        """Those of a held-out part."""

    @abstractmethod
    def draw(self, generator: np.random.Generator, segment: S, rows: int, *, part: Part) -> Rows:
        """Inputs and targets [rows, T] of a segment; a target is −100 where nothing is asked.

        Arguments:
            part: which part of the data the rows are of, for tasks that ask more in training than they grade.
        """

    def name(self, segment: S) -> str:
        """What tells a segment apart from the others of its part, in letters, digits and _."""
        return str(segment.length)

    def prepare(self, folder: Path) -> None:
        keep(folder, Kept(model=self._built))

    def prepare_other(self, folder: Path) -> None:
        check_kept(folder, self._built)

    @property
    def _built(self) -> dict[str, int | str]:
        return {"kind": self.kind.__name__, "vocabulary": self.vocabulary}

    def restore(self, folder: Path) -> None:
        return None

    @property
    def summary(self) -> str:
        counted = ", ".join(f"{segment.rows:,} rows of {segment.length} tokens" for segment in self.training)
        asked = sum(segment.rows for segment in self.held_out("test"))
        return f"drawn as training goes, an epoch is {counted}; {asked:,} rows to test"

    @property
    def length(self) -> int:
        return max(segment.length for segment in self.training)

    def train_batch(self, seed: int, step: int, rows: int) -> Batch:
        batches = [segment.rows // rows for segment in self.training]
        if not sum(batches):
            most = max(segment.rows for segment in self.training)
            raise RecipeError(f"no segment fills a batch of {rows} rows, the largest has {most}; lower training.rows")
        place = step % sum(batches)
        for index, segment in enumerate(self.training):
            if place < batches[index]:
                return self._batch("train", seed, index, place, segment, rows)
            place -= batches[index]
        raise AssertionError("a place in an epoch is in one of its segments")

    def evaluation_batches(self, split: Split, rows: int) -> Iterator[Batch]:
        segments = self.held_out(split)
        for index, segment in enumerate(segments):
            group = self.name(segment) if len(segments) > 1 else None
            for place, first in enumerate(range(0, segment.rows, BLOCK)):
                block = self._batch(split, 0, index, place, segment, min(BLOCK, segment.rows - first))
                for start in range(0, block.inputs.shape[0], rows):
                    part = slice(start, start + rows)
                    yield Batch(inputs=block.inputs[part], targets=block.targets[part], group=group)

    def held_out_rows(self, split: Split) -> int:
        return sum(segment.rows for segment in self.held_out(split))

    def _batch(self, part: Part, seed: int, index: int, place: int, segment: S, rows: int) -> Batch:
        """Rows of a block; by the counter of the generator any block has numbers of its own."""
        key = np.array([seed, (_PARTS[part] << 32) + index], np.uint64)
        generator = np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, 0, place], np.uint64)))
        inputs, targets = self.draw(generator, segment, rows, part=part)
        return Batch(inputs=torch.from_numpy(inputs), targets=torch.from_numpy(targets))

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
