"""The causal language model."""

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from eos.config import ModelRecipe
from eos.errors import RecipeError
from eos.layer import AbstractCache
from eos.layer.norm import make_norm
from eos.models.block import Block, BlockCache, make_mixer
from eos.models.layout import causal_layout, refuse_encoder
from eos.models.stack import make_blocks


@dataclass(frozen=True)
class Cache:
    """The decoding state of every layer; a forward pass that gets it reads it and moves it on."""

    layers: tuple[BlockCache, ...]
    positions: AbstractCache | None = None

    def tensors(self) -> Iterator[Tensor]:
        """Everything it holds."""
        for layer in self.layers:
            yield from layer.tensors()
        if self.positions is not None:
            yield from self.positions.tensors()

    @property
    def constant(self) -> bool:
        """Whether a token changes what its tensors hold, and nothing else: what can be captured once and replayed."""
        mixers = [layer.mixer for layer in self.layers] + ([] if self.positions is None else [self.positions])
        return all(mixer.constant for mixer in mixers)

    @property
    def bytes(self) -> int:
        """How much memory it takes now."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors())

    def reorder(self, rows: Int[Tensor, " B"]) -> None:
        """Row b goes on from what row rows[b] has seen; as many rows as there are."""
        for layer in self.layers:
            layer.reorder(rows)
        if self.positions is not None:
            self.positions.reorder(rows)


class LanguageModel(nn.Module):
    """Embedding, blocks, final norm and head.

    Embeddings (and an untied head) start from N(0, initial_std²), projections from U(−1/√n, 1/√n) with n their input
    size, those that end a residual branch 1/√(2L) as large; every stage starts its own parameters.

    Arguments:
        recipe: what to build.
        vocabulary: number of tokens, ≥ 1.

    Raises:
        RecipeError: a layout, stage or option that is not allowed.
        CompositionError: a mixer that sees what comes later.
    """

    def __init__(self, recipe: ModelRecipe, vocabulary: int) -> None:
        super().__init__()
        if vocabulary < 1:
            raise RecipeError(f"a vocabulary has at least one token, got {vocabulary}")
        self.recipe = recipe
        self.vocabulary = vocabulary
        refuse_encoder(recipe)
        names = causal_layout(recipe)
        self.embedding = nn.Embedding(vocabulary, recipe.width)
        nn.init.normal_(self.embedding.weight, std=recipe.initial_std)
        self.embedding_norm = make_norm(recipe.norm if recipe.embedding_norm else "none", recipe.width, recipe.norm_eps)
        self.positions = None if recipe.positions is None else make_mixer(recipe, recipe.positions)
        self.dropout = nn.Dropout(recipe.dropout if recipe.embedding_dropout is None else recipe.embedding_dropout)
        self.blocks = make_blocks(recipe, names)
        self.norm = make_norm(recipe.norm, recipe.width, recipe.norm_eps)
        self.head: nn.Linear | None = None
        if not recipe.tied:
            self.head = nn.Linear(recipe.width, vocabulary, bias=False)
            nn.init.normal_(self.head.weight, std=recipe.initial_std)

    def cache(self, batch: int) -> Cache:
        """An empty decoding cache for ``batch`` rows."""
        like = self.embedding.weight
        caches = []
        for block in self.blocks:
            assert isinstance(block, Block)
            caches.append(block.cache(batch, device=like.device, dtype=like.dtype))
        if self.positions is None:
            return Cache(tuple(caches))
        return Cache(tuple(caches), self.positions.cache(batch, device=like.device, dtype=like.dtype))

    def forward(
        self, tokens: Int[Tensor, "B T"], *, reset: Bool[Tensor, "B T"] | None = None, cache: Cache | None = None
    ) -> Float[Tensor, "B T vocabulary"]:
        """The logits of the token after each of these.

        Arguments:
            tokens: in 0 ≤ token < vocabulary.
            reset: true where a new document begins: nothing before it is seen from there on.
            cache: from :meth:`cache`; the tokens then continue what earlier calls saw. T may be 1 or more.
        """
        x = self.embedding_norm(self.embedding(tokens))
        if self.positions is not None:
            # the residual stream stays in the embedding's precision, also under autocast
            x = self.positions(x, reset=reset, cache=None if cache is None else cache.positions).to(x.dtype)
        x = self.dropout(x)
        for index, block in enumerate(self.blocks):
            x = block(x, reset=reset, cache=None if cache is None else cache.layers[index])
        weight = self.embedding.weight if self.head is None else self.head.weight
        return F.linear(self.norm(x), weight)
