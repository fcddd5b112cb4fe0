"""Whether two choices depend on each other, and what was seen of their combinations."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from optuna.distributions import CategoricalDistribution, json_to_distribution

from search.report.effects import numbers_of
from search.report.interval import holm
from search.report.linear import Design, Nested, nested
from search.report.observed import ABSENT, Observed, Panel, choices, is_stage

#: Why no candidate has these stages, or None.
Refuses = Callable[[Mapping[str, str]], str | None]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Trials with one level of each of two choices.

    Arguments:
        first, second: the levels.
        trials: complete ones; 0 where none was seen.
        mean: of the metric over them.
        deviation: of the trials' values; None of fewer than two.
        refused: why no candidate has both; empty where some has, or where it is not known.
    """

    first: str
    second: str
    trials: int
    mean: float | None
    deviation: float | None
    refused: str = ""


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """Two choices.

    Arguments:
        first, second: their names.
        test: what products of their levels bring to the additive model; None where one of them has a single level.
        p_holm: after Holm's correction over all pairs.
        cells: all combinations.
    """

    first: str
    second: str
    test: Nested | None
    p_holm: float | None
    cells: list[Cell]


def interactions(observed: Observed, panel: Panel, refuses: Refuses | None) -> list[Interaction]:
    """Every pair of choices, those that depend on each other most surely first.

    Arguments:
        refuses: tells combinations that the design refuses; None where it is not known.
    """
    panel, _ = numbers_of(panel)
    means = panel.values.mean(axis=1)
    by_name = {each.name: each for each in panel.factors}
    small = Design(panel.factors, panel.numbers) if panel.factors else None
    found = []
    for one, other in itertools.combinations(choices(observed.record), 2):
        test = None
        if small is not None and one in by_name and other in by_name:
            pair = (by_name[one], by_name[other])
            test = nested(means, small, Design(panel.factors, panel.numbers, products=[pair]))
        cells = _cells(observed, one, other, refuses)
        found.append(Interaction(first=one, second=other, test=test, p_holm=None, cells=cells))
    adjusted = holm([each.test.p if each.test else None for each in found])
    corrected = [replace(each, p_holm=p) for each, p in zip(found, adjusted, strict=True)]
    return sorted(corrected, key=lambda each: _order(each.test))


def _order(test: Nested | None) -> tuple[bool, float]:
    return (test is None or test.p is None, 0.0 if test is None or test.p is None else test.p)


def _cells(observed: Observed, one: str, other: str, refuses: Refuses | None) -> list[Cell]:
    values: dict[tuple[str, str], list[float]] = {}
    for each in observed.complete:
        key = (_level(each.params, one), _level(each.params, other))
        values.setdefault(key, []).append(each.quality)
    firsts = sorted(_known(observed, one) | {first for first, _ in values})
    seconds = sorted(_known(observed, other) | {second for _, second in values})
    # Stages of two layers never refuse each other.
    together = all(is_stage(name, observed.record) for name in (one, other)) and (
        one.rpartition(".")[0] == other.rpartition(".")[0]
    )
    cells = []
    for first, second in itertools.product(firsts, seconds):
        seen = values.get((first, second), [])
        why = None
        if not seen and refuses is not None and together and ABSENT not in (first, second):
            why = refuses({one: first, other: second})
        cells.append(
            Cell(
                first=first,
                second=second,
                trials=len(seen),
                mean=float(np.mean(seen)) if seen else None,
                deviation=float(np.std(seen, ddof=1)) if len(seen) > 1 else None,
                refused=why or "",
            )
        )
    return cells


def _level(params: Mapping[str, object], name: str) -> str:
    return str(params[name]) if name in params else ABSENT


def _known(observed: Observed, name: str) -> set[str]:
    """All levels that the space has."""
    distribution = json_to_distribution(observed.record.space[name])
    return set(map(str, distribution.choices)) if isinstance(distribution, CategoricalDistribution) else set()
