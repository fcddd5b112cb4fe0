"""A data-dependent decay a head: the sigmoid of a projection.

Equation: log o_t = log_sigmoid(W x_t + b) / τ; with the complement gate e_t ← (1 − o_t) e_t
Source: arXiv:2312.06635, appendix (one gate a head); arXiv:2103.02143, section 3.1 (complement)
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from eos.record import Transition
from eos.stage import AbstractOscillation, GateProjection, LayerContext, option, options, spread


class HeadGate(AbstractOscillation):
    """o_t in (0, 1), one a head, with biases spread over the heads."""

    @options
    class Options:
        """The gate's form and where its biases start."""

        tau: float = option(1.0, "divides the log-decay; larger means slower", above=0, high=64, log=True)
        gate: Literal["none", "complement"] = option("none", "what multiplies e: nothing, or 1 − o_t")
        bias_low: float = option(-2.0, "b of the first head", low=-10, high=10)
        bias_high: float = option(4.0, "b of the last head", low=-10, high=10)

    options: Options

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        self.logits = GateProjection(context.width, spread(options.bias_low, options.bias_high, context.heads))

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        log_decay = F.logsigmoid(self.logits(x)) / self.options.tau
        gate = -torch.expm1(log_decay)[..., None, None] if self.options.gate == "complement" else None
        return Transition(head=log_decay, gate=gate)
