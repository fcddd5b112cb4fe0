"""A time-invariant diagonal state space: a learned complex rate of every entry times a learned step of every channel.

Equation: o = exp(Δ_v Re A), φ = Δ_v Im A, A_p = −exp(a_p) + iω_p, Δ_v = exp(d_v)
Source: arXiv:2206.11893, section 4 (linear: ω_p = πp; inverse: ω_p = (N/π)(N/(2p+1) − 1); real: A_p = −(p+1), ω = 0;
legs: ω_p from the normal part of HiPPO-LegS, as in arXiv:2203.14343)
"""

import math
from typing import Literal

import torch
from torch import Tensor

from eos.record import Transition
from eos.stage import AbstractOscillation, LayerContext, legs, option, options, spread, undecayed, widen


class StateSpace(AbstractOscillation):
    """N = K/2 complex entries a channel, or N = K real ones; steps start spread over the channels, on a log scale."""

    @options
    class Options:
        """Where the rates and steps start."""

        start: Literal["linear", "inverse", "legs", "real"] = option(
            "linear", "where A starts: S4D-Lin, S4D-Inv, S4D-LegS or S4D-Real"
        )
        along: Literal["key", "value"] = option(
            "key", "key: every channel starts with all rates; value: every channel with one of its own, K/2 times alike"
        )
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
        decay, turn = _start(options.start, entries if options.along == "key" else values)
        shape = (heads, entries, values)
        self.log_rate = undecayed(self._spread(decay.log(), shape))
        self.phase_rate = None if turn is None else undecayed(self._spread(turn, shape))

    def _spread(self, rates: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """Rates along K or along V, the same along the other axis [H,N,V]."""
        return (rates[:, None] if self.options.along == "key" else rates).expand(shape).clone()

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        step = widen(self.log_step).exp()[None, None, :, None]
        return Transition(
            rate=-widen(self.log_rate).exp(),
            phase_rate=None if self.phase_rate is None else widen(self.phase_rate),
            step=step,
        )


def _start(kind: str, count: int) -> tuple[Tensor, Tensor | None]:
    """−Re A and Im A of ``count`` entries."""
    p = torch.arange(count, dtype=torch.float32)
    if kind == "real":
        return p + 1, None
    half = torch.full_like(p, 0.5)
    if kind == "linear":
        return half, math.pi * p
    if kind == "inverse":
        return half, count / math.pi * (count / (2 * p + 1) - 1)
    return half, legs(count)[0].float()
