"""A positive feature map of a projection of the input, as in the first linear attention.

Equation: e_t = 1 + elu(W x_t)
Source: arXiv:2006.16236, equation 7
"""

from einops import rearrange
from torch import Tensor, nn

from eos.stage import AbstractExpand, LayerContext, activate


class EluExpand(AbstractExpand):
    """e_t = 1 + elu(W x_t) > 0."""

    def __init__(self, options: AbstractExpand.Options, context: LayerContext) -> None:
        super().__init__(options, context)
        self.projection = nn.Linear(context.width, self.features, bias=False)

    @property
    def features(self) -> int:
        """G · K."""
        return self.context.groups * self.context.key_size

    def project(self, x: Tensor) -> Tensor:
        """W x."""
        z: Tensor = self.projection(x)
        return z

    def forward(self, z: Tensor) -> Tensor:
        return activate("elu_plus_one", rearrange(z, "b t (g k) -> b t g k", g=self.context.groups))
