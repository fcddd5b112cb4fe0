"""How much of the quality each parameter decides, by fANOVA and by PED-ANOVA."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
from optuna.trial import create_trial

from search.report.linear import Matrix
from search.report.observed import Observation, Observed

#: Complete trials below which no importance is given.
FEWEST = 10
#: Forests of all trials, resamples of the trials, and trees of each forest.
FORESTS, REPEATS, TREES = 3, 10, 16
#: PED-ANOVA asks what tells the best trials apart: this share of them, and at least so many.
TOP, TOP_TRIALS = 0.1, 5

#: Parameters with their distributions, and what fANOVA and PED-ANOVA find.
Point = tuple[dict[str, Any], dict[str, BaseDistribution]]
Pair = tuple[dict[str, float], dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Share:
    """An importance, and how far it goes over resamples of the trials.

    Arguments:
        value: of all trials.
        low, high: the smallest and the largest of ten resamples; a spread, not an interval of confidence.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Importance:
    """A parameter.

    Arguments:
        name: of it.
        trials: that have it.
        everywhere: whether that is all of them.
        fanova: the share of the variance that it explains alone.
        ped_anova: its share in what tells the best trials from all; the shares sum to 1.
        note: why there is no number.
    """

    name: str
    trials: int
    everywhere: bool
    fanova: Share | None
    ped_anova: Share | None
    note: str = ""


def importances(observed: Observed) -> list[Importance]:
    """Of parameters that all trials have, over all; of others, over the trials that have them."""
    trials = observed.complete
    names = sorted({name for each in trials for name in each.params})
    groups: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        groups.setdefault(tuple(each.number for each in trials if name in each.params), []).append(name)
    found: list[Importance] = []
    for numbers, owned in groups.items():
        held = [each for each in trials if each.number in set(numbers)]
        found += _group(held, owned, sign=observed.sign, everywhere=len(held) == len(trials))
    return sorted(found, key=lambda each: (not each.everywhere, -(each.fanova.value if each.fanova else -1), each.name))


def _group(held: Sequence[Observation], owned: Sequence[str], *, sign: int, everywhere: bool) -> list[Importance]:
    """The importances of some parameters, beside all others that these trials have."""
    shared = [name for name in held[0].params if all(name in each.params for each in held)]
    varied = [name for name in shared if len({repr(each.params[name]) for each in held}) > 1]
    values = np.array([sign * each.quality for each in held])
    note = ""
    if len(held) < FEWEST:
        note = f"too few trials: {len(held)} of at least {FEWEST}"
    elif float(np.ptp(values)) <= 1e-12 * float(np.abs(values).max()):
        note = "no variance"
    fanova: dict[str, Share] = {}
    ped_anova: dict[str, Share] = {}
    if not note and any(name in varied for name in owned):
        fanova, ped_anova = _shares(held, values, varied)
    return [
        Importance(
            name=name,
            trials=len(held),
            everywhere=everywhere,
            fanova=fanova.get(name),
            ped_anova=ped_anova.get(name),
            note=note or ("" if name in varied else "one value alone"),
        )
        for name in owned
    ]


def _shares(
    held: Sequence[Observation], values: Matrix, varied: Sequence[str]
) -> tuple[dict[str, Share], dict[str, Share]]:
    generator = np.random.default_rng(0)
    every = np.arange(len(held))
    plain = [_kept(each, varied) for each in held]
    first: list[Pair] = []
    more: list[Pair] = []
    for repeat in range(FORESTS + REPEATS):
        rows = every if repeat < FORESTS else generator.choice(every, len(every))
        coded = _coded(held, varied, generator)
        pair = _both([plain[row] for row in rows], [coded[row] for row in rows], values[rows], seed=repeat)
        (first if repeat < FORESTS else more).append(pair)
    found: list[dict[str, Share]] = []
    for method in (0, 1):
        shares = {}
        for name in varied:
            again = [pair[method][name] for pair in more if pair[method]]
            own = [pair[method][name] for pair in first if pair[method]]
            if own and again:
                value = float(np.mean(own))
                shares[name] = Share(value=value, low=min(value, *again), high=max(value, *again))
        found.append(shares)
    return found[0], found[1]


def _both(plain: Sequence[Point], coded: Sequence[Point], values: Matrix, *, seed: int) -> Pair:
    """fANOVA and PED-ANOVA of some trials; empty where their quality does not vary."""
    if float(np.ptp(values)) == 0:
        return {}, {}
    names = list(plain[0][0])
    quantile = min(0.5, max(TOP, TOP_TRIALS / len(plain)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        by_forest = FanovaImportanceEvaluator(n_trees=TREES, seed=seed).evaluate(_study(coded, values), params=names)
        evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
        by_best = evaluator.evaluate(_study(plain, values), params=names)
    total = sum(by_best.values())
    shares = {name: float(value) / total if total > 0 else 0.0 for name, value in by_best.items()}
    return {name: float(value) for name, value in by_forest.items()}, shares


def _kept(each: Observation, varied: Sequence[str]) -> Point:
    distributions = each.trial.distributions
    return {name: each.params[name] for name in varied}, {name: distributions[name] for name in varied}


def _coded(held: Sequence[Observation], varied: Sequence[str], generator: np.random.Generator) -> list[Point]:
    """The trials with levels that occur as whole numbers, in an order drawn anew, and logarithms where they are meant.

    Optuna's forest has an indicator for each level of a choice, and its integral over the space takes twice as long
    for each.
    """
    points: list[Point] = [({}, {}) for _ in held]
    for name in varied:
        distribution = held[0].trial.distributions[name]
        own = [each.params[name] for each in held]
        if isinstance(distribution, CategoricalDistribution):
            levels = list(dict.fromkeys(map(repr, own)))
            order = generator.permutation(len(levels))
            own = [int(order[levels.index(repr(value))]) for value in own]
            distribution = IntDistribution(0, len(levels) - 1)
        elif isinstance(distribution, FloatDistribution | IntDistribution) and distribution.log:
            own = [math.log(value) for value in own]
            distribution = FloatDistribution(math.log(distribution.low), math.log(distribution.high))
        for (params, distributions), value in zip(points, own, strict=True):
            params[name], distributions[name] = value, distribution
    return points


def _study(points: Sequence[Point], values: Matrix) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            create_trial(value=float(value), params=params, distributions=distributions)
            for (params, distributions), value in zip(points, values, strict=True)
        ]
    )
    return study
