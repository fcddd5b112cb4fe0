"""A learned read of the N complex modes of a state space, weighted by a projection of the input.

Equation: y_t = q_tᵀ Σ_n 2 Re(C_n z_n m_n), q_t = W x_t in R^d a head, z = (exp(x) − 1) / x with x = log o + iφ
Source: arXiv:2212.14052, section 3.1; arXiv:2206.11893, section 3 (z: zero-order hold, with Δ a gate of e)
"""

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from eos.record import Transition
from eos.stage import AbstractShrink, CompositionError, LayerContext, complex_expm1, option, options, split_modes, widen


class ModesShrink(AbstractShrink):
    """C starts from N(0, 1), a head."""

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
        self.weight = nn.Parameter(torch.randn(context.heads, context.key_size // options.entries))

    @property
    def features(self) -> int:
        """H · d: every head reads by itself, for C is a head's own."""
        return self.context.heads * self.options.entries

    def project(self, x: Tensor) -> Tensor:
        """W x."""
        z: Tensor = self.projection(x)
        return z

    def forward(self, z: Tensor, e: Tensor, transition: Transition) -> Tensor:
        key, phase = transition.key, transition.phase
        if key is None or phase is None or phase.dim() == 5 or transition.head is not None:
            raise CompositionError("shrink=modes reads modes that decay and turn over K: oscillation=modes makes them")
        q = rearrange(z, "b t (h d) -> b t h d", h=self.context.heads)
        c = 2 * repeat(torch.complex(*widen(self.weight).chunk(2, -1)), "h n -> h (n d)", d=self.options.entries)
        key, phase = torch.broadcast_tensors(key, phase)
        c = c * complex_expm1(key, phase) / torch.complex(key, phase)
        q = repeat(q, "b t h d -> b t h (n d)", n=self.context.key_size // (2 * self.options.entries))
        return torch.cat([c.real * q, -c.imag * q], -1)
