"""One angle for the whole memory: scores are weighted by the cosine of the distance, with couple = pad.

Equation: m_p + i·m_{p+K/2} ← exp(−iθ) (m_p + i·m_{p+K/2}), θ = π / 2M
Source: arXiv:2202.08791, section 3.3
"""

import math

import torch
from torch import Tensor

from eos.record import Transition
from eos.stage import AbstractOscillation, option, options


class Cosine(AbstractOscillation):
    """The weight of what lies n tokens back is cos(πn / 2M): it falls to zero at M, and is negative beyond.

    M is the paper's total length. It is an option here, for a model that reads a token at a time knows no total.
    """

    @options
    class Options:
        """The length."""

        length: int = option(2048, "M, the length of text, in tokens, at which weights reach zero", low=1, high=10**7)

    options: Options

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        dtype = torch.promote_types(x.dtype, torch.float32)
        angle = -math.pi / (2 * self.options.length)
        return Transition(phase=torch.full((1, 1, 1, 1), angle, dtype=dtype, device=x.device))
