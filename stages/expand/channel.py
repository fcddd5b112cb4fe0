"""A projection of the input with an entry for every entry of the memory: each channel is written by itself.

Equation: e_t = φ(W x_t) in R^{K×V} a head
Source: arXiv:2311.04823, section 3.3; arXiv:2303.06349, section 3 (K = 2: a complex input, real and imaginary part)
"""

from einops import rearrange
from torch import Tensor, nn

from eos.stage import AbstractExpand, Activation, LayerContext, activate, option, options


class ChannelExpand(AbstractExpand):
    """e_t = φ(W x_t), a matrix K × V a head; with input=ones it is all that is written."""

    @options
    class Options:
        """How the projection becomes e."""

        activation: Activation = option("none", "φ, elementwise")
        bias: bool = option(False, "a bias in the projection")

    options: Options

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        self.projection = nn.Linear(context.width, self.features, bias=options.bias)

    @property
    def features(self) -> int:
        """G · K · V."""
        return self.context.groups * self.context.key_size * self.context.value_size

    def project(self, x: Tensor) -> Tensor:
        """W x."""
        z: Tensor = self.projection(x)
        return z

    def forward(self, z: Tensor) -> Tensor:
        sizes = {"g": self.context.groups, "k": self.context.key_size}
        return activate(self.options.activation, rearrange(z, "b t (g k v) -> b t g k v", **sizes))
