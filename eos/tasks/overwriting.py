"""Overwriting recall: every key is written twice, and the last value of each is asked.

Equation: pairs k v of K keys, each key in two of them with two values; then the K keys, each asking for its later value
Metric: accuracy, the share of a row's K answers that are right, on average over rows
Chance: 1/V, one of all ids
Floor: 1/K, one of the values written later
Source: the question that decays and the delta rule answer (arXiv:2102.11174, section 4.2), as a recall task of our own
"""

from collections.abc import Sequence

import numpy as np

from eos.config import option, options
from eos.errors import RecipeError
from eos.tasks.generated.task import AbstractGeneratedTask, Length, Part, Rows, distinct
from eos.tasks.task import IGNORED, Split, Standard


class OverwritingTask(AbstractGeneratedTask[Length]):
    """Keys are ids 0 … V/2 − 1, values the rest; the label stands at the query's own position.

    A memory that only adds holds both values of a key alike.
    """

    @options
    class Options:
        """How many keys there are, and in which order they are written."""

        vocabulary: int = option(64, "token ids V: half keys, half values", low=4, high=2**20)
        pairs: int = option(8, "keys K of a row, each written twice", low=1)
        interleaved: bool = option(
            False, "all 2K writes in random order; false: every key once, then every key again in another order"
        )
        epoch: int = option(1_000_000, "rows of an epoch", low=1)
        held_out: int = option(2048, "rows of the validation and of the test part", low=1)

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        if options.vocabulary % 2 or 2 * options.pairs > options.vocabulary // 2:
            raise RecipeError(
                f"task.pairs = {options.pairs} need {2 * options.pairs} distinct values: an even vocabulary of at "
                f"least {4 * options.pairs}, got {options.vocabulary}"
            )

    @property
    def vocabulary(self) -> int:
        return int(self.options.vocabulary)

    @property
    def training(self) -> Sequence[Length]:
        return [self._segment(self.options.epoch)]

    def held_out(self, split: Split) -> Sequence[Length]:
        return [self._segment(self.options.held_out)]

    def _segment(self, rows: int) -> Length:
        return Length(length=5 * self.options.pairs, rows=rows)

    @property
    def standard(self) -> Standard:
        return Standard(
            metric="accuracy",
            chance=1 / self.vocabulary,
            floor=1 / self.options.pairs,
            trivial="one of the values written later",
        )

    def draw(self, generator: np.random.Generator, segment: Length, rows: int, *, part: Part) -> Rows:
        pairs, half = int(self.options.pairs), self.vocabulary // 2
        keys = distinct(generator, rows, pairs, 0, half)
        values = distinct(generator, rows, 2 * pairs, half, self.vocabulary)
        first, second, asked = (generator.permuted(np.tile(np.arange(pairs), (rows, 1)), axis=1) for _ in range(3))
        written = np.concatenate([first, second], 1)
        if self.options.interleaved:
            written = generator.permuted(written, axis=1)
        # the later of a key's two places
        places = np.where(written[:, None] == np.arange(pairs)[:, None], np.arange(2 * pairs), -1).max(2)
        last = np.take_along_axis(values, places, 1)
        inputs = np.empty((rows, segment.length), np.int64)
        inputs[:, 0 : 4 * pairs : 2] = np.take_along_axis(keys, written, 1)
        inputs[:, 1 : 4 * pairs : 2] = values
        inputs[:, 4 * pairs :] = np.take_along_axis(keys, asked, 1)
        targets = np.full_like(inputs, IGNORED)
        targets[:, 4 * pairs :] = np.take_along_axis(last, asked, 1)
        return inputs, targets
