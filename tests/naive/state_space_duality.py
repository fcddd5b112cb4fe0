"""State space duality in its quadratic form (arXiv:2405.21060, equation 7), from its definition and torch alone."""

import torch
from torch import Tensor
from torch.nn import functional as F


def state_space_duality(x: Tensor, weights: dict[str, Tensor], *, heads: int) -> Tensor:
    """Y = (L ∘ C Bᵀ) (Δ X) with L_ts = exp(Σ_{s < r ≤ t} Δ_r A) a head, B and C shared by all, for one row x [T,D]."""
    length = x.shape[0]
    u, b, c = (
        _convolved(x @ weights[name].T, weights[f"{name}_taps"], weights[f"{name}_bias"]) for name in ("x", "b", "c")
    )
    u = u.view(length, heads, -1)
    delta = F.softplus(x @ weights["step"].T + weights["step_bias"])
    steps = delta * -torch.exp(weights["log_rate"])
    y = torch.zeros_like(u)
    for t in range(length):
        for s in range(t + 1):
            decay = torch.exp(steps[s + 1 : t + 1].sum(0))
            y[t] = y[t] + (c[t] @ b[s]) * (decay * delta[s])[:, None] * u[s]
    y = (y + weights["skip"] * u).flatten(1)
    y = y * F.silu(x @ weights["gate"].T)
    y = y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights["norm"]
    return y @ weights["output"].T


def _convolved(z: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
    padded = F.pad(z.T, (taps.shape[0] - 1, 0))
    return F.silu(F.conv1d(padded, taps.flip(0).T[:, None], bias, groups=taps.shape[1])).T
