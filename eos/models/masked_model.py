"""A model that tells hidden tokens from what stands on both sides of them."""

from collections.abc import Sequence

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from eos.config import ModelRecipe
from eos.errors import RecipeError
from eos.models.encoder import Encoder


class MaskedModel(nn.Module):
    """Embedding, encoder and a head over all tokens: its embedding where the recipe is tied, else weights of its own.

    logits_t = W x_t + b, with x what the encoder makes of the whole row (BERT, arXiv:1810.04805, appendix A.1, without
    the layer between). What a token sees is each mixer's ``direction``: forward, both or all.

    Arguments:
        recipe: what to build.
        vocabulary: number of token ids, that of [MASK] among them, ≥ 2.

    Raises:
        RecipeError: too small a vocabulary, or a recipe that cannot be built.
    """

    def __init__(self, recipe: ModelRecipe, vocabulary: int) -> None:
        super().__init__()
        if vocabulary < 2:
            raise RecipeError(f"a masked model has at least two tokens, one of them [MASK]; got {vocabulary}")
        self.recipe = recipe
        self.vocabulary = vocabulary
        self.embedding = nn.Embedding(vocabulary, recipe.width)
        nn.init.normal_(self.embedding.weight, std=recipe.initial_std)
        self.encoder = Encoder(recipe)
        self.head: nn.Linear | None = None
        if not recipe.tied:
            self.head = nn.Linear(recipe.width, vocabulary, bias=False)
            nn.init.normal_(self.head.weight, std=recipe.initial_std)
        self.bias = nn.Parameter(self.embedding.weight.new_zeros(vocabulary))

    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        *,
        reset: Bool[Tensor, "B T"] | None = None,
        shape: Sequence[int] | None = None,
    ) -> Float[Tensor, "B T vocabulary"]:
        """The logits of the token that stands at each place.

        Arguments:
            tokens: in 0 ≤ token < vocabulary, some of them hidden.
            reset, shape: as :meth:`Encoder.forward` takes them.
        """
        x = self.encoder(self.embedding(tokens), reset=reset, shape=shape)
        weight = self.embedding.weight if self.head is None else self.head.weight
        return F.linear(x, weight, self.bias)
