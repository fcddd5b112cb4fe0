"""From one sequence to another: an encoder, and a causal decoder that reads what it made."""

from dataclasses import dataclass, replace
from typing import Literal, cast

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from eos.config import ConvolutionMixer, CrossMixer, EOSMixer, Mixer, ModelRecipe
from eos.errors import CompositionError, RecipeError
from eos.layer.norm import make_norm
from eos.models.block import Block, BlockCache
from eos.models.cross_attention import Context, CrossAttention
from eos.models.encoder import Encoder
from eos.models.layout import causal_layout, of_encoder
from eos.models.stack import make_blocks


@dataclass(frozen=True)
class DecoderCache:
    """The decoding state of every layer, and what it reads of the source; a forward pass moves the former on."""

    layers: tuple[BlockCache, ...]
    contexts: tuple[Context, ...]

    @property
    def bytes(self) -> int:
        """How much memory it takes now."""
        return sum(layer.bytes for layer in self.layers) + sum(context.bytes for context in self.contexts)

    def reorder(self, rows: Int[Tensor, " B"]) -> None:
        """Row b goes on from what row rows[b] has seen; both read the same source, for what was read of it stays."""
        for layer in self.layers:
            layer.reorder(rows)


Direction = Literal["forward", "both", "all"]


def encoder_recipe(recipe: ModelRecipe, direction: Direction = "both") -> ModelRecipe:
    """The recipe of the encoder beside a decoder: its own depth and layout, and mixers that see in this direction.

    What has no pass from either end (softmax attention, convolutions) sees all where both is asked for.
    """
    mixers = {name: _turned(mixer, direction) for name, mixer in recipe.mixers.items()}
    return replace(of_encoder(recipe), mixers=mixers)


def _turned(mixer: Mixer, direction: Direction) -> Mixer:
    if isinstance(mixer, EOSMixer):
        return replace(mixer, direction=direction)
    seen: Literal["forward", "all"] = "forward" if direction == "forward" else "all"
    if isinstance(mixer, ConvolutionMixer):
        return replace(mixer, direction=seen, decoding="window")  # an encoder decodes nothing
    return replace(mixer, direction=seen)


class EncoderDecoder(nn.Module):
    """An encoder of source tokens and a decoder of target tokens, each a recipe of its own, of one width.

    Arguments:
        encoder, decoder: what they are made of; the decoder's mixers see the past alone.
        cross: how the decoder reads what was encoded, in every layer.
        vocabulary: token ids of both; the embeddings are apart, the head shares the decoder's where it is tied.

    Raises:
        RecipeError: widths that differ.
        CompositionError: a decoder that sees what comes later.
    """

    def __init__(
        self, encoder: ModelRecipe, decoder: ModelRecipe, *, vocabulary: int, cross: CrossMixer | None = None
    ) -> None:
        super().__init__()
        if encoder.width != decoder.width:
            raise RecipeError(f"encoder and decoder need one width, got {encoder.width} and {decoder.width}")
        if decoder.positions is not None:
            raise CompositionError("a decoder has no positions of its own; take a recipe without")
        cross = cross or CrossMixer()
        self.source = nn.Embedding(vocabulary, encoder.width)
        self.target = nn.Embedding(vocabulary, decoder.width)
        nn.init.normal_(self.source.weight, std=encoder.initial_std)
        nn.init.normal_(self.target.weight, std=decoder.initial_std)
        self.encoder = Encoder(encoder)
        self.embedding_norm = make_norm(
            decoder.norm if decoder.embedding_norm else "none", decoder.width, decoder.norm_eps
        )
        self.dropout = nn.Dropout(decoder.dropout if decoder.embedding_dropout is None else decoder.embedding_dropout)
        self.blocks = make_blocks(decoder, causal_layout(decoder), cross=cross)
        self.norm = make_norm(decoder.norm, decoder.width, decoder.norm_eps)
        self.head: nn.Linear | None = None
        if not decoder.tied:
            self.head = nn.Linear(decoder.width, vocabulary, bias=False)
            nn.init.normal_(self.head.weight, std=decoder.initial_std)

    def encode(self, source: Int[Tensor, "B S"], *, seen: Bool[Tensor, "B S"] | None = None) -> tuple[Context, ...]:
        """What every layer of the decoder reads; source tokens that are not ``seen`` stand at the end, as padding."""
        reset = None
        if seen is not None and bool(seen.all()):
            seen = None  # nothing is padding, so that what cannot tell documents apart need not
        if seen is not None and self.encoder.sees_later:
            reset = ~seen & F.pad(seen[:, :-1], (1, 0), value=True)
        encoded = self.encoder(self.source(source), reset=reset)
        return tuple(cast(CrossAttention, cast(Block, block).cross).read(encoded, seen=seen) for block in self.blocks)

    def cache(self, contexts: tuple[Context, ...]) -> DecoderCache:
        """An empty decoding cache for what was encoded."""
        like = self.target.weight
        batch = contexts[0].keys.shape[0]
        blocks = (cast(Block, block).cache(batch, device=like.device, dtype=like.dtype) for block in self.blocks)
        return DecoderCache(tuple(blocks), contexts)

    def forward(
        self, target: Int[Tensor, "B T"], *, source: Int[Tensor, "B S"], seen: Bool[Tensor, "B S"] | None = None
    ) -> Float[Tensor, "B T vocabulary"]:
        """The logits of the token after each of these, from the source: :meth:`encode`, then :meth:`decode`."""
        return self.decode(target, self.encode(source, seen=seen))

    def decode(
        self, target: Int[Tensor, "B T"], context: tuple[Context, ...] | DecoderCache
    ) -> Float[Tensor, "B T vocabulary"]:
        """The logits of the token after each of these.

        Arguments:
            target: tokens so far; with a cache, those that follow what earlier calls saw.
            context: from :meth:`encode`; or from :meth:`cache`, which is moved on.
        """
        cache = context if isinstance(context, DecoderCache) else None
        contexts = context.contexts if isinstance(context, DecoderCache) else context
        x = self.dropout(self.embedding_norm(self.target(target)))
        for index, block in enumerate(self.blocks):
            x = block(x, cache=None if cache is None else cache.layers[index], context=contexts[index])
        return F.linear(self.norm(x), self.target.weight if self.head is None else self.head.weight)
