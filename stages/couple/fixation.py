"""Gates of e and s that see e, s and the input together, one number for every entry of K.

Equation: e_t ← g_e ∘ e_t, s_t ← g_s ∘ s_t, g = sigmoid(W [s_t, e_t, i_t] + b) in R^K, W shared by all heads
Source: arXiv:2210.08164, section 3.2 (cooperative feature fixation)
"""

import torch
from torch import Tensor, nn

from eos.stage import AbstractCouple, CompositionError, LayerContext, option, options


class FixationCouple(AbstractCouple):
    """Keeps the features of a token that matter, as its query, key and value together say."""

    @options
    class Options:
        """The gates."""

        shared: bool = option(False, "one gate for both e and s")

    options: Options

    @classmethod
    def refuse(cls, options: Options, context: LayerContext) -> str | None:
        if context.groups != context.heads:
            return "the gates see e, s and i head by head: groups must be null"
        return "the gates see one i a token: substeps must be 1" if context.substeps > 1 else None

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        inputs = 2 * context.key_size + context.value_size
        self.expand = nn.Linear(inputs, context.key_size)
        self.shrink = None if options.shared else nn.Linear(inputs, context.key_size)

    def forward(self, i: Tensor, e: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if e.dim() == 5 or s.dim() == 5:
            raise CompositionError("couple=fixation needs states without a V axis")
        sizes = torch.broadcast_shapes(i.shape[:3], e.shape[:3], s.shape[:3])
        seen = torch.cat([x.expand(*sizes, -1) for x in (s, e, i)], -1)
        gate = torch.sigmoid(self.expand(seen))
        other = gate if self.shrink is None else torch.sigmoid(self.shrink(seen))
        return i, gate * e, other * s
