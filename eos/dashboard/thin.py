"""Curves as a page holds them: few points that keep every extreme, and the means between, from which it smooths."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from eos.dashboard.log import Curve

#: Points of a curve that a page holds: the first, the last, and a smallest and a largest of each bucket.
POINTS = 300

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Thinned:
    """A curve of one run.

    Arguments:
        steps, values: of its points, in the order of the steps; not finite where a bucket holds nothing else.
        mean_steps, means: of the finite values of each bucket.
        mean_seconds: training time at these steps.
        gaps: the first and the last step of every bucket that holds a value that is not finite.
    """

    steps: Steps
    values: Floats
    mean_steps: Steps
    means: Floats
    mean_seconds: Floats
    gaps: list[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Band:
    """The mean of a curve over the seeds of a cell, with its 95 % t-interval.

    Arguments:
        steps: that all runs that came so far have in common, thinned to bucket means.
        mean, low, high: low and high are the mean where there is one run alone.
        runs: from which step on how many runs went into it.
    """

    steps: Steps
    mean: Floats
    low: Floats
    high: Floats
    runs: list[tuple[int, int]]


def bucket_count(points: int) -> int:
    """How many buckets make so many points."""
    return (points - 2) // 2


def thin(curve: Curve, *, points: int = POINTS) -> Thinned:
    """At most ``points``, among them the first, the last, and of each of the buckets of equal size the extremes."""
    steps, values, seconds = curve.steps, curve.values, curve.seconds
    finite = np.isfinite(values)
    if len(steps) <= points:
        return Thinned(
            steps=steps,
            values=values,
            mean_steps=steps,
            means=values,
            mean_seconds=seconds,
            gaps=[(int(step), int(step)) for step in steps[~finite]],
        )
    starts = _starts(len(steps), points)
    ends = np.append(starts[1:], len(steps))
    places = starts[:, None] + np.arange((ends - starts).max())
    # A bucket without a finite value gives its first place, twice.
    inside = (places < ends[:, None]) & finite[np.minimum(places, len(steps) - 1)]
    held = values[np.minimum(places, len(steps) - 1)]
    lowest = starts + np.where(inside, held, np.inf).argmin(1)
    highest = starts + np.where(inside, held, -np.inf).argmax(1)
    chosen = np.unique(np.concatenate([[0], lowest, highest, [len(steps) - 1]]))
    counts = np.add.reduceat(finite, starts)
    sums = np.add.reduceat(np.where(finite, values, 0.0), starts)
    middle = (starts + ends - 1) // 2
    spoiled = counts < ends - starts
    return Thinned(
        steps=steps[chosen],
        values=values[chosen],
        mean_steps=steps[middle],
        means=np.divide(sums, counts, out=np.full(len(starts), np.nan), where=counts > 0),
        mean_seconds=seconds[middle],
        gaps=[(int(steps[a]), int(steps[b - 1])) for a, b in zip(starts[spoiled], ends[spoiled], strict=True)],
    )


def band(curves: list[Curve], *, points: int = POINTS) -> Band | None:
    """Mean and interval over runs at the steps that all logged that came so far; None where they share none.

    A run that ends earlier goes into the mean up to its end, and one that stops being finite up to there.
    """
    curves = [held for curve in curves if (held := _while_finite(curve)) is not None]
    if not curves:
        return None
    steps = max((curve.steps for curve in curves), key=lambda steps: int(steps[-1]))
    table = np.full((len(curves), len(steps)), np.nan)
    there = np.zeros_like(table, dtype=bool)
    shared = np.ones(len(steps), dtype=bool)
    for row, curve in enumerate(curves):
        _, mine, its = np.intersect1d(steps, curve.steps, return_indices=True)
        table[row, mine], there[row, mine] = curve.values[its], True
        shared &= there[row] | (steps > curve.steps[-1])
    if not there[:, shared].all(1).any() or not there[:, shared].any(1).all():
        return None
    steps, table, there = steps[shared], table[:, shared], there[:, shared]
    count = there.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(there, table, 0.0).sum(0) / count
        apart = np.where(there, table - mean, 0.0)
        error = np.sqrt((apart**2).sum(0) / (count - 1) / count)
        half = np.where(count > 1, stdtrit(np.maximum(count - 1, 1), 0.975) * error, 0.0)
    return _bucketed(steps, mean, half, count, points)


def _while_finite(curve: Curve) -> Curve | None:
    """The curve up to its first value that is not finite; None where it begins with one."""
    lost = np.flatnonzero(~np.isfinite(curve.values))
    if not len(lost):
        return curve
    end = lost[0]
    return Curve(steps=curve.steps[:end], seconds=curve.seconds[:end], values=curve.values[:end]) if end else None


def _bucketed(steps: Steps, mean: Floats, half: Floats, count: NDArray[np.int64], points: int) -> Band:
    changes = [0, *(np.flatnonzero(np.diff(count)) + 1).tolist()]
    runs = [(int(steps[place]), int(count[place])) for place in changes]
    if len(steps) > bucket_count(points):
        starts = _starts(len(steps), points)
        sizes = np.diff(np.append(starts, len(steps)))
        mean, half = (np.add.reduceat(values, starts) / sizes for values in (mean, half))
        steps = steps[starts + (sizes - 1) // 2]
    return Band(steps=steps, mean=mean, low=mean - half, high=mean + half, runs=runs)


def _starts(count: int, points: int) -> NDArray[np.int64]:
    buckets = bucket_count(points)
    return np.arange(buckets) * count // buckets
