"""The terms of exp to the second order, as features whose products are 1 + a + a²/2 for a = qᵀk / √d.

Equation: e_t = [1, z, z ⊗ z / √2], z = d^(−1/4) W x_t in R^d, d the largest with 1 + d + d² ≤ K; the rest is zero
Source: arXiv:2402.18668, section 4.1
"""

from einops import rearrange
from torch import Tensor, nn

from eos.stage import AbstractExpand, LayerContext, taylor_features, taylor_size


class TaylorExpand(AbstractExpand):
    """K = 273 holds d = 16."""

    @classmethod
    def refuse(cls, options: object, context: LayerContext) -> str | None:
        return f"1 + d + d² features need K ≥ 3, got K = {context.key_size}" if context.key_size < 3 else None

    def __init__(self, options: AbstractExpand.Options, context: LayerContext) -> None:
        super().__init__(options, context)
        self.size = taylor_size(context.key_size)
        self.projection = nn.Linear(context.width, self.features, bias=False)

    @property
    def features(self) -> int:
        """G · d."""
        return self.context.groups * self.size

    def project(self, x: Tensor) -> Tensor:
        """W x."""
        z: Tensor = self.projection(x)
        return z

    def forward(self, z: Tensor) -> Tensor:
        return taylor_features(rearrange(z, "b t (g d) -> b t g d", g=self.context.groups), self.context.key_size)
