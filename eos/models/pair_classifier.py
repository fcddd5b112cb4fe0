"""Classes of pairs of sequences: both are encoded alike, each by itself, and compared."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from eos.config import ModelRecipe
from eos.models.encoder import Encoder, Pool, check_head


class PairClassifier(nn.Module):
    """y = MLP[u, v, u ∘ v, u − v], where u and v are what one encoder makes of each sequence, pooled.

    The MLP has two hidden layers, of 4 and 2 times the width, with ReLU. Source: arXiv:2011.04006, section 2.2.3.

    Arguments:
        recipe: what the encoder is made of.
        classes: number of classes, ≥ 2.
        vocabulary: number of token ids of both sequences.
        pool: mean over tokens, or the last token.

    Raises:
        RecipeError: too few classes, or another pool.
    """

    def __init__(self, recipe: ModelRecipe, classes: int, *, vocabulary: int, pool: Pool = "mean") -> None:
        super().__init__()
        check_head(classes, pool)
        width = recipe.width
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=recipe.initial_std)
        self.encoder = Encoder(recipe)
        self.pool: Pool = pool
        self.head = nn.Sequential(
            nn.Linear(4 * width, 4 * width),
            nn.ReLU(),
            nn.Linear(4 * width, 2 * width),
            nn.ReLU(),
            nn.Linear(2 * width, classes),
        )

    def forward(
        self,
        inputs: Int[Tensor, "B T"],
        *,
        source: Int[Tensor, "B S"],
        lengths: Int[Tensor, " B"] | None = None,
        seen: Bool[Tensor, "B S"] | None = None,
    ) -> Float[Tensor, "B classes"]:
        """The logits of the classes.

        Arguments:
            inputs: token ids of the first sequence of each pair.
            source: of the second.
            lengths: how many tokens of each first sequence count, ≥ 1; those after are padding.
            seen: false where a second sequence is padding, at its end; its first token is seen.
        """
        u = self.encoder.pooled(self.embedding(inputs), pool=self.pool, lengths=lengths)
        others = None if seen is None else seen.sum(1)
        v = self.encoder.pooled(self.embedding(source), pool=self.pool, lengths=others)
        logits: Tensor = self.head(torch.cat([u, v, u * v, u - v], -1))
        return logits
