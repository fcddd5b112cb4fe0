"""Every entry of K read by itself: of a complex memory, the real and the imaginary part.

Equation: y_t^(k) = m_t[k], s^(k) = the k-th unit vector
Source: arXiv:2311.04823, section 3.3; arXiv:2303.06349, section 3 (complex states, K = 2)
"""

import torch
from torch import Tensor

from eos.record import Transition
from eos.stage import AbstractShrink, LayerContext

MOST = 8


class PartsShrink(AbstractShrink):
    """K reads, without parameters: y has K · V entries a head."""

    @classmethod
    def refuse(cls, options: object, context: LayerContext) -> str | None:
        key = context.key_size
        return f"a memory is read at most {MOST} times, got K = {key}" if key > MOST else None

    @property
    def features(self) -> int:
        """It does not read x."""
        return 0

    @property
    def reads(self) -> int:
        """K."""
        return self.context.key_size

    def forward(self, z: Tensor, e: Tensor, transition: Transition) -> tuple[Tensor, ...]:
        return tuple(torch.eye(self.reads, dtype=z.dtype, device=z.device)[:, None, None, None])
