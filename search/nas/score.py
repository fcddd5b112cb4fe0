"""Draws networks, and scores them with the weights that they share; one line of a file each."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eos.errors import RecipeError
from search.nas.architecture import Architecture
from search.nas.recipe import Constraints
from search.nas.space import Space
from search.nas.table import Cost, Table

#: Draws in a row without a network that keeps to the constraints, before there is held to be none.
TRIES = 2000


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A network and what is known of it.

    Arguments:
        network: which.
        loss: nats a target of the validation part, with shared weights.
        latency: milliseconds of a forward pass, measured; None where it was not.
    """

    network: Architecture
    loss: float
    latency: float | None = None

    def to_plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"network": self.network.to_plain(), "loss": self.loss, "latency": self.latency}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Scored":
        """The inverse of :meth:`to_plain`."""
        return cls(network=Architecture.from_plain(plain["network"]), loss=plain["loss"], latency=plain["latency"])


def violation(cost: Cost, limits: Constraints) -> dict[str, float]:
    """By how much of itself each limit is exceeded; nothing where all are kept."""
    return {
        name: getattr(cost, name) / limit - 1
        for name in ("parameters", "flops", "state", "latency")
        if (limit := getattr(limits, name)) is not None and getattr(cost, name) > limit
    }


def draw_networks(space: Space, table: Table, count: int, *, seed: int) -> list[Architecture]:
    """Different networks within the constraints; fewer than ``count`` where the space holds no more.

    Raises:
        RecipeError: none of many keeps to the constraints; the nearest is told.
    """
    draw = np.random.default_rng([space.nas.seed, seed])
    found: dict[Architecture, None] = {}
    least: dict[str, float] = {}
    missed = 0
    while len(found) < min(count, space.size) and missed < TRIES:
        network = space.random(draw)
        cost = table.of(network)
        over = violation(cost, space.nas.constraints)
        if over and not found:
            for name in over:
                least[name] = min(least.get(name, float("inf")), getattr(cost, name))
        missed = 0 if not over and network not in found else missed + 1
        if not over:
            found[network] = None
    if not found:
        near = ", ".join(f"{name} {value:,.4g}" for name, value in least.items())
        raise RecipeError(
            f"no network of {missed:,} drawn keeps to search.constraints; the least that was met: {near}. Raise what "
            "is below that, or let the space reach further down (width, depth, ratios)"
        )
    return list(found)


def read_scored(path: Path) -> list[Scored]:
    """The networks of a file; a last line that was not finished is left out."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]
    return [Scored.from_plain(json.loads(line)) for line in lines]


def score_all(networks: list[Architecture], path: Path, score: Callable[[Architecture], Scored]) -> Iterator[Scored]:
    """Score what has no line yet, and add it."""
    known = read_scored(path)
    # An unfinished line is written anew.
    path.write_text("".join(f"{json.dumps(each.to_plain())}\n" for each in known))
    done = {each.network for each in known}
    with path.open("a") as file:
        for network in networks:
            if network in done:
                continue
            scored = score(network)
            file.write(f"{json.dumps(scored.to_plain())}\n")
            file.flush()
            yield scored
