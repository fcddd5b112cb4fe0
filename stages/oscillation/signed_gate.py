"""A data-dependent gate that may be negative: it shrinks the memory, and flips its sign.

Equation: m ← g_t m, g_t = 2 sigmoid(W x_t + b) − 1 in (−1, 1): a log-decay log |g_t|, and a turn by π where g_t < 0
Source: arXiv:2411.12537 (the eigenvalue range [−1, 1] of a diagonal gate, 2 s − 1)
"""

import math
from typing import Literal

import torch
from torch import Tensor

from eos.record import Transition
from eos.stage import AbstractOscillation, GateProjection, LayerContext, option, options, spread


class SignedGate(AbstractOscillation):
    """One gate a head, or one for every pair of entries; biases start spread from negative to positive.

    A sign has no gradient, so the gate gets one from its magnitude on either side of zero. That is
    |g| = ε + (1 − ε) |2 sigmoid(z) − 1|, never below ε, and sign(g) = sign(z): then ∂g/∂z is the same just above and
    just below zero, and a step of the optimiser that carries z across goes on as if the gate were smooth, but for a
    jump of 2ε. Without ε the gradient of the log-decay, 1/g, would be as large as rounding lets it be near zero; with
    it, it is at most 1/2ε, and what comes back through exp(log |g|) takes it down to that of g itself.
    """

    @options
    class Options:
        """What has a gate of its own, and where the biases start."""

        over: Literal["head", "key"] = option("head", "what has a gate of its own: a head, or every pair of K")
        floor: float = option(1e-3, "ε, the smallest magnitude of a gate", above=0, high=0.1, log=True)
        bias_low: float = option(-2.0, "b of the first gate; below zero it starts negative", low=-20, high=20)
        bias_high: float = option(4.0, "b of the last gate", low=-20, high=20)

    options: Options

    @classmethod
    def refuse(cls, options: Options, context: LayerContext) -> str | None:
        odd = context.key_size % 2
        return f"a gate's sign is a turn of pairs: K must be even, got K = {context.key_size}" if odd else None

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        shape = (context.heads,) if options.over == "head" else (context.heads, context.key_size // 2)
        self.logits = GateProjection(context.width, spread(options.bias_low, options.bias_high, *shape))

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        z = self.logits(x)
        # one minus the magnitude is exact where a gate barely shrinks, which adds up over thousands of steps
        log_decay = torch.log1p(-2 * (1 - self.options.floor) * torch.sigmoid(-z.abs()))
        phase = torch.where(z < 0, math.pi, torch.zeros_like(z))
        if self.options.over == "head":
            return Transition(head=log_decay, phase=phase[..., None])
        return Transition(key=log_decay, phase=phase)
