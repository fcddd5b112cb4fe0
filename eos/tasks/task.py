"""What a task is: its data, its batches, and the metrics of a model on them.

A task is one file in ``eos/tasks``, found by its file name; its module docstring holds what it does in one line, and
an ``Equation:`` and a ``Source:`` line like a stage's, and ``Metric:``, ``Chance:`` and ``Floor:``. The module defines
exactly one public class, a final subclass of :class:`AbstractTask`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import tokenizers
import torch
from jaxtyping import Bool, Int64
from torch import Tensor, nn

from eos.config import ModelRecipe, options
from eos.errors import DataError
from eos.models import LanguageModel

Split = Literal["validation", "test"]
IGNORED = -100


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of tokens and what is asked of them. What is None is not handed to the model.

    Arguments:
        inputs: token ids [B,T], 0 ≤ id < vocabulary; or real numbers [B,T,F].
        targets: the id to predict at each position [B,T], or one of the whole row [B]; −100 where none is asked.
        reset: true where a new document begins [B,T].
        lengths: how many tokens of each row count [B], ≥ 1; those after are padding.
        source: token ids [B,S] that the row is made from, by a model of an encoder and a decoder.
        seen: false where the source is padding [B,S], at its end.
        shape: sizes of the grid whose tokens a row holds, its last axis the fastest.
        group: what these rows have in common, for metrics of their own.
    """

    inputs: Tensor
    targets: Int64[Tensor, "B T"] | Int64[Tensor, " B"]
    reset: Bool[Tensor, "B T"] | None = None
    lengths: Int64[Tensor, " B"] | None = None
    source: Int64[Tensor, "B S"] | None = None
    seen: Bool[Tensor, "B S"] | None = None
    shape: tuple[int, ...] | None = None
    group: str | None = None

    @property
    def tokens(self) -> int:
        """How many tokens the inputs are."""
        return self.inputs.shape[0] * self.inputs.shape[1]

    def arguments(self) -> dict[str, Any]:
        """What a model is given beside the inputs."""
        named = {name: getattr(self, name) for name in ("reset", "lengths", "source", "seen", "shape")}
        return {name: value for name, value in named.items() if value is not None}

    def rows(self, chosen: slice) -> "Batch":
        """Some of the rows."""
        return replace(self, **{name: tensor[chosen] for name, tensor in self._tensors().items()})

    def to(self, device: torch.device) -> "Batch":
        """The batch on ``device``."""
        return replace(self, **{name: t.to(device, non_blocking=True) for name, t in self._tensors().items()})

    def _tensors(self) -> dict[str, Any]:
        values = {held.name: getattr(self, held.name) for held in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a sum of losses is divided by, and what a model got right.

    Arguments:
        targets: how many were asked.
        bytes, words: of the original text, that the targets stand for.
        rows: how many were graded.
        right: over these, the sum of the shares of a row's targets that were right.
        groups: the same two numbers for each of some groups of rows, of places or of classes.
    """

    targets: int = 0
    bytes: int = 0
    words: int = 0
    rows: int = 0
    right: float = 0.0
    groups: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __add__(self, other: "Counts") -> "Counts":
        numbers = [held.name for held in fields(self) if held.name != "groups"]
        groups = dict(self.groups)
        for name, (rows, right) in other.groups.items():
            before = groups.get(name, (0.0, 0.0))
            groups[name] = (before[0] + rows, before[1] + right)
        return Counts(groups=groups, **{name: getattr(self, name) + getattr(other, name) for name in numbers})


def more_is_better(metric: str) -> bool:
    """Of a metric that tasks tell, by its name: of nats, bits and perplexities less is."""
    return not metric.startswith(("nats", "bits", "perplexity"))


@dataclass(frozen=True, kw_only=True)
class Standard:
    """What a model's metric is held against.

    Arguments:
        metric: the name of the one that counts, among :meth:`AbstractTask.metrics`.
        higher: whether more of it is better.
        chance: its value for who knows nothing.
        floor: its value for a trivial method.
        trivial: what that method does.
    """

    metric: str
    higher: bool = True
    chance: float
    floor: float
    trivial: str


class AbstractTask(ABC):
    """A task: built from its own options, made ready by :meth:`prepare`, or by :meth:`restore` for decoding alone.

    Attributes:
        causal: whether its model may see no token that comes later.
        kind: what :meth:`model` builds.
    """

    causal: ClassVar[bool] = True
    kind: ClassVar[type[nn.Module]] = LanguageModel

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

    def restore(self, folder: Path) -> None:
        """Make :meth:`encode` and :meth:`decode` ready from a run's ``folder``, without the data.

        Raises:
            DataError: a task whose model writes nothing.
        """
        raise DataError("the model of this run writes nothing: its task only grades it, with eos eval")

    def model(self, recipe: ModelRecipe) -> nn.Module:
        """The model that the task is for, with fresh weights; a causal language model unless a task says otherwise.

        It is called as ``model(batch.inputs, **batch.arguments())`` and returns logits, a row of them for each target.
        """
        return LanguageModel(recipe, self.vocabulary)

    @property
    @abstractmethod
    def summary(self) -> str:
        """One line about the prepared data, for the log."""

    @property
    @abstractmethod
    def standard(self) -> Standard:
        """What a model is held against, once the data are ready."""

    @property
    @abstractmethod
    def vocabulary(self) -> int:
        """Number of token ids; of classes, where the model is a classifier."""

    @property
    @abstractmethod
    def length(self) -> int:
        """T, the tokens in a row of a batch."""

    @property
    def grid(self) -> tuple[int, ...] | None:
        """Sizes of the grid that the tokens of a row form; None for a plain sequence."""
        return None

    @abstractmethod
    def train_batch(self, seed: int, step: int, rows: int) -> Batch:
        """The training batch of one step: a pure function of its arguments, 0 ≤ seed, step < 2^64."""

    @abstractmethod
    def evaluation_batches(self, split: Split, rows: int) -> Iterator[Batch]:
        """The whole of a held-out part, at most ``rows`` rows at a time, always in the same order."""

    def held_out_rows(self, split: Split) -> int | None:
        """How many rows :meth:`evaluation_batches` gives in all; None where that is not known before."""
        return None

    @abstractmethod
    def count(self, batch: Batch) -> Counts:
        """What the targets of a batch stand for; counts of several batches add up."""

    def grade(self, batch: Batch, chosen: Tensor) -> Counts:
        """What a model's likeliest ids [B,T] (or [B]) get right, for a task that is graded; nothing by default."""
        return Counts()

    def generated(self, model: nn.Module, split: Split, *, device: torch.device, rows: int) -> dict[str, float]:
        """Metrics of what a model writes by itself on a held-out part, ``rows`` rows at once; none by default.

        They are found after training and by ``eos eval``, not in the validations of training.
        """
        return {}

    @abstractmethod
    def metrics(self, nats: float, counts: Counts) -> dict[str, float]:
        """The metrics of a summed cross-entropy in nats over all counted targets."""

    def encode(self, text: str) -> list[int]:
        """The token ids of a prompt: at least one. Only after :meth:`restore` or :meth:`prepare`."""
        raise DataError("the model of this run takes no prompt")

    def tokenizer(self) -> tokenizers.Tokenizer | None:
        """The tokenizer of the task's text for other libraries; None where its tokens are no text."""
        return None

    def decode(self, ids: list[int]) -> str:
        """The text of token ids, the inverse of :meth:`encode`."""
        raise DataError("the model of this run writes no text")
