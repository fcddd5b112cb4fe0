"""Every entry of K read by itself: of a complex memory, the real and the imaginary part.

Equation: y_t^(k) = m_t[k], s^(k) = the k-th unit vector; held: the parts of z m_t, z = (exp(ΔA) − 1) / A
Source: arXiv:2311.04823, section 3.3; arXiv:2303.06349, section 3 (complex states, K = 2)
"""

import torch
from torch import Tensor

from eos.record import Transition
from eos.stage import AbstractShrink, LayerContext, option, options, zero_order_hold

MOST = 8


class PartsShrink(AbstractShrink):
    """K reads, without parameters: y has K · V entries a head."""

    @options
    class Options:
        """What is read."""

        held: bool = option(
            False, "multiply by the zero-order hold of a time-invariant complex rate × step; K must be 2"
        )

    options: Options

    @classmethod
    def refuse(cls, options: Options, context: LayerContext) -> str | None:
        key = context.key_size
        if options.held and key != 2:
            return f"held reads are of one complex number a channel: K must be 2, got K = {key}"
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
        hold = zero_order_hold(transition) if self.options.held else 1.0
        if isinstance(hold, Tensor) and hold.is_complex():
            hold = hold[None, None, :, 0]  # [1,1,H,V]
            return torch.stack([hold.real, -hold.imag], 3), torch.stack([hold.imag, hold.real], 3)
        return tuple(torch.eye(self.reads, dtype=z.dtype, device=z.device)[:, None, None, None])
