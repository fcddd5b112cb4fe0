"""A time-invariant state space that is diagonal plus low rank, a channel: the long memory of HiPPO, discretised.

Equation: A = Λ − P P*, Λ = −exp(a) + iω in C^N; Ψ = (I − ΔA/2)⁻¹ (I + ΔA/2), e_t ← Δ e_t, Δ = exp(d) a head
Source: arXiv:2111.00396, sections 2.3 and 3.3
"""

import math

import torch
from torch import Tensor

from eos.record import Transition
from eos.stage import AbstractOscillation, LayerContext, legs, option, options, spread, undecayed, widen


class DPLR(AbstractOscillation):
    """Λ and P start from HiPPO-LegS. The hold of what is written, (I − ΔA/2)⁻¹, is in shrink = state_space.

    Ψ is a decay and turn of every pair plus one real column times one real row, as conjugate pairs stand for
    each other: with D = 1/(1 − ΔΛ/2) and r = 1 + Δ Re(P* D P), Ψ = (2D − 1) − 2Δ D P Re(P* D ·) / r.
    """

    @options
    class Options:
        """Where the steps start."""

        step_low: float = option(1e-3, "Δ of the first head at the start", above=0, high=10, log=True)
        step_high: float = option(0.1, "Δ of the last head at the start", above=0, high=10, log=True)

    options: Options

    @classmethod
    def refuse(cls, options: Options, context: LayerContext) -> str | None:
        if context.substeps > 1:
            return "it is the same at every step, and has no micro-steps: substeps must be 1"
        odd = context.key_size % 2
        return f"complex entries are pairs: K must be even, got K = {context.key_size}" if odd else None

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        heads, pairs = context.heads, context.key_size // 2
        turn, p, _ = legs(pairs)
        self.log_step = undecayed(spread(math.log(options.step_low), math.log(options.step_high), heads))
        self.log_rate = undecayed(torch.full((heads, pairs), math.log(0.5)))
        self.turn = undecayed(turn.float().repeat(heads, 1))
        self.p = undecayed(torch.cat([p.real, p.imag]).float().repeat(heads, 1))

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        step = widen(self.log_step).exp()[:, None]
        p = torch.complex(*widen(self.p).chunk(2, -1))
        d = 1 / (1 - step / 2 * torch.complex(-widen(self.log_rate).exp(), widen(self.turn)))
        r = 1 + step * (p.abs().square() * d).sum(-1, keepdim=True).real
        column, row = -step * d * p / r, 2 * p.conj() * d
        factor = 2 * d - 1
        # a rate of −2/Δ forgets at once
        decay = factor.abs().clamp(min=torch.finfo(factor.real.dtype).tiny).log()
        return Transition(
            key=decay[None, None],
            phase=factor.angle()[None, None],
            erase=(
                torch.cat([column.real, column.imag], -1)[None, None],
                torch.cat([row.real, -row.imag], -1)[None, None],
            ),
            gate=step[None, None, ..., None],
        )
