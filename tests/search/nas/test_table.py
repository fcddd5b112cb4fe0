"""Costs of parts add up to those of networks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from search.nas import table
from search.nas.space import Space
from search.nas.table import Part, Table, measure, parts
from search.space import Recipe
from tests.search.nas.conftest import CASES

Spaces = Callable[..., tuple[Space, Recipe]]
#: Without hgrn2, whose layers share a parameter.
MIXERS = {"softmax": "llama", "gla": "gla", "delta": "gated_deltanet"}
CPU = torch.device("cpu")


def measured(space: Space, cache: Path) -> Table:
    return measure(space, device=CPU, precision="float32", cache=cache)


@pytest.mark.parametrize("case", CASES)
def test_costs_of_parts_add_up(spaces: Spaces, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "timed", lambda run, **_: float(run() is not None))
    space, _ = spaces(case, mixers=MIXERS if case == "causal" else {"softmax": "llama", "gla": "gla"})
    found = measured(space, tmp_path)
    draw = np.random.default_rng(0)
    for _ in range(12):
        network = space.random(draw)
        summed, whole = found.of(network), space.cost(network)
        assert summed.parameters == whole.parameters
        assert summed.flops == pytest.approx(whole.training.flops, rel=1e-9)
        assert summed.state == whole.memory
        # Every call takes 1: a block is one, and the rest is a whole network, one too, less the blocks in it.
        rest = 1 - (1 if network.encoder is None else 2)
        assert summed.latency == len(network.layers) + len(network.encoder or ()) + rest


def test_what_was_measured_is_kept(spaces: Spaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space, _ = spaces("causal", mixers=MIXERS, width=[16], ratios=[1])
    first = measured(space, tmp_path)
    assert all(cost.latency > 0 for key, cost in first.costs.items() if key != Part(16).key)
    monkeypatch.setattr(table, "timed", lambda *_, **__: pytest.fail("measured again"))
    assert measured(space, tmp_path) == first
    wider, _ = spaces("causal", mixers=MIXERS, width=[16, 32], ratios=[1])
    assert {part.key for part in parts(space)} < {part.key for part in parts(wider)}
