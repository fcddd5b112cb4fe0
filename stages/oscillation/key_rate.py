"""A learned rate a head times a data-dependent step for every entry of K.

Equation: log o_t = −exp(a) softplus(W x_t + b) over K, one a a head
Source: arXiv:2510.26692, section 3 (Kimi delta attention; the decay's form is that of its public implementations)
"""

import math

from torch import Tensor
from torch.nn import functional as F

from eos.record import Transition
from eos.stage import AbstractOscillation, GateProjection, LayerContext, option, options, spread, undecayed, widen


class KeyRate(AbstractOscillation):
    """Steps start between 0.001 and 0.1, spread over K, and rates between 1 and 16, spread over the heads."""

    @options
    class Options:
        """The step's projection and where it starts."""

        rank: int | None = option(None, "bottleneck of the projection; null means full rank", low=1, high=1024)
        step_low: float = option(1e-3, "the step of the first entry at the start", above=0, high=10, log=True)
        step_high: float = option(0.1, "the step of the last entry at the start", above=0, high=10, log=True)

    options: Options

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        step = spread(math.log(options.step_low), math.log(options.step_high), context.heads, context.key_size).exp()
        self.logits = GateProjection(context.width, step.expm1().log(), rank=options.rank)
        self.log_rate = undecayed(spread(1.0, 16.0, context.heads).log())

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        return Transition(key=-widen(self.log_rate).exp()[:, None] * F.softplus(self.logits(x)))
