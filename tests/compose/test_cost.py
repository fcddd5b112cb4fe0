"""Costs of an outline, one block of every mixer, are those of the whole model."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from eos import registry
from eos.compose import load_model_recipe
from eos.compose.cost import ModelCost, cost_of
from eos.config import CrossMixer, ModelRecipe
from eos.models import Classifier, EncoderDecoder, LanguageModel
from eos.models.encoder_decoder import encoder_recipe
from eos.models.stack import outlined

Make = Callable[[ModelRecipe], nn.Module]


def language_model(recipe: ModelRecipe) -> nn.Module:
    return LanguageModel(recipe, 11)


def classifier(recipe: ModelRecipe) -> nn.Module:
    return Classifier(recipe, 3, features=2)


def pair(recipe: ModelRecipe) -> nn.Module:
    """Of an encoder a layer deeper than its decoder."""
    decoder = replace(recipe, positions=None)
    encoder = encoder_recipe(replace(decoder, layers=recipe.layers + 1), "forward")
    return EncoderDecoder(encoder, decoder, vocabulary=11, cross=CrossMixer(kind="linear"))


def numbers(cost: ModelCost) -> tuple[object, ...]:
    mixers = {name: (each.layers, each.forward, each.step, each.memory) for name, each in cost.mixers.items()}
    return cost.parameters, cost.training, cost.decoding, cost.memory, cost.growth, mixers


@pytest.mark.parametrize("make", [language_model, classifier, pair])
@pytest.mark.parametrize("name", registry.recipes("model"))
@pytest.mark.one_in(3)
def test_one_block_of_every_mixer_counts_for_all(name: str, make: Make) -> None:
    recipe = load_model_recipe(name, ["layers=5", "width=64"])
    with torch.device("meta"):
        whole = make(recipe)
    outline = cost_of(recipe, make=make, length=20)
    assert numbers(outline) == numbers(cost_of(recipe, make=lambda _: whole, length=20))
    assert outline.parameters == sum(parameter.numel() for parameter in whole.parameters())


def test_an_outline_has_one_block_of_every_mixer_and_ends_where_it_began() -> None:
    recipe = load_model_recipe("hybrid", ["layers=5", "width=64"])
    with torch.device("meta"), outlined() as outlines:
        assert len(LanguageModel(recipe, 11).blocks) == 2
    assert [outline.layers for outline in outlines] == [{"main": (0, 2, 4), "local": (1, 3)}]
    with torch.device("meta"):
        assert len(LanguageModel(recipe, 11).blocks) == 5
    assert len(outlines) == 1


@pytest.mark.parametrize("name", ["hgrn", "hgrn2"])
def test_what_all_layers_share_is_counted_once(name: str) -> None:
    """Lower bounds are one parameter of L rows: a layer more is a row more, and no second set of rows."""
    costs = [cost_of(load_model_recipe(name, [f"layers={layers}", "width=64"])).parameters for layers in (2, 3, 4)]
    assert costs[1] - costs[0] == costs[2] - costs[1]
