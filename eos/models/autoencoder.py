"""A model that makes one vector of a row, and tells the row again from it."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from eos.config import ModelRecipe
from eos.errors import RecipeError
from eos.layer.norm import make_norm
from eos.models.encoder import Encoder


class AutoEncoder(nn.Module):
    """Embedding and blocks, the last position's vector, and a decoder of every position by itself.

    With z the vector that the blocks make of the last position and p_t the place's own (:func:`places`),
    logits_t = W norm(h_2) + c, h_j = gelu(W_j norm(h_{j−1}) + c_j), h_0 = z + p_t. Embedding and decoder start from
    N(0, initial_std²), biases from 0. The recipe's ``tied`` means nothing here.

    Arguments:
        recipe: what the blocks are; an even width of at least 4.
        vocabulary: number of tokens, ≥ 1.

    Raises:
        RecipeError: a width or vocabulary that is not allowed.

    Source: arXiv:2403.17844; mad/model/auto_encoder.py
    """

    def __init__(self, recipe: ModelRecipe, vocabulary: int) -> None:
        super().__init__()
        if vocabulary < 1:
            raise RecipeError(f"a vocabulary has at least one token, got {vocabulary}")
        width = recipe.width
        if width % 2 or width < 4:
            raise RecipeError(f"the places of an auto-encoder are sines and cosines: an even width ≥ 4, got {width}")
        self.embedding = nn.Embedding(vocabulary, width)
        self.encoder = Encoder(recipe)
        # the decoder normalises what it reads once the place is added
        self.encoder.norm = nn.Identity()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [make_norm(recipe.norm, width, recipe.norm_eps), nn.Linear(width, width), nn.GELU()]
        self.decoder = nn.Sequential(*layers)
        self.head = nn.Sequential(make_norm(recipe.norm, width, recipe.norm_eps), nn.Linear(width, vocabulary))
        nn.init.normal_(self.embedding.weight, std=recipe.initial_std)
        for module in (*self.decoder, *self.head):
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=recipe.initial_std)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T vocabulary"]:
        """The logits of each of the tokens.

        Arguments:
            tokens: in 0 ≤ token < vocabulary.
        """
        encoded = self.encoder(self.embedding(tokens))[:, -1:]
        logits: Tensor = self.head(self.decoder(encoded + places(tokens.shape[1], like=encoded)))
        return logits


def places(length: int, *, like: Float[Tensor, "*any D"]) -> Float[Tensor, "T D"]:
    """A vector for each place: sin(t ω_j), then cos(t ω_j), ω_j = 10000^(−j / (D/2 − 1)), 0 ≤ j < D/2, float32.

    Arguments:
        length: T.
        like: has the width D and the device.

    Source: arXiv:1706.03762, section 3.5, with both ends of its frequencies
    """
    half = like.shape[-1] // 2
    rates = 10000.0 ** -(torch.arange(half, device=like.device) / (half - 1))
    angles = torch.arange(length, device=like.device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)
