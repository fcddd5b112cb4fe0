"""A pre-norm block: a token mixer and a channel mixer, each on a residual branch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from eos.config import ConvolutionMixer, CrossMixer, ModelRecipe, SoftmaxMixer
from eos.errors import CompositionError
from eos.layer import AbstractCache, AbstractMixer, EOSLayer, LongConvolution
from eos.layer.direction import along_axes
from eos.layer.mixer import take_rows
from eos.layer.norm import make_norm
from eos.models.attention import SoftmaxAttention
from eos.models.channel_mixer import FeedForward
from eos.models.cross_attention import Context, CrossAttention
from eos.models.layout import channel_mixer_of


@dataclass
class BlockCache:
    """What a block remembers in decoding: its mixer's cache, and the last x of a channel mixer with a token shift."""

    mixer: AbstractCache
    shifted: Tensor | None

    def tensors(self) -> Iterator[Tensor]:
        """Everything it holds."""
        yield from self.mixer.tensors()
        if self.shifted is not None:
            yield self.shifted

    @property
    def bytes(self) -> int:
        """How much memory it takes now."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors())

    def reorder(self, rows: Int[Tensor, " B"]) -> None:
        """Row b goes on from what row rows[b] has seen."""
        self.mixer.reorder(rows)
        if self.shifted is not None:
            take_rows(self.shifted, rows)


def make_mixer(
    recipe: ModelRecipe, name: str, *, layer: int = 0, shared: dict[str, nn.Parameter] | None = None
) -> AbstractMixer:
    """The mixer of this name in a recipe, built for a layer."""
    mixer = recipe.mixers[name]
    if isinstance(mixer, SoftmaxMixer):
        return SoftmaxAttention(mixer, recipe.width, layers=recipe.layers)
    if isinstance(mixer, ConvolutionMixer):
        return LongConvolution(mixer, recipe.width, layer=layer, layers=recipe.layers)
    return EOSLayer(mixer, recipe.width, layer=layer, layers=recipe.layers, shared=shared)


class Block(nn.Module):
    """x ← x + Mixer(Norm(x)); x ← x + Cross(Norm(x), context) in a decoder; x ← x + FeedForward(Norm(x))."""

    def __init__(
        self,
        recipe: ModelRecipe,
        name: str,
        *,
        layer: int,
        shared: dict[str, nn.Parameter],
        cross: CrossMixer | None = None,
    ) -> None:
        super().__init__()
        width, layers = recipe.width, recipe.layers
        self.name = name
        self.mixer_norm = make_norm(recipe.norm, width, recipe.norm_eps)
        self.mixer = make_mixer(recipe, name, layer=layer, shared=shared)
        self.dropout = nn.Dropout(recipe.dropout)
        self.cross: CrossAttention | None = None
        if cross is not None:
            self.cross_norm = make_norm(recipe.norm, width, recipe.norm_eps)
            self.cross = CrossAttention(cross, width, layers=layers)
        self.channel_mixer: FeedForward | None = None
        channels = channel_mixer_of(recipe, name)
        if channels.name != "none":
            self.channel_norm = make_norm(recipe.norm, width, recipe.norm_eps)
            self.channel_mixer = FeedForward(channels, width, layer=layer, layers=layers)

    def cache(self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None) -> BlockCache:
        """An empty cache for decoding ``batch`` rows."""
        shifted = None
        if self.channel_mixer is not None and self.channel_mixer.shift is not None:
            shifted = torch.zeros(batch, 1, self.channel_mixer.shift.mix.shape[1], device=device, dtype=dtype)
        return BlockCache(mixer=self.mixer.cache(batch, device=device, dtype=dtype), shifted=shifted)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        *,
        reset: Bool[Tensor, "B T"] | None = None,
        cache: BlockCache | None = None,
        shape: Sequence[int] | None = None,
        context: Context | None = None,
    ) -> Float[Tensor, "B T D"]:
        """One block; with the shape of a grid, its tokens are mixed along every axis. A decoder's reads its context."""
        z = self.mixer_norm(x)
        if shape is None:
            mixed = self.mixer(z, reset=reset, cache=None if cache is None else cache.mixer)
        elif self.channel_mixer is not None and self.channel_mixer.shift is not None:
            raise CompositionError("channel_mixer.token_shift looks at the token before, and a grid has several")
        elif isinstance(self.mixer, EOSLayer) and self.mixer.mixer.grid == "places":
            mixed = self.mixer(z, shape=shape)
        else:
            mixed = along_axes(self.mixer, z, shape)
        x = x + self.dropout(mixed)
        if self.cross is not None and context is not None:
            x = x + self.dropout(self.cross(self.cross_norm(x), context))
        if self.channel_mixer is not None:
            past = None if cache is None else cache.shifted
            z, last = self.channel_mixer(self.channel_norm(x), reset=reset, past=past)
            x = x + self.dropout(z)
            if past is not None and cache is not None:
                cache.shifted = last
        return x
