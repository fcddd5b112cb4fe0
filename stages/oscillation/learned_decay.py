"""A decay that is learned and does not depend on the data.

Equation: log o = log_sigmoid(O) / τ, O over heads, K, V or K×V
Source: arXiv:2405.17383, section 3 (data-independent oscillation)
"""

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from eos.record import Transition
from eos.stage import AbstractOscillation, LayerContext, option, options, spread, undecayed, widen


class LearnedDecay(AbstractOscillation):
    """o in (0, 1), constant over time, with O starting spread over its last axis."""

    @options
    class Options:
        """The decay's axes and where it starts."""

        over: Literal["head", "key", "value", "key_value"] = option("key", "the axes of O in every head")
        tau: float = option(1.0, "divides the log-decay; larger means slower", above=0, high=64, log=True)
        bias_low: float = option(1.0, "O of the first entry", low=-10, high=10)
        bias_high: float = option(6.0, "O of the last entry", low=-10, high=10)

    options: Options

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        key, value = context.key_size, context.value_size
        axes = {"head": (), "key": (key,), "value": (value,), "key_value": (key, value)}[options.over]
        self.logits = undecayed(spread(options.bias_low, options.bias_high, context.heads, *axes))

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        log_decay = F.logsigmoid(self.logits) / self.options.tau
        match self.options.over:
            case "head":
                return Transition(head=log_decay[None, None])
            case "key":
                return Transition(key=log_decay[None, None])
            case "value":
                return Transition(value=log_decay[None, None])
            case "key_value":
                return Transition(rate=log_decay, step=widen(x).new_ones(1, 1, 1, 1, 1))
