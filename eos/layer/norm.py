"""Normalisations by name."""

from torch import Tensor, nn
from torch.nn import functional

from eos.config import Norm

#: Added to the mean square where no recipe says otherwise.
EPS = 1e-6


class RMSNormInParts(nn.RMSNorm):
    """A root-mean-square norm of equal parts of the last axis, each by itself, with a weight for every entry."""

    def __init__(self, size: int, parts: int, eps: float) -> None:
        super().__init__(size, eps=eps)
        self.parts = parts

    def forward(self, x: Tensor) -> Tensor:
        parts = x.unflatten(-1, (self.parts, -1))
        return functional.rms_norm(parts, parts.shape[-1:], eps=self.eps).flatten(-2) * self.weight


def make_norm(name: Norm, size: int, eps: float = EPS) -> nn.Module:
    """The normalisation of this name over a last axis of this size."""
    match name:
        case "none":
            return nn.Identity()
        case "rms":
            return nn.RMSNorm(size, eps=eps)
        case "simple_rms":
            return nn.RMSNorm(size, eps=eps, elementwise_affine=False)
        case "layer":
            return nn.LayerNorm(size, eps=eps)
