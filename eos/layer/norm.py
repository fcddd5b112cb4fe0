"""Normalisations by name."""

from torch import nn

from eos.config import Norm

#: Added to the mean square where no recipe says otherwise.
EPS = 1e-6


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
