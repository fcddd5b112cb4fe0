"""The feed-forward part of a block."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from eos.config import ChannelMixer
from eos.layer.projection import output_projection
from eos.stage import activate


class FeedForward(nn.Module):
    """glu: W_3 (φ(W_1 x) ∘ W_2 x); mlp: W_2 φ(W_1 x).

    Source: arXiv:2002.05202 (glu); arXiv:2307.14995, section 3 (glu without an activation).
    """

    def __init__(self, options: ChannelMixer, width: int, *, layers: int) -> None:
        super().__init__()
        hidden = math.ceil(round(options.ratio * width, 6) / options.multiple) * options.multiple
        self.activation = options.activation
        self.gate = nn.Linear(width, hidden, bias=False)
        self.value = nn.Linear(width, hidden, bias=False) if options.name == "glu" else None
        self.output = output_projection(hidden, width, layers=layers, bias=False)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """Mix the channels of every token by itself."""
        z = activate(self.activation, self.gate(x))
        output: Tensor = self.output(z if self.value is None else z * self.value(x))
        return output
