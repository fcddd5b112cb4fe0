"""Models that see a whole sequence or grid at once: an encoder, and a classifier on top of it."""

from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from eos.config import ConvolutionMixer, EOSMixer, ModelRecipe
from eos.errors import RecipeError
from eos.layer.direction import along_axes
from eos.layer.norm import make_norm
from eos.models.block import Block, make_mixer
from eos.models.layout import refuse_encoder, resolve_layout
from eos.models.stack import make_blocks

Pool = Literal["mean", "last"]


class Encoder(nn.Module):
    """The blocks of a recipe and a final norm, on inputs that are embedded already.

    What a token sees is each mixer's ``direction``: forward, both or all. The recipe's ``tied`` means nothing here.

    Arguments:
        recipe: what to build.

    Raises:
        RecipeError: a layout that is not allowed, or an encoder of its own.
    """

    def __init__(self, recipe: ModelRecipe) -> None:
        super().__init__()
        refuse_encoder(recipe)
        self.recipe = recipe
        self.embedding_norm = make_norm(recipe.norm if recipe.embedding_norm else "none", recipe.width, recipe.norm_eps)
        self.positions = None if recipe.positions is None else make_mixer(recipe, recipe.positions)
        self.dropout = nn.Dropout(recipe.dropout if recipe.embedding_dropout is None else recipe.embedding_dropout)
        self.blocks = make_blocks(recipe, resolve_layout(recipe))
        self.norm = make_norm(recipe.norm, recipe.width, recipe.norm_eps)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        *,
        reset: Bool[Tensor, "B T"] | None = None,
        shape: Sequence[int] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """What is made of every token.

        Arguments:
            x: embedded tokens, T > 0.
            reset: true where a new document begins; not with a shape.
            shape: sizes of a grid whose tokens x holds, its last axis the fastest: they are mixed along every axis, and
                the results summed.

        Raises:
            RecipeError: both a reset and a shape.
        """
        if reset is not None and shape is not None:
            raise RecipeError("a grid of tokens is one document a row: give reset or shape")
        x = self.embedding_norm(x)
        if self.positions is not None:
            placed = self.positions(x, reset=reset) if shape is None else along_axes(self.positions, x, shape)
            x = placed.to(x.dtype)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, reset=reset, shape=shape)
        encoded: Tensor = self.norm(x)
        return encoded

    @property
    def sees_later(self) -> bool:
        """Whether a mixer sees what comes later in a row."""
        names = {cast(Block, block).name for block in self.blocks} | {self.recipe.positions} - {None}
        return any(self.recipe.mixers[str(name)].direction != "forward" for name in names)

    def pooled(
        self,
        x: Float[Tensor, "B T D"],
        *,
        pool: Pool,
        lengths: Int[Tensor, " B"] | None = None,
        shape: Sequence[int] | None = None,
    ) -> Float[Tensor, "B D"]:
        """One vector of every row.

        Arguments:
            x: embedded tokens, T > 0.
            pool: mean over tokens, or the last token.
            lengths: ≥ 1, how many tokens of each row count, where rows are padded at their end; the rest is a document
                of its own where a mixer would see it from before.
            shape: as :meth:`forward` takes it.
        """
        steps = torch.arange(x.shape[1], device=x.device)
        if lengths is not None and bool((lengths == x.shape[1]).all()):
            lengths = None  # nothing is padding, so that what cannot tell documents apart need not
        reset = None if lengths is None or not self.sees_later else steps == lengths[:, None]
        encoded: Tensor = self(x, reset=reset, shape=shape)
        if pool == "last":
            last = steps[-1:] if lengths is None else lengths - 1
            return encoded[torch.arange(x.shape[0], device=x.device), last]
        if lengths is None:
            return encoded.mean(1)
        counted = (steps < lengths[:, None])[..., None]
        return (encoded * counted).sum(1) / lengths[:, None]


def refuse_padding(recipe: ModelRecipe) -> str | None:
    """Why an encoder of this recipe cannot leave padding out, or None; where no mixer sees what comes later, it can."""
    if all(mixer.direction == "forward" for mixer in recipe.mixers.values()):
        return None
    for name, mixer in recipe.mixers.items():
        if isinstance(mixer, ConvolutionMixer):
            return f"mixers.{name}: a long convolution cannot leave out the padding at a row's end"
        if isinstance(mixer, EOSMixer) and mixer.direction == "all":
            return f"mixers.{name}: with direction=all every token reads one memory, padding included"
    return None


def check_head(classes: int, pool: str) -> None:
    """Refuse too few classes, and a pool that there is not.

    Raises:
        RecipeError: one of them.
    """
    if pool not in get_args(Pool):
        raise RecipeError(f"pool must be mean or last, got {pool!r}")
    if classes < 2:
        raise RecipeError(f"there must be at least two classes, got {classes}")


class Classifier(nn.Module):
    """Classes of sequences or grids: an embedding, an encoder, a pool and a linear head.

    Arguments:
        recipe: what the encoder is made of.
        classes: number of classes, ≥ 2.
        vocabulary: number of token ids; or None for inputs of real numbers.
        features: real numbers of every token, where there is no vocabulary.
        pool: mean over tokens, or the last token.

    Raises:
        RecipeError: neither vocabulary nor features, or both; or too few classes.
    """

    def __init__(
        self,
        recipe: ModelRecipe,
        classes: int,
        *,
        vocabulary: int | None = None,
        features: int | None = None,
        pool: Pool = "mean",
    ) -> None:
        super().__init__()
        if (vocabulary is None) == (features is None):
            raise RecipeError("a classifier takes token ids (vocabulary=N) or real numbers (features=N): give one")
        if features is not None and features < 1:
            raise RecipeError(f"there must be at least one feature, got {features}")
        check_head(classes, pool)
        self.embedding: nn.Module
        if vocabulary is not None:
            self.embedding = nn.Embedding(vocabulary, recipe.width)
            nn.init.normal_(self.embedding.weight, std=recipe.initial_std)
        elif features is not None:
            self.embedding = nn.Linear(features, recipe.width)
        self.encoder = Encoder(recipe)
        self.pool: Pool = pool
        self.head = nn.Linear(recipe.width, classes)

    def forward(
        self, inputs: Tensor, *, lengths: Tensor | None = None, shape: Sequence[int] | None = None
    ) -> Float[Tensor, "B classes"]:
        """The logits of the classes.

        Arguments:
            inputs: token ids [B,T], or real numbers [B,T,features].
            lengths: [B], ≥ 1, how many tokens of each row count, where rows are padded at their end; no class depends
                on those beyond.
            shape: sizes of a grid, as :meth:`Encoder.forward` takes it.
        """
        x = self.embedding(inputs)
        logits: Tensor = self.head(self.encoder.pooled(x, pool=self.pool, lengths=lengths, shape=shape))
        return logits
