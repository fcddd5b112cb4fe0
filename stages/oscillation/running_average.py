"""An average of everything so far, in which every input has a weight of its own and weights fade.

Equation: m_t = (e^{M_{t-1} − w} m_{t-1} + e^{k_t} e_t i_tᵀ) / e^{M_t}, e^{M_t} = e^{M_{t-1} − w} + e^{k_t}, k = W x
Source: arXiv:2305.13048, section 3.2 (w = exp(ω))
"""

import torch
from torch import Tensor

from eos.record import Transition
from eos.stage import AbstractOscillation, GateProjection, LayerContext, option, options, undecayed, widen


class RunningAverage(AbstractOscillation):
    """One weight and one rate a head; ω starts spread over the heads, deeper layers with more slow ones."""

    @options
    class Options:
        """Where the rates start."""

        low: float = option(-5.0, "ω of the first head", low=-20, high=4)
        high: float = option(3.0, "ω of the last head", low=-20, high=4)

    options: Options

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        heads = context.heads
        depth = context.layer / max(context.layers - 1, 1)
        place = torch.linspace(0, 1, heads) ** (0.7 + 1.3 * depth)
        self.log_rate = undecayed(options.low + (options.high - options.low) * place)
        self.logits = GateProjection(context.width, torch.zeros(heads))

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        decay = -widen(self.log_rate).exp()[None, None]
        return Transition(head=decay, log_gate=self.logits(x)[..., None], stabilise="sum")
