"""A selective state space: a learned rate for every entry of the memory times a data-dependent step a channel.

Equation: Δ_t = softplus(W x_t + b) over V; log o_t = A ∘ Δ_t, A = −exp(a) in R^{K×V}; e_t ← Δ_t e_t
Source: arXiv:2312.00752, section 3.2 and algorithm 2; arXiv:2206.11893, section 4 (turning: A_p = −1/2 + iπp)
"""

import math

import torch
from torch import Tensor, nn

from eos.record import Transition
from eos.stage import (
    AbstractOscillation,
    GateProjection,
    LayerContext,
    option,
    options,
    softplus,
    spread,
    undecayed,
    widen,
)


class RateStep(AbstractOscillation):
    """Rates start at 1 … K in every channel; steps start between 0.001 and 0.1, spread over the channels."""

    @options
    class Options:
        """The step's projection, and whether the memory turns."""

        rank: int | None = option(
            None, "bottleneck of the step's projection; null means ⌈width / 16⌉", low=1, high=1024
        )
        turning: bool = option(False, "complex rates: pairs of the memory shrink and turn; K must be even")
        step_low: float = option(1e-3, "Δ of the first channel at the start", above=0, high=10, log=True)
        step_high: float = option(0.1, "Δ of the last channel at the start", above=0, high=10, log=True)

    options: Options

    @classmethod
    def refuse(cls, options: Options, context: LayerContext) -> str | None:
        odd = options.turning and context.key_size % 2
        return f"turning needs an even K, got K = {context.key_size}" if odd else None

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        heads, values = context.heads, context.value_size
        step = spread(math.log(options.step_low), math.log(options.step_high), heads * values).exp()
        start = step.expm1().log().view(heads, values)
        self.logits = GateProjection(context.width, start, rank=options.rank or math.ceil(context.width / 16))
        self.phase_rate: nn.Parameter | None = None
        if options.turning:
            pairs = context.key_size // 2
            self.log_rate = undecayed(torch.full((heads, pairs, values), math.log(0.5)))
            self.phase_rate = undecayed(self._per_entry(math.pi * torch.arange(pairs)))
        else:
            self.log_rate = undecayed(self._per_entry(torch.arange(1.0, context.key_size + 1).log()))

    def _per_entry(self, values: Tensor) -> Tensor:
        """[K or K/2] → [H,K or K/2,V], the same in every channel."""
        return values[:, None].repeat(self.context.heads, 1, self.context.value_size)

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        step = softplus(self.logits.unbiased(x)[..., None, :], self.logits.bias[:, None])
        return Transition(
            rate=-widen(self.log_rate).exp(),
            phase_rate=None if self.phase_rate is None else widen(self.phase_rate),
            step=step,
            gate=step,
        )
