"""The delta rule: what the memory holds under e is erased before the input is written there.

Equation: ψ(m) = m − β_t k_t (k_tᵀ m), k_t = e_t / |e_t| or e_t, β_t = high · sigmoid(W x_t + b); e_t ← β_t e_t
Source: arXiv:2406.06484, section 2.2; arXiv:2411.12537 (β up to 2: negative eigenvalues)
"""

import torch
from einops import repeat
from torch import Tensor

from eos.record import Transition
from eos.stage import AbstractOscillation, GateProjection, LayerContext, option, options, unit


class Delta(AbstractOscillation):
    """The direction is a unit vector unless told otherwise: no erase then makes the memory grow, whatever e is.

    With substeps every micro-step has a strength of its own (arXiv:2502.10297, section 3.1).
    """

    @options
    class Options:
        """The strength β of the write."""

        high: float = option(1.0, "β_t < high; above 1 the memory's sign can flip along k_t", above=0, high=2)
        unit: bool = option(True, "k is of length one; false: k is e itself, which must not be longer")
        bias: float = option(0.0, "b at the start", low=-10, high=10)

    options: Options

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        self.logits = GateProjection(context.width, torch.full((context.substeps, context.heads), options.bias))

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        beta = self.options.high * self.logits(x).sigmoid().flatten(1, 2)
        k = unit(e, dim=3) if self.options.unit else e
        if k.shape[2] > 1:
            k = repeat(k, "b t g ... -> b t (g r) ...", r=self.context.heads // k.shape[2])
        # An e per channel keeps its V axis here, and the record refuses it.
        strength = beta.view(*beta.shape, *[1] * (k.dim() - 3))
        return Transition(erase=(-strength * k, k), gate=beta[..., None, None])
