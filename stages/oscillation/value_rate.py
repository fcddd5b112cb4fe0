"""A learned decay of every channel, taken to a data-dependent power, with an input gate that keeps the state's size.

Equation: log o_t = c r_t ∘ log sigmoid(Λ), r_t = sigmoid(W x_t + b); e_t ← √(1 − o_t²) ∘ sigmoid(U x_t + d) ∘ e_t
Source: arXiv:2402.19427, section 2.4 (RG-LRU, c = 8)
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from eos.record import Transition
from eos.stage import AbstractOscillation, GateProjection, LayerContext, option, options, spread, undecayed


class ValueRate(AbstractOscillation):
    """o_t in (0, 1)^V a head; sigmoid(Λ)^c starts spread over the channels."""

    @options
    class Options:
        """The power, and where the decays start."""

        power: float = option(8.0, "c", above=0, high=64)
        low: float = option(0.9, "sigmoid(Λ)^c of the first channel at the start", above=0, high=0.9999)
        high: float = option(0.999, "sigmoid(Λ)^c of the last channel at the start", above=0, high=0.9999)

    options: Options

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        heads, values = context.heads, context.value_size
        decay = spread(options.low, options.high, heads * values).view(heads, values) ** (1 / options.power)
        self.logit = undecayed(decay.logit())
        self.power_logits = GateProjection(context.width, torch.zeros(heads, values))
        self.input_logits = GateProjection(context.width, torch.zeros(heads, values))

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        log_decay = self.options.power * self.power_logits(x).sigmoid() * F.logsigmoid(self.logit)
        # The root has no slope at zero, where nothing decays.
        kept = -torch.expm1(2 * log_decay).clamp(max=-torch.finfo(log_decay.dtype).tiny)
        gate = kept.sqrt() * self.input_logits(x).sigmoid()
        return Transition(value=log_decay, gate=gate[..., None, :])
