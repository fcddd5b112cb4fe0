"""Selective copying: data among blanks, told again in their order at the end of the row.

Equation: n data x, uniform, and L − 2n − 1 blanks, each before a datum drawn uniformly; an id that asks; n blanks,
    where x_1 … x_n are the answers
Metric: macro_accuracy, the share right of each id that is asked for, on average over ids; accuracy, of a row's answers
Chance: A/V², the A data one time in V, and the two other ids count as classes
Floor: 1/A, always the same datum
Source: arXiv:2403.17844; its public generator, mad/data/instances.py
"""

import numpy as np

from eos.config import option, options
from eos.errors import RecipeError
from eos.tasks.generated.task import Length, Part, Rows
from eos.tasks.mad.task import AbstractMadTask, MadOptions
from eos.tasks.task import IGNORED, Standard


class SelectiveCopyingTask(AbstractMadTask):
    """Data are ids 0 … V − 3, V − 2 is blank, V − 1 asks; no blank stands between the last datum and what asks."""

    @options
    class Options(MadOptions):
        """The rows, and how much of them is copied."""

        vocabulary: int = option(16, "token ids V", low=3, high=2**20)
        length: int = option(256, "tokens L of a row", low=4)
        copied: int = option(16, "data n of a row", low=1)

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        if options.length < 2 * options.copied + 2:
            raise RecipeError(
                f"task.copied = {options.copied} needs a task.length of at least {2 * options.copied + 2}, "
                f"got {options.length}"
            )

    @property
    def answers(self) -> int:
        return self.vocabulary - 2

    @property
    def tokens(self) -> int:
        return int(self.options.length)

    @property
    def standard(self) -> Standard:
        return self.against(floor=1 / self.answers, trivial="always the same datum")

    def draw(self, generator: np.random.Generator, segment: Length, rows: int, *, part: Part) -> Rows:
        copied = int(self.options.copied)
        blanks = segment.length - 2 * copied - 1
        data = generator.integers(self.answers, size=(rows, copied))
        before = generator.multinomial(blanks, np.full(copied, 1 / copied), size=rows)
        inputs = np.full((rows, segment.length), self.vocabulary - 2)
        np.put_along_axis(inputs, before.cumsum(1) + np.arange(copied), data, 1)
        inputs[:, copied + blanks] = self.vocabulary - 1
        targets = np.full_like(inputs, IGNORED)
        targets[:, -copied:] = data
        return inputs, targets
