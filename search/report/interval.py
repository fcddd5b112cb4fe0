"""Means with intervals, and corrections for many comparisons."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit

from eos.training.group import CONFIDENCE, spread

#: Of what is compared, below which a deviation is rounding.
ROUNDING = 1e-10


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Where a mean or an effect lies with 95 % confidence, by Student's t.

    Arguments:
        low, high: its ends.
        p: of the test that the value is zero.
        degrees: of freedom.
    """

    low: float
    high: float
    p: float
    degrees: int

    @property
    def half(self) -> float:
        """Half of its width."""
        return (self.high - self.low) / 2

    @property
    def covers_zero(self) -> bool:
        """Whether zero lies in it."""
        return self.low <= 0 <= self.high


def student(value: float, error: float, degrees: int, *, scale: float = 0.0) -> Interval | None:
    """The interval of a value with this standard error; None where nothing varies, or no degree of freedom is left.

    Arguments:
        scale: size of the numbers that the value comes from; an error far below it is rounding.
    """
    if degrees < 1 or not error > ROUNDING * max(abs(value), scale):
        return None
    half = float(stdtrit(degrees, (1 + CONFIDENCE) / 2)) * error
    p = 2 * float(stdtr(degrees, -abs(value / error)))
    return Interval(low=value - half, high=value + half, p=p, degrees=degrees)


def mean_interval(values: Sequence[float], *, scale: float = 0.0) -> Interval | None:
    """The interval of the mean; None of fewer than two values, and where they do not vary."""
    found = spread(list(values)) if values else None
    if found is None or found.mean is None or found.std is None:
        return None
    return student(found.mean, found.std / math.sqrt(len(values)), len(values) - 1, scale=scale)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Each p after Holm's correction for as many comparisons as there are numbers; None stays."""
    known = sorted((p, place) for place, p in enumerate(values) if p is not None)
    adjusted: list[float | None] = [None] * len(values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = largest
    return adjusted
