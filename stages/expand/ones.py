"""A constant: every entry of the memory receives the same input, and a gate tells them apart.

Equation: e_t = 1
Source: arXiv:2404.07904, section 3 (with the gate 1 − o_t)
"""

import torch
from torch import Tensor

from eos.stage import AbstractExpand


class OnesExpand(AbstractExpand):
    """e = 1, without parameters."""

    @property
    def features(self) -> int:
        """It does not read x."""
        return 0

    def forward(self, z: Tensor) -> Tensor:
        return torch.ones(1, 1, 1, self.context.key_size, dtype=z.dtype, device=z.device)
