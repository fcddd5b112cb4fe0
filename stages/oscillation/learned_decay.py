"""A decay that does not depend on the data: learned, or one fixed slope for every entry.

Equation: log o = log_sigmoid(O) / τ, O over heads, K, V or K×V; fixed: log o_n = −2^(−8n/N), n = 1 … N over all entries
Source: arXiv:2405.17383, section 3 (data-independent oscillation); arXiv:2108.12409, section 3 (slopes)
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
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
        learned: bool = option(True, "false: fixed slopes, the same in every head, without tau and biases")

    options: Options

    @classmethod
    def refuse(cls, options: Options, context: LayerContext) -> str | None:
        plain = cls.Options(over=options.over, learned=False)
        return None if options.learned or options == plain else "fixed slopes have neither tau nor biases"

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        self.logits: nn.Parameter | None = None
        if options.learned:
            self.logits = undecayed(spread(options.bias_low, options.bias_high, context.heads, *self._axes()))

    def _axes(self) -> tuple[int, ...]:
        key, value = self.context.key_size, self.context.value_size
        return {"head": (), "key": (key,), "value": (value,), "key_value": (key, value)}[self.options.over]

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        if self.logits is None:
            slopes = _slopes(math.prod(self._axes() or (self.context.heads,)), x.device)
            log_decay = -slopes.to(torch.promote_types(x.dtype, torch.float32))
            log_decay = log_decay.view(1, *self._axes()) if self._axes() else log_decay
        else:
            log_decay = F.logsigmoid(widen(self.logits)) / self.options.tau
        match self.options.over:
            case "head":
                return Transition(head=log_decay[None, None])
            case "key":
                return Transition(key=log_decay[None, None])
            case "value":
                return Transition(value=log_decay[None, None])
            case "key_value":
                return Transition(rate=log_decay, step=widen(x).new_ones(1, 1, 1, 1, 1))


def _slopes(count: int, device: torch.device) -> Tensor:
    """Those of the next lower power of two, then every second one of twice that power, in float64."""
    whole = 1 << count.bit_length() - 1
    place = torch.arange(count, dtype=torch.float64, device=device)
    places = torch.where(place < whole, place + 1, place - whole + 0.5)
    return torch.exp2(-8 * places / whole)
