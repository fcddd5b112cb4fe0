"""The outer product of two data-dependent gates, one over K and one over V.

Equation: log o_t[k, v] = (log_sigmoid(W x_t + b)[k] + log_sigmoid(U x_t + c)[v]) / τ
Source: arXiv:2210.04243, section 3; arXiv:2405.17383, section 3 (outer product)
"""

from torch import Tensor

from eos.record import Transition
from eos.stage import AbstractOscillation, GateProjection, LayerContext, option, options, spread


class KeyValueGate(AbstractOscillation):
    """o_t = g_t ḡ_tᵀ in (0, 1)^{K×V} a head, with biases spread over K and V."""

    @options
    class Options:
        """The gates' form and where their biases start."""

        tau: float = option(16.0, "divides the log-decays; larger means slower", above=0, high=64, log=True)
        bias_low: float = option(-4.0, "b and c of the first entries", low=-10, high=10)
        bias_high: float = option(4.0, "b and c of the last entries", low=-10, high=10)

    options: Options

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        low, high, heads = options.bias_low, options.bias_high, context.heads
        self.key_logits = GateProjection(context.width, spread(low, high, heads, context.key_size))
        self.value_logits = GateProjection(context.width, spread(low, high, heads, context.value_size))

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        tau = self.options.tau
        return Transition(key=self.key_logits.log_sigmoid(x, tau=tau), value=self.value_logits.log_sigmoid(x, tau=tau))
