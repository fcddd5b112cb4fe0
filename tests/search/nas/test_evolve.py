"""Drawn, scored and evolved networks: within the constraints, each once, and the front is the front."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from eos.errors import RecipeError
from search.nas.architecture import Architecture, Layer
from search.nas.evolve import Found, evolve, front, nearest
from search.nas.score import Scored, draw_networks, read_scored, score_all
from search.nas.space import Space
from search.nas.table import Cost, Table, parts
from search.space import Recipe

Spaces = Callable[..., tuple[Space, Recipe]]


def counted(space: Space) -> Table:
    """A table in which a block costs its width, and softmax twice that."""
    costs = {}
    for part in parts(space):
        size = float(part.width) * (2 if part.layer is not None and part.layer.mixer == "softmax" else 1)
        costs[part.key] = Cost(parameters=size, flops=size, state=size, latency=size)
    return Table(costs=costs)


def loss(network: Architecture) -> float:
    """Softmax first, then gla, is best; wider is better."""
    wanted = ["softmax", "gla", "gla"]
    right = sum(layer.mixer == name for layer, name in zip(network.layers, wanted, strict=False))
    return 10 - right - network.width / 32


def found(points: Sequence[tuple[float, float]]) -> list[Found]:
    network = Architecture(width=1, layers=())
    return [Found(network=network, loss=y, cost=Cost(parameters=0, flops=0, state=0, latency=x)) for x, y in points]


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_no_other_beats(seed: int) -> None:
    points = np.random.default_rng(seed).integers(0, 12, size=(40, 2)).astype(float)
    kept = {(each.cost.latency, each.loss) for each in front(found([(x, y) for x, y in points]), "latency")}

    def beaten(x: float, y: float) -> bool:
        return any(a <= x and b <= y and (a, b) != (x, y) for a, b in points)

    assert kept == {(x, y) for x, y in points if not beaten(x, y)}


@pytest.mark.parametrize("sampler", ["nsga2", "nsga3", "random"])
def test_what_is_met_keeps_to_the_constraints(spaces: Spaces, sampler: str) -> None:
    space, _ = spaces("causal", constraints={"parameters": 100})
    table = counted(space)
    met = evolve(
        space, table, loss, against="latency", sampler=sampler, evaluations=120, population=20, seed=1
    )  # fmt: skip
    assert met
    assert len({each.network for each in met}) == len(met)
    for each in met:
        assert each.cost == table.of(each.network)
        assert each.cost.parameters <= 100
        for layer in each.network.layers:
            assert (layer.heads, layer.key_size) in space.shapes[layer.mixer, each.network.width]


def test_evolution_finds_more_than_chance(spaces: Spaces) -> None:
    space, _ = spaces("causal")
    table = counted(space)

    def best(sampler: str) -> float:
        met = [
            evolve(space, table, loss, against="latency", sampler=sampler, evaluations=400, population=40, seed=seed)
            for seed in range(3)
        ]  # fmt: skip
        return float(np.mean([min(each.loss for each in some) for some in met]))

    assert best("nsga2") < best("random")


def test_the_same_seed_finds_the_same(spaces: Spaces) -> None:
    space, _ = spaces("causal")
    runs = [
        evolve(space, counted(space), loss, against="state", sampler="nsga2", evaluations=60, population=20, seed=3)
        for _ in range(2)
    ]
    assert runs[0] == runs[1]


def test_a_control_has_its_mixers_alone(spaces: Spaces) -> None:
    space, _ = spaces("causal")
    met = evolve(
        space,
        counted(space),
        loss,
        against="latency",
        sampler="nsga2",
        evaluations=40,
        population=10,
        seed=1,
        mixers=["softmax", "window"],
    )
    assert {layer.mixer for each in met for layer in each.network.layers} == {"softmax", "window"}


def test_a_control_may_hold_one_network(spaces: Spaces) -> None:
    space, _ = spaces("causal", mixers={"softmax": "llama", "gla": "gla"}, width=[16], depth=[1], heads=[2], ratios=[1])
    options = {"against": "latency", "sampler": "nsga2", "evaluations": 6, "population": 4, "seed": 1}
    assert len(evolve(space, counted(space), loss, mixers=["softmax"], **options)) == 1


def test_the_nearest_shape_is_by_ratio() -> None:
    assert nearest((4, 16), [(2, 16), (4, 8), (8, 16)]) == (2, 16)
    assert nearest((3, None), [(2, None), (4, None)]) == (4, None)
    assert nearest((2, 8), [(None, None)]) == (None, None)


def test_networks_are_drawn_once_and_within_the_constraints(spaces: Spaces) -> None:
    space, _ = spaces("causal", constraints={"parameters": 100})
    table = counted(space)
    networks = draw_networks(space, table, 50, seed=1)
    assert len(set(networks)) == len(networks) == 50
    assert all(table.of(network).parameters <= 100 for network in networks)
    assert draw_networks(space, table, 50, seed=1) == networks
    small, _ = spaces("causal", mixers={"softmax": "llama"}, width=[16], depth=[1], ratios=[0, 1])
    assert len(draw_networks(small, counted(small), 50, seed=1)) == small.size == 4


def test_constraints_that_nothing_meets_name_the_nearest(spaces: Spaces) -> None:
    space, _ = spaces("causal", constraints={"parameters": 5, "latency": 1e9})
    with pytest.raises(RecipeError, match=r"no network .* the least that was met: parameters 32\."):
        draw_networks(space, counted(space), 10, seed=1)


def test_scoring_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    networks = [
        Architecture(width=width, layers=(Layer(mixer="a", heads=None, key_size=None, ratio=0),)) for width in range(6)
    ]
    asked: list[int] = []

    def score(network: Architecture) -> Scored:
        asked.append(network.width)
        return Scored(network=network, loss=float(network.width), latency=None)

    path = tmp_path / "scored.jsonl"
    for scored in score_all(networks, path, score):
        if scored.network.width == 2:
            break
    with path.open("a") as file:
        file.write('{"network": {"wid')
    assert [each.network.width for each in score_all(networks, path, score)] == [3, 4, 5]
    assert asked == [0, 1, 2, 3, 4, 5]
    assert [each.loss for each in read_scored(path)] == [0, 1, 2, 3, 4, 5]
