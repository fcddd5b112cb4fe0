"""A constant: every entry of the memory receives the same input, and a gate or a rate tells them apart.

Equation: e_t = 1; or e_t = [1, 0], the real parts of K/2 complex entries
Source: arXiv:2404.07904, section 3 (with the gate 1 − o_t); arXiv:2206.11893, section 3 (B = 1)
"""

import torch
from torch import Tensor

from eos.stage import AbstractExpand, LayerContext, option, options


class OnesExpand(AbstractExpand):
    """e = 1, without parameters."""

    @options
    class Options:
        """Which entries are written."""

        real: bool = option(False, "write the first half of K alone, the real parts of complex entries")

    options: Options

    @classmethod
    def refuse(cls, options: Options, context: LayerContext) -> str | None:
        odd = options.real and context.key_size % 2
        return f"complex entries are pairs: K must be even, got K = {context.key_size}" if odd else None

    @property
    def features(self) -> int:
        """It does not read x."""
        return 0

    def forward(self, z: Tensor) -> Tensor:
        e = torch.ones(1, 1, 1, self.context.key_size, dtype=z.dtype, device=z.device)
        if self.options.real:
            e[..., self.context.key_size // 2 :] = 0
        return e
