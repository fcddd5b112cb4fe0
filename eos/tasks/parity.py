"""Parity: whether the ones so far are odd, the smallest state that a memory must follow.

Equation: x = (start, b_1 … b_{T−1}), b uniform in {0, 1}; the answer at t is Σ_{s≤t} b_s mod 2
Metric: accuracy, the share of a row's last positions that are right, on average over rows
Chance: 1/2, one of the two answers
Floor: 1/2, always the same answer
Source: arXiv:2207.02098 (only the end asked); arXiv:2411.12537 (lengths 3–40, then 40–256)
"""

import numpy as np

from eos.config import option, options
from eos.tasks.formal.states import AbstractStateTask, StateOptions, Tokens
from eos.tasks.generated.task import Rows
from eos.tasks.task import IGNORED, Standard

START = 2


class ParityTask(AbstractStateTask):
    """Ids 0 and 1 are bits and answers, 2 starts a row, where nothing is asked."""

    @options
    class Options(StateOptions):
        """The rows, and how many last positions are graded."""

        last: int | None = option(8, "last positions of a held-out row that are graded; null: all of them", low=1)

    @property
    def vocabulary(self) -> int:
        return 3

    @property
    def least(self) -> int:
        return 2

    @property
    def graded(self) -> int | None:
        return None if self.options.last is None else int(self.options.last)

    @property
    def standard(self) -> Standard:
        return Standard(metric="accuracy", chance=0.5, floor=0.5, trivial="always the same answer")

    def follow(self, generator: np.random.Generator, lengths: Tokens, longest: int) -> Rows:
        bits = generator.integers(2, size=(len(lengths), longest))
        bits[:, 0] = 0
        states = bits.cumsum(1) % 2
        bits[:, 0], states[:, 0] = START, IGNORED
        return bits, states
