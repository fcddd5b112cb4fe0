"""The delta rule with decays and strengths over K, where what is erased need not be what is written.

Equation: ψ(m) = w_t ∘ m − (a_t ∘ k_t)(k_tᵀ m), k_t = κ ∘ e_t / |κ ∘ e_t|; e_t ← (1 + (a_t − 1) ∘ ρ) ∘ e_t
Source: arXiv:2503.14456, section 4
"""

import math

import torch
from einops import repeat
from torch import Tensor, nn
from torch.nn import functional as F

from eos.record import Transition
from eos.stage import AbstractOscillation, GateProjection, LayerContext, option, options, undecayed

#: The strongest log-decay of a step: exp(−exp(−1/2)) = 0.545.
STRONGEST = math.exp(-0.5)


class GeneralizedDelta(AbstractOscillation):
    """a_t = sigmoid(α + x_t A B), log w_t = −exp(−1/2) sigmoid(ω + tanh(x_t C) D), κ and ρ learned.

    Decays start spread from slow to fast over the channels, strengths at one half, κ and ρ near one.
    """

    @options
    class Options:
        """The bottlenecks, and where the decay starts."""

        rank: int = option(64, "bottleneck of decays and strengths", low=1, high=1024)
        low: float = option(-6.0, "ω of the first channel", low=-20, high=10)
        high: float = option(0.0, "ω of the last channel", low=-20, high=10)

    options: Options

    @classmethod
    def refuse(cls, options: Options, context: LayerContext) -> str | None:
        return "it erases once a token: substeps must be 1" if context.substeps > 1 else None

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        shape = (context.heads, context.key_size)
        place = torch.linspace(0, 1, context.heads * context.key_size).view(shape)
        depth = context.layer / max(context.layers - 1, 1)
        start = options.low + (options.high - options.low) * place ** (0.85 + depth)
        self.decay = GateProjection(context.width, start, rank=options.rank, inner=nn.Tanh())
        self.strength = GateProjection(context.width, torch.zeros(shape), rank=options.rank)
        self.direction = undecayed(torch.full(shape, 0.85))
        self.replacement = undecayed(torch.ones(shape))

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        decay, strength = self.decay(x), self.strength(x).sigmoid()
        if e.dim() == 5:  # an e per channel keeps its V axis here, and the record refuses it
            decay, strength = decay[..., None], strength[..., None]
            return Transition(erase=(strength * e, -e))
        if 1 < e.shape[2] < self.context.heads:
            e = repeat(e, "b t g k -> b t (g r) k", r=self.context.heads // e.shape[2])
        k = F.normalize(e * self.direction, dim=3)
        return Transition(
            key=-STRONGEST * decay.sigmoid(),
            erase=(strength * k, -k),
            gate=(1 + (strength - 1) * self.replacement)[..., None],
        )
