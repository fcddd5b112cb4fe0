"""Multi-query associative recall: pairs of keys and values, then each key again, whose value is asked.

Equation: k_1 v_1 … k_K v_K, then key j at offset 2 s_j, s drawn without replacement with weights (s + 1)^(a − 1)
Metric: accuracy, the share of a row's K answers that are right, on average over rows
Chance: 1/V, one of all ids
Floor: 1/K, one of the row's values
Source: arXiv:2312.04927, section 4 and appendix E; its public generator, zoology/data/multiquery_ar.py
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from eos.config import option, options
from eos.errors import RecipeError
from eos.tasks.generated.task import AbstractGeneratedTask, Part, Rows, distinct
from eos.tasks.task import IGNORED, Split, Standard


@options
class Segment:
    """Rows of one length and one number of pairs."""

    length: int = option(description="tokens T of a row", low=2)
    pairs: int = option(description="pairs K of key and value in a row", low=1)
    rows: int = option(description="how many there are", low=1)


class MqarTask(AbstractGeneratedTask[Segment]):
    """Keys are ids 1 … V/2 − 1, values V/2 … V − 1, 0 fills. The label stands at the query's own position.

    Answers never appear in the input. Accuracy is the mean over rows of the share of a row's answers that are right.
    """

    @options
    class Options:
        """The rows, and what fills the places between queries."""

        vocabulary: int = option(8192, "token ids V: half keys, half values", low=4, high=2**20)
        power: float = option(0.01, "a: 1 spreads queries evenly, near 0 most come soon", above=0, high=1)
        filler: Literal["zeros", "random"] = option("zeros", "what stands where no query does: id 0, or any id")
        train: list[Segment] = option(description="segments of an epoch")
        validation: list[Segment] = option(description="segments of the validation part")
        test: list[Segment] = option(description="segments of the test part")

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        for name in ("train", "validation", "test"):
            segments: list[Segment] = getattr(options, name)
            if not segments:
                raise RecipeError(f"task.{name} needs at least one segment")
            for segment in segments:
                _check(f"task.{name}", segment, options.vocabulary)

    @property
    def vocabulary(self) -> int:
        return int(self.options.vocabulary)

    @property
    def training(self) -> Sequence[Segment]:
        return list(self.options.train)

    def held_out(self, split: Split) -> Sequence[Segment]:
        return list(getattr(self.options, split))

    def name(self, segment: Segment) -> str:
        return f"{segment.length}x{segment.pairs}"

    @property
    def standard(self) -> Standard:
        test = self.held_out("test")
        floor = sum(segment.rows / segment.pairs for segment in test) / sum(segment.rows for segment in test)
        return Standard(
            metric="accuracy", chance=1 / self.vocabulary, floor=floor, trivial="one of the values in the row"
        )

    def draw(self, generator: np.random.Generator, segment: Segment, rows: int, *, part: Part) -> Rows:
        half, pairs = self.vocabulary // 2, segment.pairs
        keys = distinct(generator, rows, pairs, 1, half)
        values = distinct(generator, rows, pairs, half, self.vocabulary)
        # The order in which exponential clocks of these rates ring is that of draws without replacement.
        slots = np.arange((segment.length - 2 * pairs) // 2)
        clocks = generator.exponential(size=(rows, slots.size)) / (slots + 1.0) ** (self.options.power - 1)
        places = 2 * pairs + 2 * np.argsort(clocks, 1)[:, :pairs]
        inputs = np.zeros((rows, segment.length), np.int64)
        inputs[:, 0 : 2 * pairs : 2], inputs[:, 1 : 2 * pairs : 2] = keys, values
        targets = np.full_like(inputs, IGNORED)
        np.put_along_axis(inputs, places, keys, 1)
        np.put_along_axis(targets, places, values, 1)
        if self.options.filler == "random":
            inputs = np.where(inputs == 0, generator.integers(self.vocabulary, size=inputs.shape), inputs)
        return inputs, targets


def _check(where: str, segment: Segment, vocabulary: int) -> None:
    length, pairs = segment.length, segment.pairs
    if length % 2 or 4 * pairs > length:
        raise RecipeError(f"{where}: {pairs} pairs need an even length of at least {4 * pairs} tokens, got {length}")
    if vocabulary % 2 or pairs > vocabulary // 2 - 1:
        raise RecipeError(
            f"{where}: {pairs} distinct keys need an even vocabulary of at least {2 * pairs + 2}, got {vocabulary}"
        )
    if vocabulary <= length:
        raise RecipeError(f"{where}: the vocabulary must be larger than a row of {length} tokens, got {vocabulary}")
