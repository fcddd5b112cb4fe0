"""Networks as numbers, what learns to rank them, and what is said of them untrained."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from eos.errors import RecipeError
from eos.tasks.task import Batch
from search.nas.features import features, names
from search.nas.folder import NASFolder
from search.nas.proxies import PROXIES, jacobian_covariance, synflow
from search.nas.ranker import Ranker, judge, learn
from search.nas.space import Space
from search.nas.table import Cost
from search.report.table import two
from search.space import Recipe

Spaces = Callable[..., tuple[Space, Recipe]]
COST = Cost(parameters=1e4, flops=1e5, state=0, latency=1.0)


@pytest.mark.parametrize("case", ["causal", "translation"])
def test_a_network_is_told_by_its_numbers(spaces: Spaces, case: str) -> None:
    space, _ = spaces(case)
    draw = np.random.default_rng(0)
    networks = list({space.random(draw) for _ in range(60)})
    rows = [features(space, network, COST) for network in networks]
    assert {len(row) for row in rows} == {len(names(space))}
    # what two networks have in common is all that they have
    assert len({tuple(row) for row in rows}) == len(networks)


def test_a_kind_of_mixer_is_a_count_and_never_a_number_between_two(spaces: Spaces) -> None:
    space, _ = spaces("causal")
    draw = np.random.default_rng(0)
    kinds = [name for name in names(space) if name.split()[-1] in space.mixers]
    for _ in range(10):
        network = space.random(draw)
        told = dict(zip(names(space), features(space, network, COST), strict=True))
        assert sum(told[name] for name in kinds if "count" in name) == len(network.layers)
        assert all(told[name] in (0, 1) for name in kinds if "count" not in name)


def test_a_ranker_learns_and_says_how_well(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(600, 8))
    truth = x[:, 0] - 2 * (x[:, 1] > 0) + 0.5 * x[:, 2] * (x[:, 1] > 0) + 0.1 * draw.normal(size=600)
    ranker, held = learn(x, truth, seed=1)
    assert len(set(held.places)) == 60
    assert held.tau > 0.7
    assert held.slope == pytest.approx(1, abs=0.25)
    ranker.write(tmp_path / "ranker.txt")
    np.testing.assert_array_equal(Ranker.read(tmp_path / "ranker.txt")(x), ranker(x))
    again, other = learn(x, truth, seed=1)
    np.testing.assert_array_equal(again(x), ranker(x))
    assert other == held


def test_what_cannot_be_learned_is_not_ranked() -> None:
    draw = np.random.default_rng(1)
    _, held = learn(draw.normal(size=(1000, 4)), draw.normal(size=1000), seed=1)
    assert abs(held.tau) < 0.25
    with pytest.raises(RecipeError, match="19 scored networks are too few"):
        learn(np.zeros((19, 2)), np.zeros(19), seed=1)


def test_a_judgement_is_of_predictions_against_the_truth() -> None:
    held = judge(np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 5.0, 7.0, 8.0]), places=[5, 1, 2, 3])
    assert held.tau == 1.0
    assert held.slope == pytest.approx(1.7)
    assert held.rmse == pytest.approx(np.sqrt((4 + 9 + 16 + 16) / 4))


class Linear(nn.Module):
    """Two layers without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(3, 4, bias=False)
        self.head = nn.Linear(4, 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.head(self.embedding(x))
        return output


def batch(x: torch.Tensor) -> Batch:
    return Batch(inputs=x, targets=torch.zeros(x.shape[:2], dtype=torch.long))


def test_synflow_of_a_linear_network_is_twice_its_flow() -> None:
    model = Linear()
    flow = (model.head.weight.abs() @ model.embedding.weight.abs()).sum().item()
    # every layer's Σ |θ ∂R/∂θ| is the whole flow, which passes through all of them
    assert synflow(model, batch(torch.ones(1, 1, 3))) == pytest.approx(2 * flow, rel=1e-6)


def test_rows_with_the_same_jacobian_are_told_apart_by_nothing() -> None:
    class Squared(Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) ** 2

    torch.manual_seed(0)
    x = torch.randn(6, 1, 3)
    assert jacobian_covariance(Linear(), batch(x)) < jacobian_covariance(Squared(), batch(x))


def test_every_proxy_says_a_number_of_every_mixer(spaces: Spaces) -> None:
    space, _ = spaces("causal")
    draw, rows = np.random.default_rng(0), space.task.train_batch(1, 0, 4)
    for _ in range(4):
        network = space.random(draw)
        for name, proxy in PROXIES.items():
            assert np.isfinite(proxy(space.task.model(space.recipe(network)), rows)), (name, network)


def test_agreement_with_what_is_all_alike_is_left_as_none(tmp_path: Path) -> None:
    alike = judge(np.ones(5), np.arange(5.0), places=list(range(5)))
    folder = NASFolder(tmp_path)
    folder.leave("rank", {"quality": asdict(alike), "proxies": {"synflow": float("nan")}})
    left = folder.read("rank")
    assert left["quality"]["tau"] is None
    assert left["quality"]["slope"] is None
    assert left["proxies"] == {"synflow": None}
    assert left["quality"]["rmse"] == alike.rmse
    assert two(left["quality"]["tau"]) == "–"
    assert two(0.456) == "0.46"
