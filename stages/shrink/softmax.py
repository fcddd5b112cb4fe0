"""A softmax over the slots of what a first pass has returned: attention to a memory of K places.

Equation: s_t = softmax(x_t) over K, head by head, x_t in R^{H·K} from the layer's first_pass
Source: arXiv:2409.07146, equation 7
"""

from einops import rearrange
from torch import Tensor

from eos.record import Transition
from eos.stage import AbstractShrink, LayerContext, widen


class SoftmaxShrink(AbstractShrink):
    """Without parameters."""

    @classmethod
    def refuse(cls, options: object, context: LayerContext) -> str | None:
        return "it has no projection, and sees what a first_pass returns: give one" if context.passes == 1 else None

    def forward(self, z: Tensor, e: Tensor, transition: Transition) -> Tensor:
        return widen(rearrange(z, "b t (g k) -> b t g k", g=self.context.groups)).softmax(-1)
