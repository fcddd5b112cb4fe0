"""Word problem of a group: the product of the elements so far.

Equation: x_t uniform over the elements of a group; the answer at t is x_1 · x_2 ⋯ x_t
Metric: accuracy, the share of a row's graded positions that are right, on average over rows
Chance: 1/n, one of the group's n elements
Floor: the latest element itself, which is the product of a row of one
Source: arXiv:2404.08819 (A5, Z60); arXiv:2411.12537 (S5, and of few moved letters alone)
"""

import numpy as np

from eos.config import option, options
from eos.errors import RecipeError
from eos.tasks.formal.groups import GroupName, elements, moved, products
from eos.tasks.formal.states import AbstractStateTask, StateOptions, Tokens
from eos.tasks.formal.trivial import guessing
from eos.tasks.generated.task import Rows
from eos.tasks.task import Standard


class WordProblemTask(AbstractStateTask):
    """Ids are elements, the identity first: A5 and S5 are permutations of five letters, Z60 are numbers modulo 60.

    A5 is the smallest group that no fixed number of layers of commuting memories follows, S5 contains it, and Z60 is
    as large as A5 and commutes.
    """

    @options
    class Options(StateOptions):
        """The group, and which of its elements are tokens."""

        group: GroupName = option("A5", "even permutations of five letters, all of them, or numbers modulo 60")
        moved: int | None = option(
            None, "tokens are the elements that move at most so many letters: 2 in S5, 3 in A5; null: all", low=2
        )
        last: int | None = option(None, "last positions of a held-out row that are graded; null: all of them", low=1)

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._tokens = np.arange(self.vocabulary)
        if options.moved is not None:
            self._tokens = np.flatnonzero(moved(options.group) <= options.moved)
            if len(self._tokens) < 2:
                least = np.unique(moved(options.group))[1]
                raise RecipeError(
                    f"task.moved = {options.moved}: in {options.group} whatever moves a letter moves at least {least}"
                )

    @property
    def vocabulary(self) -> int:
        return len(elements(self.options.group))

    @property
    def least(self) -> int:
        return 1

    @property
    def graded(self) -> int | None:
        return None if self.options.last is None else int(self.options.last)

    @property
    def standard(self) -> Standard:
        floor = guessing(self, lambda batch: batch.inputs)
        return Standard(
            metric="accuracy", chance=1 / self.vocabulary, floor=floor, trivial="the latest element of the row"
        )

    def follow(self, generator: np.random.Generator, lengths: Tokens, longest: int) -> Rows:
        inputs = self._tokens[generator.integers(len(self._tokens), size=(len(lengths), longest))]
        table, states = products(self.options.group), inputs.copy()
        for place in range(1, longest):
            states[:, place] = table[states[:, place - 1], inputs[:, place]]
        return inputs, states
