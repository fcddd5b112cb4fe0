"""Induction heads: what followed a special token when it came first is asked when it comes again.

Equation: x uniform in V − 1 plain ids; a special id at a place p, uniform in 1 … T − 2, and at T; the answer is x_{p+1}
Metric: accuracy, the share of rows whose answer is right
Chance: 1/V, one of all ids
Floor: 1/(V − 1), one of the plain ids
Source: arXiv:2312.00752, section 4.1.2 (V = 16, T = 256; asked up to T = 2^20); arXiv:2212.14052, section 3.1
"""

from collections.abc import Sequence

import numpy as np

from eos.config import option, options
from eos.tasks.formal.segments import Lengths, check_lengths
from eos.tasks.generated.task import AbstractGeneratedTask, Length, Part, Rows
from eos.tasks.task import IGNORED, Split, Standard


class InductionHeadsTask(AbstractGeneratedTask[Length]):
    """Ids 0 … V − 2 are plain, V − 1 is special. One answer a row, at its last position."""

    @options
    class Options(Lengths):
        """How many tokens there are to tell apart."""

        vocabulary: int = option(16, "token ids V, the special one among them", low=3, high=2**20)

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        check_lengths(options, 3)

    @property
    def vocabulary(self) -> int:
        return int(self.options.vocabulary)

    @property
    def training(self) -> Sequence[Length]:
        return list(self.options.train)

    def held_out(self, split: Split) -> Sequence[Length]:
        return list(getattr(self.options, split))

    @property
    def standard(self) -> Standard:
        return Standard(
            metric="accuracy",
            chance=1 / self.vocabulary,
            floor=1 / (self.vocabulary - 1),
            trivial="one of the plain ids",
        )

    def draw(self, generator: np.random.Generator, segment: Length, rows: int, *, part: Part) -> Rows:
        special = self.vocabulary - 1
        inputs = generator.integers(special, size=(rows, segment.length))
        row, place = np.arange(rows), generator.integers(segment.length - 2, size=rows)
        inputs[row, place] = inputs[:, -1] = special
        targets = np.full_like(inputs, IGNORED)
        targets[:, -1] = inputs[row, place + 1]
        return inputs, targets
