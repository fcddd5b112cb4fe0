"""A data-dependent decay for every entry of K, with an optional lower bound that grows with depth.

Equation: log o_t = log(γ_l + (1 − γ_l) sigmoid(W x_t + b)) / τ; with the complement gate e_t ← (1 − o_t) ∘ e_t
Source: arXiv:2312.06635, section 4.1 (low rank, τ = 16); arXiv:2404.07904, section 3 (γ_l = Σ_{j<l} softmax(Γ)_j)
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


class KeyGate(AbstractOscillation):
    """o_t in (γ_l, 1)^K a head, with biases spread over K."""

    @options
    class Options:
        """The gate's form and where its biases start."""

        rank: int | None = option(None, "bottleneck of the projection; null means full rank", low=1, high=1024)
        tau: float = option(1.0, "divides the log-decay; larger means slower", above=0, high=64, log=True)
        lower_bound: bool = option(
            False, "learn a lower bound γ_l of o, shared by all layers and growing from 0 at l = 0"
        )
        gate: Literal["none", "complement"] = option("none", "what multiplies e: nothing, or 1 − o_t")
        pairs: bool = option(False, "tie the decay in pairs (K/2 entries), for a product with a rotation")
        bias_low: float = option(-2.0, "b of the first entry", low=-10, high=10)
        bias_high: float = option(4.0, "b of the last entry", low=-10, high=10)

    options: Options

    @classmethod
    def refuse(cls, options: Options, context: LayerContext) -> str | None:
        odd = options.pairs and context.key_size % 2
        return f"pairs need an even K, got K = {context.key_size}" if odd else None

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        shape = (context.heads, context.key_size // 2 if options.pairs else context.key_size)
        start = spread(options.bias_low, options.bias_high, *shape)
        self.logits = GateProjection(context.width, start, rank=options.rank)
        self.bounds: nn.Parameter | None = None
        if options.lower_bound and context.layers > 1:  # that of the first layer is zero
            name = f"lower_bound {shape}"
            self.bounds = context.share(name, lambda: undecayed(torch.zeros(context.layers, *shape)))

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        if self.bounds is None:
            log_decay = self.logits.log_sigmoid(x, tau=self.options.tau)
        else:
            log_decay = bounded_below(self.logits.log_sigmoid(x), self.bounds, self.context.layer) / self.options.tau
        return Transition(key=log_decay, gate=self._gate(log_decay))

    def _gate(self, log_decay: Tensor) -> Tensor | None:
        if self.options.gate == "none":
            return None
        gate = complement(log_decay, axis=4)
        return torch.cat([gate, gate], dim=3) if self.options.pairs else gate
