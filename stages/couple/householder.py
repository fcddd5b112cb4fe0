"""A learned reflection of e and s, the same for both: what a rotation turns is then a mixture of all entries.

Equation: e_t ← P e_t, s_t ← P s_t, P = I − 2 v vᵀ / (vᵀ v), v in R^K a head
Source: arXiv:2307.09270, section 3.3 (the unitary core's P)
"""

import torch
from einops import repeat
from torch import Tensor
from torch.nn import functional as F

from eos.stage import AbstractCouple, LayerContext, undecayed


class HouseholderCouple(AbstractCouple):
    """Without a rotation it changes nothing, for Pᵀ P = I."""

    def __init__(self, options: AbstractCouple.Options, context: LayerContext) -> None:
        super().__init__(options, context)
        self.direction = undecayed(torch.randn(context.groups, context.key_size))

    def forward(self, i: Tensor, e: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return i, self._reflected(e), self._reflected(s)

    def _reflected(self, x: Tensor) -> Tensor:
        v = F.normalize(self.direction, dim=-1)
        if x.shape[2] > v.shape[0]:  # a state of every head where the directions are of groups
            v = repeat(v, "g k -> (g r) k", r=x.shape[2] // v.shape[0])
        v = v if x.dim() == 4 else v[..., None]
        return x - 2 * v * (v * x).sum(3, keepdim=True)
