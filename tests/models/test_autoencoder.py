"""The auto-encoder: one vector carries the row, every place is decoded by itself, and it learns."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu

from eos.compose.model import load_model_recipe
from eos.config import ModelRecipe
from eos.errors import RecipeError
from eos.models import AutoEncoder
from eos.models.autoencoder import places

pytestmark = pytest.mark.usefixtures("one_thread")


def recipe(name: str = "gla", width: int = 16) -> ModelRecipe:
    return load_model_recipe(name, [f"width={width}", "layers=1"])


@pytest.mark.parametrize("name", ["gla", "hybrid", "llama"])
def test_there_are_logits_for_every_token(name: str) -> None:
    torch.manual_seed(0)
    model = AutoEncoder(recipe(name), 7)
    for length in (1, 5):
        assert model(torch.randint(7, (3, length))).shape == (3, length, 7)


def test_the_last_position_alone_is_decoded() -> None:
    torch.manual_seed(0)
    model = AutoEncoder(recipe(), 7)
    tokens = torch.randint(7, (2, 6))
    want = model(tokens)

    def spoil(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        return torch.cat([torch.full_like(output[:, :-1], float("nan")), output[:, -1:]], 1)

    model.encoder.register_forward_hook(spoil)
    torch.testing.assert_close(model(tokens), want)


def test_places_are_decoded_by_the_formula() -> None:
    torch.manual_seed(0)
    model = AutoEncoder(recipe(), 7).double()
    tokens = torch.randint(7, (2, 6))
    x = model.embedding(tokens)
    for block in model.encoder.blocks:
        x = block(x)
    z = x[:, -1]
    logits = model(tokens)
    for place in range(6):
        angles = [place * 10000 ** (-j / 7) for j in range(8)]
        own = torch.tensor([*map(math.sin, angles), *map(math.cos, angles)], dtype=torch.float64)
        h = z + own
        torch.testing.assert_close(places(6, like=z)[place].double(), own, atol=1e-6, rtol=1e-6)
        for index in (0, 3):
            norm, linear = model.decoder[index], model.decoder[index + 1]
            h = gelu(linear(norm(h)))
        torch.testing.assert_close(logits[:, place], model.head(h), atol=1e-6, rtol=1e-6)


def test_it_learns_to_tell_rows_again() -> None:
    torch.manual_seed(0)
    model = AutoEncoder(recipe("llama", width=32), 5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    tokens = torch.randint(5, (16, 6))
    for _ in range(120):
        loss = cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(RecipeError, match="an even width ≥ 4, got 15"):
        AutoEncoder(replace(recipe(), width=15), 7)
    with pytest.raises(RecipeError, match="at least one token, got 0"):
        AutoEncoder(recipe(), 0)
