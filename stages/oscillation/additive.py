"""An additive normaliser instead of a decay: the memory is a softmax-weighted mean of what was written.

Equation: g_t = W x_t + b over K; o_t = z_{t-1} / z_t, e_t ← exp(g_t) / z_t ∘ e_t, z_t = Σ_{s≤t} exp(g_s)
Source: arXiv:2405.21022, section 3
"""

import torch
from torch import Tensor

from eos.record import Transition
from eos.stage import AbstractOscillation, GateProjection, LayerContext, option, options


class Additive(AbstractOscillation):
    """The normaliser z is kept by the engine in log space, so that no g overflows."""

    @options
    class Options:
        """The projection of the logits g."""

        rank: int | None = option(None, "bottleneck of the projection; null means full rank", low=1, high=1024)
        pairs: bool = option(False, "tie g in pairs (K/2 entries), for a product with a rotation")

    options: Options

    @classmethod
    def refuse(cls, options: Options, context: LayerContext) -> str | None:
        odd = options.pairs and context.key_size % 2
        return f"pairs need an even K, got K = {context.key_size}" if odd else None

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        shape = (context.heads, context.key_size // 2 if options.pairs else context.key_size)
        self.logits = GateProjection(context.width, torch.zeros(shape), rank=options.rank)

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        return Transition(log_gate=self.logits(x), stabilise="sum")
