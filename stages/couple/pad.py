"""Zeros beside e and s, so that every channel is a pair of its own that a rotation can turn.

Equation: e_t ← [e_t, 0], s_t ← [s_t, 0]; with a phase θ the pair gives cos(θ (t − s)) e_s s_t
Source: arXiv:2202.08791, section 3.3; arXiv:2307.09270, section 3.3 (cosine form)
"""

import torch
from torch import Tensor

from eos.stage import AbstractCouple


class PadCouple(AbstractCouple):
    """K becomes 2K: the second half of every pair starts empty."""

    def forward(self, i: Tensor, e: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return i, torch.cat([e, torch.zeros_like(e)], dim=3), torch.cat([s, torch.zeros_like(s)], dim=3)
