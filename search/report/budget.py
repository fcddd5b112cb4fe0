"""The best trials for what they cost, and the front of quality against cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.report.interval import Interval, mean_interval
from search.report.observed import UNITS, Observation, Observed
from search.report.table import amount

#: A cost that differs by less than this, relative, is the same for all.
SAME = 0.2


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best trial of a range of a cost, by validation.

    Arguments:
        cost: which cost; empty for all trials.
        low, high: of the trials in the range.
        trials: how many there are in it.
        winner: the best of them.
        interval: of its validation metric, over seeds; None of one seed, or where seeds do not differ.
        test: its mean on the test part, where that is known.
        test_interval: of that.
        ties: how many others are not told apart from it, paired by seed and not corrected; None with one seed.
    """

    cost: str
    low: float | None
    high: float | None
    trials: int
    winner: Observation
    interval: Interval | None
    test: float | None
    test_interval: Interval | None
    ties: int | None


def costs(observed: Observed) -> list[str]:
    """What trials cost, where it differs between them; of what was sought by however little."""
    sought = observed.record.search.objectives
    found = []
    for name, values in _known(observed).items():
        apart = max(values) > min(values) if name in sought else max(values) > (1 + SAME) * min(values)
        if apart:
            found.append(name)
    return found


def without_ranges(observed: Observed) -> list[str]:
    """Why a cost, or an objective, has no ranges, a sentence each."""
    known, with_ranges = _known(observed), costs(observed)
    said = []
    for name, values in known.items():
        low, high = amount(min(values)), amount(max(values))
        if name in with_ranges:
            continue
        if min(values) == max(values):
            said.append(f"All have {low} {UNITS[name]}, so there are no ranges of it.")
        else:
            said.append(
                f"There are no ranges of {low} to {high} {UNITS[name]}, which differ by no more than {SAME:.0%}."
            )
    missing = [name for name in observed.record.search.objectives if name not in ("quality", *known)]
    return [*said, *(f"The objective {name} is known of no trial." for name in missing)]


def _known(observed: Observed) -> dict[str, list[float]]:
    """The costs that are known of some trials."""
    values = {name: [each.costs[name] for each in observed.complete if name in each.costs] for name in UNITS}
    return {name: each for name, each in values.items() if each}


def best(observed: Observed) -> list[Best]:
    """The best of all, then of each range of each cost."""
    found = [_best(observed, observed.complete, cost="")]
    for name in costs(observed):
        held = [each for each in observed.complete if name in each.costs]
        for group in _ranges(held, name):
            found.append(_best(observed, group, cost=name))
    return found


def _ranges(held: Sequence[Observation], name: str) -> list[list[Observation]]:
    """Decades where the costs span more than one, else thirds of the trials in the order of their costs."""
    ordered = sorted(held, key=lambda each: each.costs[name])
    values = np.array([each.costs[name] for each in ordered])
    if values[0] > 0 and values[-1] / values[0] > 10:
        places = np.floor(np.log10(values) + 1e-9).astype(int)
    else:
        # Equal costs stand in one range.
        places = np.searchsorted(np.quantile(values, [1 / 3, 2 / 3], method="inverted_cdf"), values)
    return [[each for each, at in zip(ordered, places, strict=True) if at == place] for place in sorted(set(places))]


def _best(observed: Observed, group: Sequence[Observation], *, cost: str) -> Best:
    winner = max(group, key=lambda each: (observed.sign * each.quality, -each.number))
    own = [each.costs[cost] for each in group] if cost else []
    tests = list(winner.tests.values())
    return Best(
        cost=cost,
        low=min(own, default=None),
        high=max(own, default=None),
        trials=len(group),
        winner=winner,
        interval=mean_interval(list(winner.seeds.values())),
        test=float(np.mean(tests)) if tests else None,
        test_interval=mean_interval(tests),
        ties=_ties(winner, group),
    )


def _ties(winner: Observation, group: Sequence[Observation]) -> int | None:
    if len(winner.seeds) < 2:
        return None
    ties = 0
    for each in group:
        shared = sorted(winner.seeds.keys() & each.seeds.keys())
        if each is winner:
            continue
        gaps = [winner.seeds[seed] - each.seeds[seed] for seed in shared]
        interval = mean_interval(gaps, scale=abs(winner.quality))
        # Seeds that all differ by the same amount tell them apart, unless that is nothing.
        same = interval is None and (len(gaps) < 2 or math.isclose(winner.quality, each.quality))
        ties += same or (interval is not None and interval.covers_zero)
    return ties


def front(observed: Observed, cost: str) -> list[Observation]:
    """The trials that no other one is better than at the same or a smaller cost, the cheapest first."""
    held = [each for each in observed.complete if cost in each.costs]
    found: list[Observation] = []
    for each in sorted(held, key=lambda each: (each.costs[cost], -observed.sign * each.quality, each.number)):
        if not found or observed.sign * each.quality > observed.sign * found[-1].quality:
            found.append(each)
    return found
