"""A task that follows a state: every token changes it, and it is asked at every position or at the end."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eos.config import option, options
from eos.errors import RecipeError
from eos.tasks.generated.task import AbstractGeneratedTask, Part, Rows
from eos.tasks.task import IGNORED, Split

Tokens = NDArray[np.int64]


@options
class Span:
    """Rows of one length, or of lengths drawn evenly up to it."""

    length: int = option(description="tokens T of a row", low=1)
    shortest: int | None = option(
        None, "a row has shortest ≤ n ≤ length tokens, every n as often, and id 0 after them; null: all have T", low=1
    )
    rows: int = option(description="how many there are", low=1)


@options
class StateOptions:
    """The rows, and where training asks."""

    ask: Literal["every", "last"] = option(
        "every", "where training asks: at every position, or only where held-out rows are graded"
    )
    train: list[Span] = option(description="segments of an epoch")
    validation: list[Span] = option(description="segments of the validation part")
    test: list[Span] = option(description="segments of the test part, each graded by itself too")


class AbstractStateTask(AbstractGeneratedTask[Span]):
    """The label at a position is the state after its token; held-out rows are graded at their last positions.

    Early states are easy, and would lift the mean over all positions.
    """

    def __init__(self, options: StateOptions) -> None:
        super().__init__(options)
        for part in ("train", "validation", "test"):
            segments: list[Span] = getattr(options, part)
            if not segments:
                raise RecipeError(f"task.{part} needs at least one segment")
            for segment in segments:
                self._check(f"task.{part}", segment)

    def _check(self, where: str, segment: Span) -> None:
        shortest, longest, step = _shortest(segment), segment.length, self.step
        if shortest > longest:
            raise RecipeError(f"{where}: shortest must be at most the length {longest}, got {shortest}")
        if shortest < self.least or (shortest - self.least) % step or (longest - self.least) % step:
            allowed = "" if step == 1 else f", and {step} more, and so on"
            raise RecipeError(
                f"{where}: a row of this task has at least {self.least} tokens{allowed}; got {shortest} to {longest}"
            )

    @property
    @abstractmethod
    def least(self) -> int:
        """The fewest tokens of a row."""

    @property
    def step(self) -> int:
        """How far possible lengths are apart."""
        return 1

    @property
    @abstractmethod
    def graded(self) -> int | None:
        """How many last positions of a held-out row are graded; None for all."""

    @abstractmethod
    def follow(self, generator: np.random.Generator, lengths: Tokens, longest: int) -> Rows:
        """Tokens [rows, longest] and the state after each; −100 where it is no answer.

        Arguments:
            lengths: tokens n of each row [rows], least ≤ n ≤ longest; what stands after them does not matter.
        """

    @property
    def training(self) -> Sequence[Span]:
        return list(self.options.train)

    def held_out(self, split: Split) -> Sequence[Span]:
        return list(getattr(self.options, split))

    def name(self, segment: Span) -> str:
        shortest = _shortest(segment)
        return str(segment.length) if shortest == segment.length else f"{shortest}_to_{segment.length}"

    def draw(self, generator: np.random.Generator, segment: Span, rows: int, *, part: Part) -> Rows:
        longest, shortest = segment.length, _shortest(segment)
        lengths = shortest + self.step * generator.integers((longest - shortest) // self.step + 1, size=rows)
        inputs, states = self.follow(generator, lengths, longest)
        left = lengths[:, None] - np.arange(longest)
        asked = left > 0
        if self.graded is not None and (part != "train" or self.options.ask == "last"):
            asked = asked & (left <= self.graded)
        return np.where(left > 0, inputs, 0), np.where(asked, states, IGNORED)


def _shortest(segment: Span) -> int:
    return segment.length if segment.shortest is None else segment.shortest
