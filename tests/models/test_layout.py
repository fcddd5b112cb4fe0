from dataclasses import replace

import pytest
import torch

from eos.compose import load_model_recipe
from eos.compose.cost import cost_of
from eos.compose.model import check_model, flat
from eos.config import ChannelMixer, EncoderPart
from eos.errors import RecipeError
from eos.models import Encoder, EncoderDecoder, LanguageModel
from eos.models.encoder_decoder import encoder_recipe
from eos.models.layout import resolve_layout

A, B = "main", "local"


@pytest.mark.parametrize(
    ("layout", "layers", "wanted"),
    [
        ([A], 3, [A, A, A]),
        ([A, A, B], 5, [A, A, B, A, A]),
        ({"first": B, "rest": A}, 3, [B, A, A]),
        ({"first": B, "rest": A}, 1, [B]),
        ({0.5: B, 1.0: A}, 4, [B, B, A, A]),
        ({"1.0": A, "0.5": B}, 4, [B, B, A, A]),
        ({0.25: A, 0.75: B, 1.0: A}, 8, [A, A, B, B, B, B, A, A]),
        ({0.1: B, 1.0: A}, 3, [A, A, A]),
    ],
)
def test_every_form_names_every_layer(layout: object, layers: int, wanted: list[str]) -> None:
    recipe = replace(load_model_recipe("hybrid"), layout=layout, layers=layers)
    assert resolve_layout(recipe) == wanted


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ([], "empty layout"),
        ([A, "mian"], "Did you mean 'main'"),
        ({"first": A, "last": B}, "allowed is"),
        ({0.5: A}, "end with 1.0"),
        ({0.0: A, 1.0: B}, "> 0"),
        ({0.5: A, 1.5: B}, "end with 1.0"),
    ],
)
def test_another_form_is_refused(layout: object, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        resolve_layout(replace(load_model_recipe("hybrid"), layout=layout))


OWN = {"local": ChannelMixer(name="mlp", ratio=1.0), "main": ChannelMixer(name="none")}


def test_blocks_of_a_mixer_have_its_channel_mixer() -> None:
    recipe = replace(load_model_recipe("hybrid", ["width=32", "layers=4"]), layout=[A, B], channel_mixers=OWN)
    model = LanguageModel(recipe, 7)
    channels = [block.channel_mixer for block in model.blocks]
    assert channels[0] is None
    assert channels[2] is None
    for each in (channels[1], channels[3]):
        assert each is not None
        assert each.value is None
        assert each.output.weight.shape == (32, 32)
    assert cost_of(recipe, vocabulary=7, length=16).parameters == sum(p.numel() for p in model.parameters())
    assert model(torch.zeros(1, 5, dtype=torch.long)).shape == (1, 5, 7)
    again = check_model(flat(recipe), source="again")
    assert again == recipe


def test_a_channel_mixer_of_no_mixer_is_refused() -> None:
    recipe = replace(load_model_recipe("hybrid"), channel_mixers={"mian": ChannelMixer()})
    with pytest.raises(RecipeError, match=r"unknown mixer in channel_mixers 'mian'.*Did you mean 'main'"):
        resolve_layout(recipe)


def test_an_encoder_may_have_a_layout_of_its_own() -> None:
    recipe = load_model_recipe("hybrid", ["width=32", "layers=2"])
    recipe = replace(recipe, layout=[A], encoder=EncoderPart(layers=3, layout=[A, B]))
    model = EncoderDecoder(encoder_recipe(recipe), recipe, vocabulary=7)
    assert [block.name for block in model.encoder.blocks] == [A, B, A]
    assert [block.name for block in model.blocks] == [A, A]
    for alone in (lambda: LanguageModel(recipe, 7), lambda: Encoder(recipe)):
        with pytest.raises(RecipeError, match="encoder is of models with a decoder"):
            alone()
    wrong = replace(recipe, encoder=EncoderPart(layers=3, layout=["mian"]))
    with pytest.raises(RecipeError, match="mian"):
        resolve_layout(wrong)
