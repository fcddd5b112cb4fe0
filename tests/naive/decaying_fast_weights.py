"""Decaying fast weights (arXiv:2210.04243, section 3), from their definition and torch alone."""

import torch
from torch import Tensor


def decaying_fast_weights(x: Tensor, weights: dict[str, Tensor], *, heads: int) -> Tensor:
    """W_t = (z_t f_tᵀ) ∘ W_{t-1} + k_t v_tᵀ, y_t = W_tᵀ q_t / √K, LayerNorm a head, for one row x [T,D]."""
    q, k, v = ((x @ weights[name].T).view(x.shape[0], heads, -1) for name in ("query", "key", "value"))
    z = torch.sigmoid((x @ weights["over_key"].T).view(k.shape) + weights["over_key_bias"])
    f = torch.sigmoid((x @ weights["over_value"].T).view(v.shape) + weights["over_value_bias"])
    w = torch.zeros(heads, k.shape[2], v.shape[2], dtype=x.dtype)
    ys = []
    for t in range(x.shape[0]):
        w = z[t][:, :, None] * f[t][:, None] * w + k[t][:, :, None] * v[t][:, None]
        ys.append((q[t][:, :, None] * w).sum(1))
    y = torch.stack(ys) / k.shape[2] ** 0.5
    y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    return (y * weights["norm"] + weights["norm_bias"]).flatten(1) @ weights["output"].T
