"""Differences of trials that differ in one choice alone."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from search.report.interval import Interval, holm, mean_interval
from search.report.observed import Observation, Observed, choices

#: Runs by level and seed, in one context.
Context = dict[str, dict[int, list[float]]]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two levels of a choice, all else being equal; + where the first is better.

    Arguments:
        factor: the choice.
        level, other: its two values.
        contexts: settings in which both were run.
        pairs: of seeds, over all contexts.
        value: the mean over contexts, each with the same weight.
        interval: over contexts; of one context over its seeds; None of one seed there.
        p_holm: after Holm's correction over all pairs of levels that have a test.
        note: what it rests on, where that is not several contexts.
    """

    factor: str
    level: str
    other: str
    contexts: int
    pairs: int
    value: float
    interval: Interval | None
    p_holm: float | None = None
    note: str = ""


def differences(observed: Observed) -> list[Difference]:
    """Every pair of levels that was run with all else equal, the options of the choice itself apart."""
    found: list[Difference] = []
    for name in choices(observed.record):
        contexts: dict[tuple[Any, ...], Context] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
        for each in observed.complete:
            if name in each.params:
                cells = contexts[_rest(each.params, name)][str(each.params[name])]
                for seed, value in _by_seed(each).items():
                    cells[seed].append(observed.sign * value)
        levels = sorted({level for context in contexts.values() for level in context})
        for level, other in itertools.combinations(levels, 2):
            difference = _difference(name, level, other, contexts.values())
            if difference is not None:
                found.append(difference)
    adjusted = holm([each.interval.p if each.interval else None for each in found])
    corrected = [replace(each, p_holm=p) for each, p in zip(found, adjusted, strict=True)]
    return sorted(corrected, key=lambda each: (each.p_holm is None, each.p_holm, -each.contexts, each.factor))


def _by_seed(each: Observation) -> Mapping[int, float]:
    return each.seeds or {0: each.quality}


def _rest(params: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    """All parameters but a choice and its options."""
    prefix = f"{name}."
    return tuple(
        sorted((key, repr(value)) for key, value in params.items() if key != name and not key.startswith(prefix))
    )


def _difference(name: str, level: str, other: str, contexts: Iterable[Context]) -> Difference | None:
    means, pairs = [], []
    for context in contexts:
        if level not in context or other not in context:
            continue
        shared = sorted(context[level].keys() & context[other].keys())
        if shared:
            pairs.append([fmean(context[level][seed]) - fmean(context[other][seed]) for seed in shared])
            means.append(fmean(pairs[-1]))
    if not means:
        return None
    size = max(abs(value) for seeds in pairs for value in seeds)
    if len(means) > 1:
        interval, note = mean_interval(means, scale=size), ""
    else:
        interval = mean_interval(pairs[0], scale=size)
        note = "one context" if len(pairs[0]) > 1 else "one context, one seed"
    if interval is None and "one seed" not in note:
        note = f"{note}, no variance, no test".removeprefix(", ")
    return Difference(
        factor=name,
        level=level,
        other=other,
        contexts=len(means),
        pairs=sum(map(len, pairs)),
        value=fmean(means),
        interval=interval,
        note=note,
    )
