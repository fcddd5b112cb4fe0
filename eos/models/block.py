"""A pre-norm block: a token mixer and a channel mixer, each on a residual branch."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from eos.config import EOSMixer, ModelRecipe, SoftmaxMixer
from eos.layer import AbstractCache, AbstractMixer, EOSLayer
from eos.layer.norm import make_norm
from eos.models.attention import SoftmaxAttention
from eos.models.channel_mixer import FeedForward


class Block(nn.Module):
    """x ← x + Mixer(Norm(x)); x ← x + FeedForward(Norm(x))."""

    def __init__(
        self, recipe: ModelRecipe, mixer: EOSMixer | SoftmaxMixer, *, layer: int, shared: dict[str, nn.Parameter]
    ) -> None:
        super().__init__()
        width, layers = recipe.width, recipe.layers
        self.mixer_norm = make_norm(recipe.norm, width, recipe.norm_eps)
        self.mixer: AbstractMixer = (
            SoftmaxAttention(mixer, width, layers=layers)
            if isinstance(mixer, SoftmaxMixer)
            else EOSLayer(mixer, width, layer=layer, layers=layers, shared=shared)
        )
        self.dropout = nn.Dropout(recipe.dropout)
        self.channel_mixer: FeedForward | None = None
        if recipe.channel_mixer.name != "none":
            self.channel_norm = make_norm(recipe.norm, width, recipe.norm_eps)
            self.channel_mixer = FeedForward(recipe.channel_mixer, width, layers=layers)

    def forward(
        self, x: Float[Tensor, "B T D"], *, reset: Bool[Tensor, "B T"] | None = None, cache: AbstractCache | None = None
    ) -> Float[Tensor, "B T D"]:
        """One block."""
        x = x + self.dropout(self.mixer(self.mixer_norm(x), reset=reset, cache=cache))
        if self.channel_mixer is not None:
            x = x + self.dropout(self.channel_mixer(self.channel_norm(x)))
        return x
