"""A time-invariant diagonal state space: a learned complex rate of every entry times a learned step of every channel.

Equation: o = exp(Δ_v Re A), φ = Δ_v Im A, A_p = −exp(a_p) + iω_p, Δ_v = exp(d_v)
Source: arXiv:2206.11893, section 4 (linear: ω_p = πp; inverse: ω_p = (N/π)(N/(2p+1) − 1); real: A_p = −(p+1), ω = 0)
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from eos.record import Transition
from eos.stage import AbstractOscillation, LayerContext, option, options, spread, undecayed


class StateSpace(AbstractOscillation):
    """N = K/2 complex entries a channel, or N = K real ones; steps start spread over the channels, on a log scale."""

    @options
    class Options:
        """Where the rates and steps start."""

        start: Literal["linear", "inverse", "real"] = option("linear", "where A starts: S4D-Lin, S4D-Inv or S4D-Real")
        step_low: float = option(1e-3, "Δ of the first channel at the start", above=0, high=10, log=True)
        step_high: float = option(0.1, "Δ of the last channel at the start", above=0, high=10, log=True)

    options: Options

    @classmethod
    def refuse(cls, options: Options, context: LayerContext) -> str | None:
        odd = options.start != "real" and context.key_size % 2
        return f"complex entries are pairs: K must be even, got K = {context.key_size}" if odd else None

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        heads, values = context.heads, context.value_size
        step = spread(math.log(options.step_low), math.log(options.step_high), heads * values).view(heads, values)
        self.log_step = undecayed(step)
        entries = context.key_size if options.start == "real" else context.key_size // 2
        p = torch.arange(entries, dtype=torch.float32)
        decay = p + 1 if options.start == "real" else torch.full_like(p, 0.5)
        self.log_rate = undecayed(self._per_entry(decay.log()))
        self.phase_rate: nn.Parameter | None = None
        if options.start != "real":
            turn = math.pi * p if options.start == "linear" else entries / math.pi * (entries / (2 * p + 1) - 1)
            self.phase_rate = undecayed(self._per_entry(turn))

    def _per_entry(self, values: Tensor) -> Tensor:
        """[N] → [H,N,V], the same in every channel."""
        return values[:, None].repeat(self.context.heads, 1, self.context.value_size)

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        step = self.log_step.exp()[None, None, :, None]
        return Transition(rate=-self.log_rate.exp(), phase_rate=self.phase_rate, step=step)
