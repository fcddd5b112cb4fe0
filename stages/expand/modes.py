"""A projection written alike into the N complex modes of a state space, entry by entry.

Equation: e_t = [k_t, k_t, …, 0, 0, …], k_t = W x_t in R^d a head, N times in the real parts, K = 2 N d
Source: arXiv:2212.14052, section 3.1 (the outer product k vᵀ passes a diagonal state space)
"""

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from eos.stage import AbstractExpand, LayerContext, option, options, split_modes


class ModesExpand(AbstractExpand):
    """With oscillation = modes and shrink = modes of as many entries."""

    @options
    class Options:
        """How many entries there are."""

        entries: int = option(1, "d, entries that each pass N = K / 2d complex modes", low=1, high=256)

    options: Options

    @classmethod
    def refuse(cls, options: Options, context: LayerContext) -> str | None:
        return split_modes(options.entries, context.key_size)

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        self.projection = nn.Linear(context.width, self.features, bias=False)

    @property
    def features(self) -> int:
        """G · d."""
        return self.context.groups * self.options.entries

    def project(self, x: Tensor) -> Tensor:
        """W x."""
        z: Tensor = self.projection(x)
        return z

    def forward(self, z: Tensor) -> Tensor:
        k = rearrange(z, "b t (g d) -> b t g d", g=self.context.groups)
        real = repeat(k, "b t g d -> b t g (n d)", n=self.context.key_size // (2 * self.options.entries))
        return torch.cat([real, torch.zeros_like(real)], -1)
