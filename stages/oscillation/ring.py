"""A learned complex number of every channel, that decays and turns its state by as much at every step.

Equation: λ_v = exp(−exp(ν_v) + i exp(θ_v)); e_t ← γ_v e_t, γ starting from √(1 − |λ|²)
Source: arXiv:2303.06349, sections 3.2 to 3.4
"""

import math

import torch
from torch import Tensor

from eos.record import Transition
from eos.stage import AbstractOscillation, LayerContext, option, options, undecayed, widen


class Ring(AbstractOscillation):
    """λ starts uniformly on a ring in the complex plane; every pair of K turns alike."""

    @options
    class Options:
        """The ring at the start."""

        low: float = option(0.0, "|λ| of the inner edge", low=0, high=0.9999)
        high: float = option(0.99, "|λ| of the outer edge; at least low", above=0, high=0.9999)
        angle: float = option(2 * math.pi, "angles lie between 0 and this, in radians", above=0, high=2 * math.pi)

    options: Options

    @classmethod
    def refuse(cls, options: Options, context: LayerContext) -> str | None:
        if options.high < options.low:
            return f"the ring needs low ≤ high, got {options.low} and {options.high}"
        odd = context.key_size % 2
        return f"a turn needs pairs: K must be even, got K = {context.key_size}" if odd else None

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        shape = (context.heads, context.value_size)
        square = options.low**2 + torch.rand(shape) * (options.high**2 - options.low**2)
        square = square.clamp(min=1e-6)  # a state that forgets at once has no logarithm
        self.log_rate = undecayed((-0.5 * square.log()).log())
        self.log_angle = undecayed((options.angle * torch.rand(shape).clamp(min=1e-6)).log())
        self.log_gate = undecayed(0.5 * torch.log1p(-square))

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        decay, angle, gate = (
            widen(parameter).exp()[None, None] for parameter in (self.log_rate, self.log_angle, self.log_gate)
        )
        return Transition(value=-decay, phase=angle[:, :, :, None], gate=gate[:, :, :, None])
