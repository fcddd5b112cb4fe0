"""The gated delta rule (arXiv:2412.06464, equation 10), from its definition and torch alone."""

import torch
from torch import Tensor
from torch.nn import functional as F


def gated_delta_rule(x: Tensor, weights: dict[str, Tensor], *, heads: int) -> Tensor:
    """S_t = α_t S_{t-1} (I − β_t k_t k_tᵀ) + β_t v_t k_tᵀ in R^{V×K}, y_t = S_t q_t, for one row x [T,D]."""
    length = x.shape[0]
    q, k, v = (
        _convolved(x @ weights[name].T, weights[f"{name}_taps"]).view(length, heads, -1)
        for name in ("query", "key", "value")
    )
    q = q / q.square().sum(-1, keepdim=True).sqrt() / q.shape[-1] ** 0.5
    k = k / k.square().sum(-1, keepdim=True).sqrt()
    alpha = torch.exp(-torch.exp(weights["log_rate"]) * F.softplus(x @ weights["step"].T + weights["step_bias"]))
    beta = torch.sigmoid(x @ weights["beta"].T + weights["beta_bias"])
    ys = []
    s = torch.zeros(heads, v.shape[-1], k.shape[-1], dtype=x.dtype)
    eye = torch.eye(k.shape[-1], dtype=x.dtype)
    for t in range(length):
        erase = eye - beta[t][:, None, None] * k[t][:, :, None] * k[t][:, None]
        s = alpha[t][:, None, None] * s @ erase + beta[t][:, None, None] * v[t][:, :, None] * k[t][:, None]
        ys.append((s @ q[t][..., None])[..., 0])
    y = torch.stack(ys)
    y = y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights["norm"]
    return (y.flatten(1) * F.silu(x @ weights["gate"].T)) @ weights["output"].T


def _convolved(z: Tensor, taps: Tensor) -> Tensor:
    padded = F.pad(z.T, (taps.shape[0] - 1, 0))
    return F.silu(F.conv1d(padded, taps.flip(0).T[:, None], groups=taps.shape[1])).T
