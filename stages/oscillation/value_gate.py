"""A data-dependent decay for every entry of V, as in gated element-wise recurrences; with an optional lower bound.

Equation: log o_t = log(γ_l + (1 − γ_l) sigmoid(W x_t + b)) / τ over V; with the complement gate e_t ← (1 − o_t) ∘ e_t
Source: arXiv:1611.01576, equation 5 (without a bound); arXiv:2311.04823, section 3.2 (γ_l = Σ_{j<l} softmax(Γ)_j)
"""

from typing import Literal

import torch
from torch import Tensor, nn

from eos.record import Transition
from eos.stage import (
    AbstractOscillation,
    GateProjection,
    LayerContext,
    bounded_below,
    complement,
    option,
    options,
    spread,
    undecayed,
)


class ValueGate(AbstractOscillation):
    """o_t in (0, 1)^V a head, with biases spread over V."""

    @options
    class Options:
        """The gate's form and where its biases start."""

        rank: int | None = option(None, "bottleneck of the projection; null means full rank", low=1, high=1024)
        tau: float = option(1.0, "divides the log-decay; larger means slower", above=0, high=64, log=True)
        lower_bound: bool = option(
            False, "learn a lower bound γ_l of o, shared by all layers and growing from 0 at l = 0"
        )
        gate: Literal["none", "complement"] = option("none", "what multiplies e: nothing, or 1 − o_t")
        bias_low: float = option(-2.0, "b of the first entry", low=-10, high=10)
        bias_high: float = option(4.0, "b of the last entry", low=-10, high=10)

    options: Options

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        start = spread(options.bias_low, options.bias_high, context.heads, context.value_size)
        self.logits = GateProjection(context.width, start, rank=options.rank)
        self.bounds: nn.Parameter | None = None
        if options.lower_bound and context.layers > 1:  # that of the first layer is zero
            shape = (context.layers, *start.shape)
            self.bounds = context.share(f"lower_bound over V {shape}", lambda: undecayed(torch.zeros(shape)))

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        if self.bounds is None:
            log_decay = self.logits.log_sigmoid(x, tau=self.options.tau)
        else:
            log_decay = bounded_below(self.logits.log_sigmoid(x), self.bounds, self.context.layer) / self.options.tau
        gate = complement(log_decay, axis=3) if self.options.gate == "complement" else None
        return Transition(value=log_decay, gate=gate)
