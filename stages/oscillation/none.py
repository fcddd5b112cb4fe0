"""No oscillation: the memory keeps everything, as in plain linear attention.

Equation: ψ(m_{t-1}) = m_{t-1}
Source: arXiv:2006.16236, section 3.2
"""

from torch import Tensor

from eos.record import Transition
from eos.stage import AbstractOscillation


class NoOscillation(AbstractOscillation):
    """The identity."""

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        return Transition()
