"""A time-invariant diagonal state space a head: N complex modes, the same for every entry that is written.

Equation: o = exp(Δ Re λ_n), φ = Δ Im λ_n, λ_n = −exp(a_n) + iω_n, e_t ← Δ e_t, Δ = exp(d) a head, K = 2 N d
Source: arXiv:2212.14052, section 3.1; arXiv:2206.11893, section 4 (ω_n = πn at the start)
"""

import math

import torch
from einops import repeat
from torch import Tensor

from eos.record import Transition
from eos.stage import AbstractOscillation, LayerContext, option, options, split_modes, spread, undecayed, widen


class Modes(AbstractOscillation):
    """Decays and turns over K, so that whole heads stay matrix products. Steps start spread over the heads."""

    @options
    class Options:
        """How many entries there are, and where the steps start."""

        entries: int = option(1, "d, entries that each pass N = K / 2d complex modes", low=1, high=256)
        step_low: float = option(1e-3, "Δ of the first head at the start", above=0, high=10, log=True)
        step_high: float = option(0.1, "Δ of the last head at the start", above=0, high=10, log=True)

    options: Options

    @classmethod
    def refuse(cls, options: Options, context: LayerContext) -> str | None:
        return split_modes(options.entries, context.key_size)

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        heads, modes = context.heads, context.key_size // (2 * options.entries)
        self.log_step = undecayed(spread(math.log(options.step_low), math.log(options.step_high), heads))
        self.log_rate = undecayed(torch.full((heads, modes), math.log(0.5)))
        self.turn = undecayed((math.pi * torch.arange(modes)).repeat(heads, 1))

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        step = widen(self.log_step).exp()[:, None]
        decay, phase = (
            repeat(part * step, "h n -> 1 1 h (n d)", d=self.options.entries)
            for part in (-widen(self.log_rate).exp(), widen(self.turn))
        )
        return Transition(key=decay, phase=phase, gate=step[None, None, ..., None])
