"""The feed-forward part of a block."""

import math

from jaxtyping import Bool, Float
from torch import Tensor, nn

from eos.config import ChannelMixer, TokenShift
from eos.layer.projection import output_projection
from eos.layer.token_shift import Shift, previous
from eos.stage import activate


def hidden_width(options: ChannelMixer, width: int) -> int:
    """Hidden channels in a model of this width: ``ratio`` times as many, rounded up to a ``multiple``."""
    return math.ceil(round(options.ratio * width, 6) / options.multiple) * options.multiple


class FeedForward(nn.Module):
    """glu: W_3 (φ(W_1 x) ∘ W_2 x); mlp: W_2 φ(W_1 x); with a gate, times sigmoid(W_g x).

    With a token shift, W_1 and W_2 see one mixture of x_t and x_{t-1}, W_g another.

    Source: arXiv:2002.05202 (glu); arXiv:2307.14995, section 3 (glu without an activation); arXiv:2305.13048,
    section 3.1 (gate and token shift)
    """

    def __init__(self, options: ChannelMixer, width: int, *, layer: int, layers: int) -> None:
        super().__init__()
        hidden = hidden_width(options, width)
        self.activation = options.activation
        self.gate = nn.Linear(width, hidden, bias=False)
        self.value = nn.Linear(width, hidden, bias=False) if options.name == "glu" else None
        self.output = output_projection(hidden, width, layers=layers, bias=False)
        self.output_gate = nn.Linear(width, width, bias=False) if options.gate else None
        self.shift: Shift | None = None
        if options.token_shift:
            self.shift = Shift(TokenShift(), width, ("value", "gate"), layer=layer, layers=layers)

    def forward(
        self, x: Float[Tensor, "B T D"], *, reset: Bool[Tensor, "B T"] | None, past: Float[Tensor, "B 1 D"] | None
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B 1 D"]]:
        """Mix the channels of every token by itself, or with the token before; and the last x for what comes next."""
        value = gate = x
        last = x[:, -1:]
        if self.shift is not None:
            before, last = previous(x, reset=reset, past=past)
            seen = self.shift(x, before)
            value, gate = seen["value"], seen["gate"]
        z = activate(self.activation, self.gate(value))
        output: Tensor = self.output(z if self.value is None else z * self.value(value))
        return (output if self.output_gate is None else output * self.output_gate(gate).sigmoid()), last
