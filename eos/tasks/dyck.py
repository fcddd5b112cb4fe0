"""Dyck language of bounded depth: brackets of several kinds, and which of them closes.

Equation: at depth 0 a bracket opens, at depth m one closes, else each with probability 1/2; kinds are uniform in 1 … k
Metric: accuracy, the share of a row's closing brackets that are foretold, on average over rows
Chance: 1/k, one of the k kinds
Floor: the kind that opened last, right where nothing was nested in between
Source: arXiv:2010.07515 (Dyck-(k, m), closing brackets graded); arXiv:1911.03329 (Dyck-n)
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from eos.config import option, options
from eos.tasks.formal.segments import Lengths, check_lengths
from eos.tasks.formal.trivial import guessing
from eos.tasks.generated.task import AbstractGeneratedTask, Length, Part, Rows
from eos.tasks.task import IGNORED, Batch, Split, Standard


class DyckTask(AbstractGeneratedTask[Length]):
    """Ids 0 … k − 1 open, k … 2k − 1 close. The label at a position is the next token, where that closes.

    A row is the beginning of a well-nested text, of which it may leave brackets open.
    """

    @options
    class Options(Lengths):
        """The language, and what training asks."""

        kinds: int = option(2, "kinds of brackets k", low=1, high=1024)
        depth: int = option(8, "brackets open at once, at most m", low=1, high=1024)
        ask: Literal["closing", "next"] = option(
            "closing", "what training asks: the bracket that closes, where one does; or every next token"
        )

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        # So many tokens hold a bracket that closes in every row.
        check_lengths(options, options.depth)

    @property
    def vocabulary(self) -> int:
        return 2 * int(self.options.kinds)

    @property
    def training(self) -> Sequence[Length]:
        return list(self.options.train)

    def held_out(self, split: Split) -> Sequence[Length]:
        return list(getattr(self.options, split))

    @property
    def standard(self) -> Standard:
        return Standard(
            metric="accuracy",
            chance=1 / self.options.kinds,
            floor=guessing(self, self._opened_last),
            trivial="the kind of the bracket that opened last",
        )

    def _opened_last(self, batch: Batch) -> Tensor:
        kinds, ids = int(self.options.kinds), batch.inputs
        places = torch.where(ids < kinds, torch.arange(ids.shape[1]), 0).cummax(1).values
        return ids.gather(1, places) + kinds

    def draw(self, generator: np.random.Generator, segment: Length, rows: int, *, part: Part) -> Rows:
        kinds, most = int(self.options.kinds), int(self.options.depth)
        count = segment.length + 1
        rises, opened = generator.random((rows, count)) < 0.5, generator.integers(kinds, size=(rows, count))
        text, open_now = np.empty((rows, count), np.int64), np.zeros((rows, most), np.int64)
        depth, row = np.zeros(rows, np.int64), np.arange(rows)
        for place in range(count):
            opens = (rises[:, place] | (depth == 0)) & (depth < most)
            depth -= ~opens
            # where one closes, its kind is on top; where one opens, it takes that place
            top = np.where(opens, opened[:, place], open_now[row, depth])
            open_now[row, depth] = top
            text[:, place] = np.where(opens, top, kinds + top)
            depth += opens
        following = text[:, 1:]
        every = part == "train" and self.options.ask == "next"
        return text[:, :-1].copy(), following.copy() if every else np.where(following >= kinds, following, IGNORED)
