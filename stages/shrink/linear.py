"""A projection of the input, with an activation, normalisation and scale.

Equation: s_t = φ(W x_t)
Source: arXiv:2006.16236, section 3.2; arXiv:2405.17383, section 3
"""

from typing import Literal

from einops import rearrange
from torch import Tensor, nn

from eos.record import Transition
from eos.stage import AbstractShrink, Activation, LayerContext, option, options, state_activation, unit


class LinearShrink(AbstractShrink):
    """s_t = φ(W x_t), one vector of size K a head."""

    @options
    class Options:
        """How the projection becomes s."""

        activation: Activation = option("none", "φ, elementwise")
        bias: bool = option(False, "a bias in the projection")
        raised: bool = option(False, "add 1/√K after the activation: no entry of a rectified one is zero")
        normalise: Literal["none", "l2"] = option("none", "l2: divide s by its length, after the activation")
        eps: float = option(0.0, "added to the squared length that normalise=l2 divides by", low=0, high=1)
        scaled: bool = option(False, "divide s by √K")

    options: Options

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        self.projection = nn.Linear(context.width, self.features, bias=options.bias)

    @property
    def features(self) -> int:
        """G · K."""
        return self.context.groups * self.context.key_size

    def project(self, x: Tensor) -> Tensor:
        """W x."""
        z: Tensor = self.projection(x)
        return z

    def forward(self, z: Tensor, e: Tensor, transition: Transition) -> Tensor:
        s = state_activation(self.options.activation, rearrange(z, "b t (g k) -> b t g k", g=self.context.groups))
        if self.options.raised:
            s = s + self.context.key_size**-0.5
        if self.options.normalise == "l2":
            s = unit(s, eps=self.options.eps)
        return s * self.context.key_size**-0.5 if self.options.scaled else s
