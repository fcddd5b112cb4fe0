"""Evolution of networks towards a Pareto front of quality against a cost, by Optuna's NSGA-II."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import optuna
from optuna.samplers import BaseSampler, NSGAIIISampler, NSGAIISampler, RandomSampler
from optuna.trial import Trial

from search.nas.architecture import Architecture, Layer
from search.nas.score import violation
from search.nas.space import Shape, Space
from search.nas.table import Cost, Table

Sampler = Literal["nsga2", "nsga3", "random"]
Against = Literal["latency", "state", "parameters", "flops"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """A network that was met.

    Arguments:
        network: which.
        loss: predicted.
        cost: by the table.
    """

    network: Architecture
    loss: float
    cost: Cost

    def to_plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"network": self.network.to_plain(), "loss": self.loss, "cost": asdict(self.cost)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Found":
        """The inverse of :meth:`to_plain`."""
        network, cost = Architecture.from_plain(plain["network"]), Cost(**plain["cost"])
        return cls(network=network, loss=plain["loss"], cost=cost)


def evolve(
    space: Space,
    table: Table,
    loss: Callable[[Architecture], float],
    *,
    against: Against,
    sampler: Sampler,
    evaluations: int,
    population: int,
    seed: int,
    mixers: Sequence[str] = (),
    each: Callable[[int, int], None] = lambda done, of: None,
) -> list[Found]:
    """All networks that were met and keep to the constraints, each once, in the order they were met.

    Arguments:
        loss: of a network; less is better.
        against: the cost that is to be small too.
        evaluations: networks that are looked at.
        population: of a generation.
        mixers: those of the space that may stand in a network; none named: all.
        each: told how many are done, and how many there are.
    """
    met: dict[Architecture, Found] = {}

    def objective(trial: Trial) -> tuple[float, float]:
        network = asked(space, trial, mixers or list(space.mixers))
        cost = table.of(network)
        over = violation(cost, space.nas.constraints)
        trial.set_constraint("over", sum(over.values()))
        found = met.get(network) or Found(network=network, loss=loss(network), cost=cost)
        if not over:
            met[network] = found
        each(trial.number, evaluations)
        return found.loss, getattr(cost, against)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            study = optuna.create_study(directions=["minimize"] * 2, sampler=_sampler(sampler, population, seed))
            study.optimize(objective, n_trials=evaluations)
        finally:
            optuna.logging.set_verbosity(before)
    each(evaluations, evaluations)
    return list(met.values())


def _sampler(name: Sampler, population: int, seed: int) -> BaseSampler:
    if name == "random":
        return RandomSampler(seed=seed)
    make = NSGAIISampler if name == "nsga2" else NSGAIIISampler
    return make(population_size=population, seed=seed)


def asked(space: Space, trial: Trial, mixers: Sequence[str]) -> Architecture:
    """The network of a trial, of some of the space's mixers.

    Every trial has the same parameters, so that two of them can be crossed; what a smaller network has no place for is
    passed over, and heads and K that a mixer cannot have become the nearest that it can.
    """
    width = int(trial.suggest_categorical("width", space.nas.width))
    stacks: dict[str, tuple[Layer, ...] | None] = {"encoder": None}
    for stack, depths in (("layers", space.nas.depth), ("encoder", space.nas.encoder_depth)):
        if not depths:
            continue
        depth = int(trial.suggest_categorical(f"{stack} depth", depths))
        layers = [_layer(space, trial, mixers, f"{stack} {place}", width) for place in range(max(depths))]
        stacks[stack] = tuple(layers[:depth])
    return Architecture(width=width, layers=stacks["layers"] or (), encoder=stacks["encoder"])


def _layer(space: Space, trial: Trial, mixers: Sequence[str], place: str, width: int) -> Layer:
    mixer = str(trial.suggest_categorical(f"{place} mixer", list(mixers)))
    heads = trial.suggest_categorical(f"{place} heads", space.nas.heads) if space.nas.heads else None
    key = trial.suggest_categorical(f"{place} K", space.nas.key_sizes) if space.nas.key_sizes else None
    ratio = trial.suggest_categorical(f"{place} ratio", space.nas.ratios)
    heads, key = nearest((heads, key), space.shapes[mixer, width])
    return Layer(mixer=mixer, heads=heads, key_size=key, ratio=ratio)


def nearest(wanted: Shape, shapes: Sequence[Shape]) -> Shape:
    """The heads and K nearest to those wanted, by their ratios."""

    def far(shape: Shape) -> float:
        pairs = [(a, b) for a, b in zip(wanted, shape, strict=True) if a is not None and b is not None]
        return sum(abs(math.log(a / b)) for a, b in pairs)

    return min(shapes, key=far)


def front(found: Sequence[Found], against: Against) -> list[Found]:
    """Those that no other beats in both, the cheapest first."""
    best: list[Found] = []
    for each in sorted(found, key=lambda each: (getattr(each.cost, against), each.loss)):
        if not best or each.loss < best[-1].loss:
            best.append(each)
    return best


def spread(members: Sequence[Found], count: int) -> list[Found]:
    """So many members of a front, the cheapest first: the best of all, and others evenly over its length."""
    if len(members) <= count:
        return list(members)
    places = {round(place) for place in np.linspace(len(members) - 1, 0, count)}
    return [members[place] for place in sorted(places)]
