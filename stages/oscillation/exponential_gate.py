"""An exponential input gate and a sigmoid forget gate a head, kept finite by a running maximum.

Equation: log o_t = log_sigmoid(W x_t + b); e_t ← exp(g_t) e_t, g_t = U x_t + c
Source: arXiv:2405.04517, section 2.3
"""

from torch import Tensor
from torch.nn import functional as F

from eos.record import Transition
from eos.stage import AbstractOscillation, GateProjection, LayerContext, option, options, spread


class ExponentialGate(AbstractOscillation):
    """Forget biases start spread from 3 to 6 over the heads; input gates start near exp(0)."""

    @options
    class Options:
        """Where the biases start."""

        forget_low: float = option(3.0, "b of the first head", low=-10, high=10)
        forget_high: float = option(6.0, "b of the last head", low=-10, high=10)
        input: float = option(0.0, "c of every head", low=-20, high=20)

    options: Options

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        heads = context.heads
        self.forget = GateProjection(context.width, spread(options.forget_low, options.forget_high, heads))
        self.input = GateProjection(context.width, spread(options.input, options.input, heads))

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        return Transition(head=F.logsigmoid(self.forget(x)), log_gate=self.input(x)[..., None], stabilise="max")
