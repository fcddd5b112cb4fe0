"""Which networks there are, and what is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from eos.compose import refuse
from eos.compose.model import check_model, flat
from eos.errors import EOSError, RecipeError
from search.nas.architecture import Architecture
from search.nas.space import Space
from search.space import Recipe
from tests.search.nas.conftest import CASES

Spaces = Callable[..., tuple[Space, Recipe]]


@pytest.mark.parametrize("case", CASES)
def test_whatever_is_drawn_can_be_built_and_written_down(spaces: Spaces, case: str) -> None:
    space, _ = spaces(case)
    draw = np.random.default_rng(0)
    for _ in range(20):
        network = space.random(draw)
        assert Architecture.from_plain(network.to_plain()) == network
        recipe = space.recipe(network)
        assert refuse(recipe, causal=space.task.causal) is None
        assert check_model(flat(recipe), source="again") == recipe
        parameters = sum(parameter.numel() for parameter in space.task.model(recipe).parameters())
        assert space.cost(network).parameters == parameters


def test_sizes_lie_between_the_least_and_the_most(spaces: Spaces) -> None:
    space, _ = spaces("causal", mixers={"gla": "gla"})
    draw = np.random.default_rng(0)
    least, most = (space.cost(end(draw)).parameters for end in (space.smallest, space.largest))
    found = [space.cost(space.random(draw)).parameters for _ in range(30)]
    assert least <= min(found) < max(found) <= most


def test_the_size_of_a_space_is_counted(spaces: Spaces) -> None:
    space, _ = spaces("causal", mixers={"a": "llama", "b": "gla"}, width=[16], depth=[1, 2], ratios=[0, 1])
    # of one layer: two heads of softmax, two heads with two K of gla, each with two ratios
    assert space.size == 12 + 12**2


def test_a_k_that_a_mixer_cannot_have_stays_its_own(spaces: Spaces) -> None:
    space, _ = spaces("causal", mixers={"s": "llama", "hyena": "hyena"}, key_sizes=[4])
    assert space.shapes["s", 16] == [(2, None), (4, None)]
    assert space.shapes["hyena", 16] == [(None, None)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mixers": {"a": "llama"}, "width": [16], "depth": [1], "heads": [2], "ratios": [1]}, "holds one network"),
        ({"mixers": {"both": "gla direction=both"}}, r"mixer both \(gla direction=both\) cannot stand.*comes later"),
        ({"mixers": {"h": "hybrid"}}, r"has the mixers main, local: choose one with layout=\[NAME\]"),
        ({"mixers": {"h": "gal"}}, r"search.mixers.h: unknown model recipe 'gal'.*'gla'"),
        ({"heads": [3]}, "heads = 3 do not divide"),
        ({"encoder_depth": [1]}, "task=overwriting takes no search.encoder_depth"),
        ({"ratios": [0, -1]}, "ratios must be distinct and from 0 to 16"),
        ({"mixers": {}}, "mixers are empty"),
        ({"width": [16, 16]}, "width must be distinct"),
    ],
)
def test_what_makes_no_space_is_refused(spaces: Spaces, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        spaces("causal", **changes)


def test_a_decoder_asks_for_its_encoder(spaces: Spaces) -> None:
    with pytest.raises(EOSError, match=r"task=translation needs search.encoder_depth"):
        spaces("translation", encoder_depth=[])


def test_stages_are_chosen_layer_by_layer(spaces: Callable[..., tuple[Space, Recipe]]) -> None:
    text = "gla expand=linear|elu oscillation=head_decay|key_gate"
    space, _ = spaces("causal", mixers={"softmax": "llama", "own": text})
    named = ["own_linear_head_decay", "own_linear_key_gate", "own_elu_head_decay", "own_elu_key_gate"]
    assert list(space.mixers) == ["softmax", *named]
    made = space.mixers["own_elu_head_decay"]
    assert (made.expand.name, [one.name for one in made.oscillation]) == ("elu", ["head_decay"])  # type: ignore[union-attr]
    draw = np.random.default_rng(0)
    met = {layer.mixer for _ in range(40) for layer in space.random(draw).layers}
    assert met == {"softmax", *named}
    # of alternatives that cannot be built the others stay; where none can, the reason is told
    space, _ = spaces("causal", mixers={"softmax": "llama", "own": "llama direction=forward|all"})
    assert list(space.mixers) == ["softmax", "own_forward"]
    with pytest.raises(RecipeError, match="own_both"):
        spaces("causal", mixers={"softmax": "llama", "own": "gla direction=both|all"})
