"""A decay of every entry of K, as the exponential of an exponential: learned, or data-dependent through a bottleneck.

Equation: log o_t = −exp(ω + tanh(x_t A) B) over K; without data, log o = −exp(ω)
Source: arXiv:2404.05892, sections 4.1 (without data) and 4.2
"""

import torch
from torch import Tensor, nn

from eos.record import Transition
from eos.stage import AbstractOscillation, GateProjection, LayerContext, option, options, undecayed


class DoubleExponential(AbstractOscillation):
    """ω starts spread over the channels, from slow to fast; deeper layers have more slow ones."""

    @options
    class Options:
        """Whether the data are seen, and where ω starts."""

        data: bool = option(True, "whether the decay depends on the data")
        rank: int = option(64, "bottleneck of the data's part", low=1, high=1024)
        low: float = option(-6.0, "ω of the first channel: exp(−exp(−6)) = 0.9975", low=-20, high=3)
        high: float = option(-1.0, "ω of the last channel: exp(−exp(−1)) = 0.69", low=-20, high=3)

    options: Options

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        shape = (context.heads, context.key_size)
        place = torch.linspace(0, 1, context.heads * context.key_size).view(shape)
        depth = context.layer / max(context.layers - 1, 1)
        start = options.low + (options.high - options.low) * place ** (0.7 + 1.3 * depth)
        self.logits: GateProjection | nn.Parameter
        if options.data:
            self.logits = GateProjection(context.width, start, rank=options.rank, inner=nn.Tanh())
        else:
            self.logits = undecayed(start)

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        logits = self.logits(x) if isinstance(self.logits, GateProjection) else self.logits[None, None]
        # exp of a large logit is infinite, and log-decays are finite
        return Transition(key=-logits.clamp(max=10.0).exp())
