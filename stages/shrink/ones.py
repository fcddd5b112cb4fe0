"""A constant: the sum over K is read; with K = 1 the memory itself.

Equation: s_t = 1
Source: arXiv:2410.01201, section 3.1 (K = 1: the output is the state)
"""

import torch
from torch import Tensor

from eos.record import Transition
from eos.stage import AbstractShrink


class OnesShrink(AbstractShrink):
    """s = 1, without parameters."""

    @property
    def features(self) -> int:
        """It does not read x."""
        return 0

    def forward(self, z: Tensor, e: Tensor, transition: Transition) -> Tensor:
        return torch.ones(1, 1, 1, self.context.key_size, dtype=z.dtype, device=z.device)
