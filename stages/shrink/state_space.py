"""A learned read of every channel's state, with the discretisation of what was written folded in.

Equation: y = 2 Re(Σ_n C_n z_n m_n), z = (exp(ΔA) − 1) / A (zero-order hold); real: y = Σ_n C_n z_n m_n
Source: arXiv:2206.11893, sections 3 and 4; arXiv:2111.00396, section 2.3 (with an erase, bilinear: (I − ΔA/2)⁻¹)
"""

import torch
from torch import Tensor, nn

from eos.record import Transition
from eos.stage import AbstractShrink, CompositionError, LayerContext, bilinear_hold, widen, zero_order_hold


class StateSpaceShrink(AbstractShrink):
    """s per channel. B is one, as C alone says it all; z is one where the transition has no rate × step.

    C starts from N(0, 1), complex where the memory turns.
    """

    @classmethod
    def refuse(cls, options: AbstractShrink.Options, context: LayerContext) -> str | None:
        some = context.groups not in (1, context.heads)
        return "its hold is of every head: groups must be null or 1" if some else None

    def __init__(self, options: AbstractShrink.Options, context: LayerContext) -> None:
        super().__init__(options, context)
        self.weight = nn.Parameter(torch.randn(context.groups, context.key_size, context.value_size))

    @property
    def features(self) -> int:
        """It does not read x."""
        return 0

    def forward(self, z: Tensor, e: Tensor, transition: Transition) -> Tensor:
        if transition.erase is not None:
            constant = transition.erase[0].shape[:2] == (1, 1) and transition.turns and transition.head is None
            if not constant or self.weight.shape[2] > 1:
                raise CompositionError("with an erase it reads the bilinear hold of oscillation=dplr alone, at V = 1")
            real, imaginary = (2 * widen(self.weight)).chunk(2, dim=1)
            return bilinear_hold(transition, torch.cat([real, -imaginary], 1)[None, None, ..., 0])
        hold = zero_order_hold(transition)
        if not transition.turns:
            return (widen(self.weight) * hold)[None, None]
        if self.weight.shape[1] % 2:
            raise CompositionError(
                f"where the memory turns C is complex: K must be even, got K = {self.weight.shape[1]}"
            )
        c = 2 * torch.complex(*widen(self.weight).chunk(2, dim=1)) * hold
        return torch.cat([c.real, -c.imag], 1)[None, None]
