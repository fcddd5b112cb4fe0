"""What a task is: its data, its batches, and the metrics of a model on them.

A task is one file in ``eos/tasks``, found by its file name; its module docstring holds what it does in one line, and
an ``Equation:`` and a ``Source:`` line like a stage's. The module defines exactly one public class, a final subclass
of :class:`AbstractTask`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import tokenizers
from jaxtyping import Bool, Int64
from torch import Tensor

from eos.config import options

Split = Literal["validation", "test"]
IGNORED = -100


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of tokens and what follows each of them.

    Arguments:
        inputs: token ids [B,T], 0 ≤ id < vocabulary.
        targets: the id to predict at each position [B,T], or −100 where none is asked.
        reset: true where a new document begins [B,T], or None when no row holds a boundary.
    """

    inputs: Int64[Tensor, "B T"]
    targets: Int64[Tensor, "B T"]
    reset: Bool[Tensor, "B T"] | None = None


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a sum of losses is divided by, and what a model got right.

    Arguments:
        targets: how many were asked.
        bytes, words: of the original text, that the targets stand for.
        rows: how many were graded.
        right: over these, the sum of the shares of a row's targets that were right.
    """

    targets: int = 0
    bytes: int = 0
    words: int = 0
    rows: int = 0
    right: float = 0.0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{held.name: getattr(self, held.name) + getattr(other, held.name) for held in fields(self)})


class AbstractTask(ABC):
    """A task: built from its own options, made ready by :meth:`prepare`, or by :meth:`restore` for decoding alone."""

    @options
    class Options:
        """A task without options."""

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def prepare(self, folder: Path) -> None:
        """Make the data ready, and keep in the run's ``folder`` what decoding needs. Idempotent.

        Where the folder already holds the files of an earlier call, the data must be the same as then.

        Raises:
            DataError: data that is missing, unusable, or not what the run was started with.
        """

    @abstractmethod
    def prepare_other(self, folder: Path) -> None:
        """Make other data than the run's ready, in the tokens of the run in ``folder``, which is only read.

        Raises:
            DataError: data that is missing or unusable, or a folder that holds no run on this task.
        """

    @abstractmethod
    def restore(self, folder: Path) -> None:
        """Make :meth:`encode` and :meth:`decode` ready from a run's ``folder``, without the data."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """One line about the prepared data, for the log."""

    @property
    @abstractmethod
    def vocabulary(self) -> int:
        """Number of token ids."""

    @property
    @abstractmethod
    def length(self) -> int:
        """T, the tokens in a row of a batch."""

    @abstractmethod
    def train_batch(self, seed: int, step: int, rows: int) -> Batch:
        """The training batch of one step: a pure function of its arguments, 0 ≤ seed, step < 2^64."""

    @abstractmethod
    def evaluation_batches(self, split: Split, rows: int) -> Iterator[Batch]:
        """The whole of a held-out part, at most ``rows`` rows at a time, always in the same order."""

    @abstractmethod
    def count(self, batch: Batch) -> Counts:
        """What the targets of a batch stand for; counts of several batches add up."""

    def grade(self, batch: Batch, logits: Tensor) -> Counts:
        """What a model's logits [B,T,V] get right, for a task that is graded; nothing by default."""
        return Counts()

    @abstractmethod
    def metrics(self, nats: float, counts: Counts) -> dict[str, float]:
        """The metrics of a summed cross-entropy in nats over all counted targets."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The token ids of a prompt: at least one."""

    def tokenizer(self) -> tokenizers.Tokenizer | None:
        """The tokenizer of the task's text for other libraries; None where its tokens are no text."""
        return None

    @abstractmethod
    def decode(self, ids: list[int]) -> str:
        """The text of token ids, the inverse of :meth:`encode`."""
