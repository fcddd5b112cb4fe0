"""A task of labelled rows of tokens, of any length: what those of the Long Range Arena on texts share."""

from abc import abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from eos.config import ModelRecipe, option, options
from eos.errors import CompositionError, DataError
from eos.models.encoder import refuse_padding
from eos.tasks.labelled.task import AbstractLabelledTask, Part
from eos.tasks.lra.rows import Padded, Rows, batch_of
from eos.tasks.task import Batch


@options
class RaggedOptions:
    """How rows are padded and read."""

    padded: Padded = option(
        "ignored",
        "what follows a row's end in a batch: ignored: nothing, rows are as long as the longest of them; "
        "seen: id 0 up to `longest`, tokens like any other, for mixers that cannot tell documents apart",
    )
    pool: Literal["mean", "last"] = option("mean", "what is read of a row: the mean over tokens, or the last token")
    cache: str = option("~/.cache/eos", "folder that keeps the rows between runs")


class AbstractRaggedTask(AbstractLabelledTask):
    """Rows are cut at T tokens, from their beginning; 0 fills.

    Attributes:
        first: what is added to what a row holds, so that no token is 0.
    """

    first: ClassVar[int] = 1

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._parts: dict[str, Rows] | None = None

    @abstractmethod
    def read(self) -> dict[str, Rows]:
        """The rows of every part.

        Raises:
            DataError: data that is missing or malformed, with file and row.
        """

    def load(self) -> None:
        if self._parts is None:
            self._parts = self.read()

    def rows(self, part: str) -> Rows:
        """Those of a part, once they are loaded."""
        if self._parts is None:
            raise DataError("the task isn't ready: call prepare(folder) first")
        return self._parts[part]

    def model(self, recipe: ModelRecipe) -> nn.Module:
        if self.options.padded == "ignored" and (reason := refuse_padding(recipe)):
            raise CompositionError(f"{reason}; set task.padded=seen, and rows are filled up to one length")
        return self.head(recipe)

    def head(self, recipe: ModelRecipe) -> nn.Module:
        """What is built of a recipe that can leave padding out; a classifier unless a task says otherwise."""
        return super().model(recipe)

    def labels(self, part: Part) -> NDArray[np.int64]:
        return self.rows(part).labels

    def batch(self, part: Part, chosen: NDArray[np.int64]) -> Batch:
        rows = self.rows(part).some(chosen)
        return batch_of(rows, padded=self.options.padded, longest=self.length, add=self.first)

    @property
    def features(self) -> None:
        return None

    @property
    def length(self) -> int:
        return int(self.options.longest)

    @property
    def pool(self) -> Literal["mean", "last"]:
        pool: Literal["mean", "last"] = self.options.pool
        return pool
