"""Needle in a haystack: a key and its value at a chosen depth among filler, and the key again at the end.

Equation: filler of T tokens with k v at place ⌊d (T − 3) / 100 + 1/2⌋, d the depth in percent, and k at the end; asks v
Metric: accuracy, the share of rows whose value is right; one for every length and depth
Chance: 1/V, one of all ids
Floor: 1/n + (1 − 1/n)/values, one of the n values in the row
Source: arXiv:2404.06654 (single and multi-key needles); the map of depth and length is G. Kamradt's, 2023
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eos.config import option, options
from eos.errors import RecipeError
from eos.tasks.generated.task import AbstractGeneratedTask, Part, Rows, distinct
from eos.tasks.task import IGNORED, Split, Standard


@options
class Cell:
    """Rows of one length and one depth."""

    length: int = option(description="tokens T of a row", low=4)
    depth: int | None = option(None, "where the needle is, in percent of the way; null: anywhere", low=0, high=100)
    rows: int = option(description="how many there are", low=1)


class NeedleTask(AbstractGeneratedTask[Cell]):
    """Ids are filler first, then keys, then values; the label stands at the last position, the key's second.

    Other needles, of other keys and values of their own, may lie in the hay.
    """

    @options
    class Options:
        """The hay, the needles, and the map of lengths and depths."""

        filler: int = option(32, "ids of filler", low=1, high=2**20)
        keys: int = option(16, "ids of keys", low=1, high=2**20)
        values: int = option(16, "ids of values", low=2, high=2**20)
        others: int = option(3, "needles of other keys in a row, anywhere", low=0)
        train: list[int] = option([256], "lengths T of training rows, whose needle is anywhere")
        epoch: int = option(1_000_000, "rows of an epoch of each length", low=1)
        validation: list[int] = option([256], "lengths of the validation part, whose needles are anywhere")
        test: list[int] = option([256, 512, 1024], "lengths of the test part")
        depths: list[int] = option([0, 25, 50, 75, 100], "where the test part's needles are, in percent of the way")
        held_out: int = option(
            256, "rows of each length and depth of the test part, of each length of the validation", low=1
        )

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        if options.others >= options.keys:
            raise RecipeError(
                f"task.others = {options.others} need {options.others + 1} distinct keys, got keys = {options.keys}"
            )
        least = 2 * options.others + 4
        for name in ("train", "validation", "test"):
            lengths: list[int] = getattr(options, name)
            if not lengths or min(lengths) < least:
                raise RecipeError(
                    f"task.{name} lists lengths of at least {least} tokens, for {options.others + 1} needles and the "
                    f"question; got {lengths}"
                )
        if not options.depths or not all(0 <= depth <= 100 for depth in options.depths):
            raise RecipeError(f"task.depths lists percents from 0 to 100, at least one; got {options.depths}")

    @property
    def vocabulary(self) -> int:
        return int(self.options.filler + self.options.keys + self.options.values)

    @property
    def training(self) -> Sequence[Cell]:
        return [Cell(length=length, rows=self.options.epoch) for length in self.options.train]

    def held_out(self, split: Split) -> Sequence[Cell]:
        depths: list[int | None] = list(self.options.depths) if split == "test" else [None]
        return [
            Cell(length=length, depth=depth, rows=self.options.held_out)
            for length in getattr(self.options, split)
            for depth in depths
        ]

    def name(self, segment: Cell) -> str:
        return str(segment.length) if segment.depth is None else f"{segment.length}_depth_{segment.depth}"

    @property
    def standard(self) -> Standard:
        others = int(self.options.others)
        return Standard(
            metric="accuracy",
            chance=1 / self.vocabulary,
            # values may be alike, so that another one is right one time in so many
            floor=1 / (others + 1) + others / (others + 1) / self.options.values,
            trivial="one of the values in the row",
        )

    def draw(self, generator: np.random.Generator, segment: Cell, rows: int, *, part: Part) -> Rows:
        options, length = self.options, segment.length
        first_value = options.filler + options.keys
        inputs = generator.integers(options.filler, size=(rows, length))
        keys = distinct(generator, rows, options.others + 1, options.filler, first_value)
        values = generator.integers(first_value, self.vocabulary, size=keys.shape)
        if segment.depth is None:
            needle = generator.integers(length - 2, size=rows)
        else:
            needle = np.full(rows, (segment.depth * (length - 3) + 50) // 100)
        places = np.concatenate([needle[:, None], self._others(generator, needle, length)], 1)
        np.put_along_axis(inputs, places, keys, 1)
        np.put_along_axis(inputs, places + 1, values, 1)
        inputs[:, -1] = keys[:, 0]
        targets = np.full_like(inputs, IGNORED)
        targets[:, -1] = values[:, 0]
        return inputs, targets

    def _others(self, generator: np.random.Generator, needle: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        """Places [rows, others] of the other needles, two tokens each, clear of this one's and of the last token."""
        count = int(self.options.others)
        if not count:
            return np.empty((len(needle), 0), np.int64)
        slots = distinct(generator, len(needle), count, 0, (length - 2) // 2 - 1)
        slots += slots >= (needle // 2)[:, None]
        return 2 * slots + needle[:, None] % 2
