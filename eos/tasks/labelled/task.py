"""A task of labelled rows: a classifier is trained on them in epochs, and graded by the share of rows it gets right."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from torch import nn

from eos.config import ModelRecipe
from eos.errors import DataError
from eos.models import Classifier
from eos.tasks.epochs import Epochs
from eos.tasks.grading import AbstractGradedTask
from eos.tasks.kept import Kept, check_kept, keep
from eos.tasks.task import Batch, Split, Standard

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
#: Rows of each part whose tokens tell whether the data are the same as before.
SAMPLED = 64


class AbstractLabelledTask(AbstractGradedTask):
    """Every epoch sees each training row once, in an order of its own; the model may see the whole of a row at once.

    A training batch is a pure function of seed and step: it may hold the last rows of an epoch and the first of the
    next.
    """

    causal: ClassVar[bool] = False
    kind: ClassVar[type[nn.Module]] = Classifier

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._epochs: Epochs | None = None

    @abstractmethod
    def load(self) -> None:
        """Make the data ready. Idempotent.

        Raises:
            DataError: data that is missing or malformed, with file and row.
        """

    @abstractmethod
    def labels(self, part: Part) -> NDArray[np.int64]:
        """The label of every row [rows], 0 ≤ label < classes."""

    @abstractmethod
    def batch(self, part: Part, chosen: NDArray[np.int64]) -> Batch:
        """The rows of these numbers; targets [B]."""

    @property
    @abstractmethod
    def classes(self) -> int:
        """How many labels there are, ≥ 2."""

    @property
    @abstractmethod
    def features(self) -> int | None:
        """Real numbers of a token, or None where tokens are ids."""

    @property
    @abstractmethod
    def pool(self) -> Literal["mean", "last"]:
        """What the classifier reads of a row."""

    def model(self, recipe: ModelRecipe) -> nn.Module:
        ids = None if self.features is not None else self.vocabulary
        return Classifier(recipe, self.classes, vocabulary=ids, features=self.features, pool=self.pool)

    def prepare(self, folder: Path) -> None:
        self.load()
        keep(folder, Kept(model=self._built, digest=self._digest(), told=self.told()))

    def prepare_other(self, folder: Path) -> None:
        self.load()
        self.take(check_kept(folder, self._built).told)

    def told(self) -> Mapping[str, Any]:
        """What the model's inputs depend on beside the rows themselves, for JSON."""
        return {}

    def take(self, told: Mapping[str, Any]) -> None:
        """Read rows as the run did that told this."""
        return None

    @property
    def _built(self) -> dict[str, int | str]:
        what = {"vocabulary": self.vocabulary} if self.features is None else {"features": self.features}
        return {"kind": self.kind.__name__, "classes": self.classes, "pool": self.pool, **what}

    def _digest(self) -> str:
        """Of all labels, and of the tokens of rows here and there."""
        found = sha256()
        for part in PARTS:
            labels = self.labels(part)
            found.update(np.ascontiguousarray(labels).tobytes())
            some = np.unique(np.linspace(0, len(labels) - 1, SAMPLED).astype(np.int64))
            found.update(self.batch(part, some).inputs.contiguous().numpy().tobytes())
        return found.hexdigest()

    @property
    def standard(self) -> Standard:
        """By default against the class that training holds most often."""
        common = np.bincount(self.labels("train"), minlength=self.classes).argmax()
        return Standard(
            metric="accuracy",
            chance=1 / self.classes,
            floor=float((self.labels("test") == common).mean()),
            trivial="the most common class",
        )

    @property
    def summary(self) -> str:
        train, validation, test = (len(self.labels(part)) for part in PARTS)
        return f"{self.classes} classes; {train:,} rows to train on, {validation:,} to validate, {test:,} to test"

    def train_batch(self, seed: int, step: int, rows: int) -> Batch:
        if self._epochs is None:
            self._epochs = Epochs(len(self.labels("train")))
        return self.batch("train", self._epochs.rows(seed, step, rows))

    def evaluation_batches(self, split: Split, rows: int) -> Iterator[Batch]:
        size = len(self.labels(split))
        for start in range(0, size, rows):
            yield self.batch(split, np.arange(start, min(start + rows, size)))

    def held_out_rows(self, split: Split) -> int:
        return len(self.labels(split))


def check_labels(labels: NDArray[np.int64], *, classes: int, where: str, first: int = 1) -> None:
    """Refuse labels out of range, and a part without rows.

    Arguments:
        where: the file they are from.
        first: the number of its first row, as a person counts.

    Raises:
        DataError: naming file and row.
    """
    if not labels.size:
        raise DataError(f"{where} holds no rows")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise DataError(
            f"{where}, row {wrong[0] + first}: label {labels[wrong[0]]} is not one of {classes} classes "
            f"(0 to {classes - 1})"
        )
