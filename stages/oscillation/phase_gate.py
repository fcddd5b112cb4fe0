"""A data-dependent turn of every pair of entries.

Equation: m_p + i·m_{p+K/2} ← exp(iφ_t) (m_p + i·m_{p+K/2}), φ_t = W x_t + b over K/2
Source: arXiv:2311.01927, section 3 (the phase of its complex gate)
"""

import math

from torch import Tensor

from eos.record import Transition
from eos.stage import AbstractOscillation, GateProjection, LayerContext, option, options, spread


class PhaseGate(AbstractOscillation):
    """Angles start spread from 0 to a fraction of π over the pairs."""

    @options
    class Options:
        """The projection and where the angles start."""

        rank: int | None = option(None, "bottleneck of the projection; null means full rank", low=1, high=1024)
        highest: float = option(0.5, "the last pair's angle at the start, as a fraction of π", low=0, high=1)

    options: Options

    @classmethod
    def refuse(cls, options: Options, context: LayerContext) -> str | None:
        odd = context.key_size % 2
        return f"a phase turns pairs: K must be even, got K = {context.key_size}" if odd else None

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        start = spread(0.0, options.highest * math.pi, context.heads, context.key_size // 2)
        self.phase = GateProjection(context.width, start, rank=options.rank)

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        return Transition(phase=self.phase(x))
