"""A data-dependent step size times a learned rate, one a head; the step also gates what is written.

Equation: Δ_t = softplus(W x_t + b); log o_t = −exp(a) Δ_t; e_t ← Δ_t e_t
Source: arXiv:2405.21060, section 7
"""

import math
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from eos.record import Transition
from eos.stage import AbstractOscillation, GateProjection, LayerContext, option, options, spread, undecayed, widen


class HeadRate(AbstractOscillation):
    """Steps start between 0.001 and 0.1 and rates between 1 and 16, both spread over the heads."""

    @options
    class Options:
        """What multiplies e, and where the steps start."""

        gate: Literal["none", "step"] = option("step", "what multiplies e: nothing, or Δ_t")
        step_low: float = option(1e-3, "Δ of the first head at the start", above=0, high=10, log=True)
        step_high: float = option(0.1, "Δ of the last head at the start", above=0, high=10, log=True)

    options: Options

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        heads = context.heads
        step = spread(math.log(options.step_low), math.log(options.step_high), heads).exp()
        self.logits = GateProjection(context.width, step.expm1().log())
        self.log_rate = undecayed(spread(1.0, 16.0, heads).log())

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        step = F.softplus(self.logits(x))
        gate = step[..., None, None] if self.options.gate == "step" else None
        return Transition(head=-widen(self.log_rate).exp() * step, gate=gate)
