"""A task of MAD: rows of one length, an epoch of few rows that comes again, graded by class."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eos.config import option, options
from eos.tasks.epochs import Epochs
from eos.tasks.generated.task import BLOCK, AbstractGeneratedTask, Length
from eos.tasks.mad.grading import class_accuracies, class_tally
from eos.tasks.task import Batch, Counts, Split, Standard


@options
class MadOptions:
    """How many rows there are."""

    epoch: int = option(12_800, "rows of an epoch, the same in every one", low=1)
    held_out: int = option(1280, "rows of the validation and of the test part", low=1)


class AbstractMadTask(AbstractGeneratedTask[Length]):
    """Rows are of one length; the id that is asked for is the class.

    An epoch has few rows, so they are drawn once, and shuffled anew every time they come again.

    Source: arXiv:2403.17844; sizes and rows of its public generator, mad/data/instances.py.
    """

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._drawn: tuple[int, Epochs, Batch] | None = None

    @property
    @abstractmethod
    def tokens(self) -> int:
        """T, the inputs of a row."""

    @property
    @abstractmethod
    def answers(self) -> int:
        """How many ids are ever asked for."""

    @property
    def vocabulary(self) -> int:
        return int(self.options.vocabulary)

    @property
    def training(self) -> Sequence[Length]:
        return [Length(length=self.tokens, rows=self.options.epoch)]

    def held_out(self, split: Split) -> Sequence[Length]:
        return [Length(length=self.tokens, rows=self.options.held_out)]

    def train_batch(self, seed: int, step: int, rows: int) -> Batch:
        if self._drawn is None or self._drawn[0] != seed:
            (segment,) = self.training
            blocks = [
                self._batch("train", seed, 0, place, segment, min(BLOCK, segment.rows - first))
                for place, first in enumerate(range(0, segment.rows, BLOCK))
            ]
            inputs, targets = (torch.cat([getattr(b, name) for b in blocks]) for name in ("inputs", "targets"))
            self._drawn = (seed, Epochs(segment.rows), Batch(inputs=inputs, targets=targets))
        _, epochs, every = self._drawn
        chosen = torch.from_numpy(epochs.rows(seed, step, rows))
        return Batch(inputs=every.inputs[chosen], targets=every.targets[chosen])

    def against(self, *, floor: float, trivial: str) -> Standard:
        """The standard of the task.

        Ids chosen uniformly are right one time in V, and those that are no answers are classes with nothing right.
        """
        chance = self.answers / self.vocabulary**2
        return Standard(metric="macro_accuracy", chance=chance, floor=floor, trivial=trivial)

    def grade(self, batch: Batch, chosen: Tensor) -> Counts:
        return class_tally(batch, chosen)

    def metrics(self, nats: float, counts: Counts) -> dict[str, float]:
        return class_accuracies(nats, counts)
