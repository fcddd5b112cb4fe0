"""Sizes: what one name changes, and the parameters of the published ones."""

import pytest
import torch
from torch import nn

from eos import registry
from eos.compose import load_model_recipe, refuse
from eos.errors import RecipeError
from eos.models import LanguageModel

SIZES = {
    "70m": (6, 512, 4, 1536),
    "160m": (12, 768, 6, 2048),
    "410m": (26, 1024, 8, 2816),
    "1b": (32, 1536, 12, 4096),
    "3b": (35, 2560, 20, 6912),
    "7b": (32, 4096, 32, 11008),
}
#: Millions of parameters without embeddings, as printed (arXiv:2406.16690, appendix A).
PRINTED = {
    "70m": {"llama": 20.5, "tnl": 21.2, "hgrn2": 20.5, "cosformer2": 21.3},
    "7b": {"llama": 6476.5, "tnl": 6509.6, "hgrn2": 6476.1, "cosformer2": 6511.0},
}
MODELS = ("llama", "tnl", "hgrn2", "cosformer2")


def weights(name: str, size: str) -> int:
    """Weights of projections and lower bounds; neither embeddings, norms, biases nor angles."""
    with torch.device("meta"):
        model = LanguageModel(load_model_recipe(name, [f"size={size}"]), 100_280)
    linear = sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.Linear))
    return linear + sum(p.numel() for key, p in model.named_parameters() if key.endswith("bounds"))


def formula(name: str, layers: int, width: int, heads: int, hidden: int) -> int:
    """Four projections and a gated linear unit; a gate through a bottleneck; bounds; the positional scan's output."""
    head = width // heads
    count = layers * (4 * width**2 + 3 * width * hidden)
    if name in ("tnl", "cosformer2"):
        count += layers * 2 * width * head
    if name == "hgrn2":
        count += layers * width
    return count + (width**2 if name == "cosformer2" else 0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", MODELS)
def test_parameters_follow_the_published_formula(name: str, size: str) -> None:
    assert weights(name, size) == formula(name, *SIZES[size])


@pytest.mark.parametrize("size", PRINTED)
@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_those_that_were_published(name: str, size: str) -> None:
    """The positional scan of cosFormer2 is counted as one head's output there, as a whole one here."""
    _, width, heads, _ = SIZES[size]
    own = weights(name, size) - (width**2 - width**2 // heads if name == "cosformer2" else 0)
    # printed with a decimal or none to spare, norms and all
    assert own / 1e6 == pytest.approx(PRINTED[size][name], rel=2e-4, abs=0.06)


@pytest.mark.parametrize("name", sorted(registry.recipes("model")))
def test_every_model_comes_in_a_small_size(name: str) -> None:
    recipe = load_model_recipe(name, ["size=small"])
    assert (recipe.layers, recipe.width) == (8 if recipe.channel_mixer.name == "none" else 4, 128)
    assert refuse(recipe) is None


@pytest.mark.parametrize("name", ["llama", "linear_attention", "mamba2", "h3", "rwkv6", "mlstm", "deltanet"])
def test_models_of_a_size_have_about_as_many_weights(name: str) -> None:
    """Within a factor of their mixers: some have a gate, wider values or fewer projections."""
    wanted = formula("llama", *SIZES["160m"])
    assert 0.6 * wanted < weights(name, "160m") < 1.6 * wanted


def test_what_follows_a_size_changes_it() -> None:
    assert load_model_recipe("hgrn2", ["size=70m", "layers=2"]).layers == 2
    assert load_model_recipe("hgrn2", ["layers=2", "size=70m"]).layers == 6


def test_an_unknown_size_shows_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"unknown size recipe '70'\. Did you mean '70m'"):
        load_model_recipe("hgrn2", ["size=70"])
