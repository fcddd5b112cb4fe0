"""Attention with a fixed decay that fades over depth (arXiv:2405.17381; the released code has other slopes)."""

import torch
from torch import Tensor


def lightning_attention(
    x: Tensor, weights: dict[str, Tensor], *, heads: int, layer: int, layers: int, schedule: str = "released"
) -> Tensor:
    """y_t = Σ_{s ≤ t} q_tᵀ k_s λ^(t−s) v_s, turned by exp(iθ(t−s)) where there is a θ, for one row x [T,D]."""
    length = x.shape[0]
    q, k, v = ((x @ weights[name].T).view(length, heads, -1) for name in ("query", "key", "value"))
    q, k = q * torch.sigmoid(q), k * torch.sigmoid(k)
    pairs = k.shape[-1] // 2
    theta = weights.get("theta", torch.zeros(heads, pairs, dtype=x.dtype))
    slope = torch.tensor([2.0 ** (-8 * (head + 1) / heads) for head in range(heads)], dtype=x.dtype)
    rate = slope * (1 - layer / (layers - 1) + 1e-5)
    if schedule == "paper":
        rate = torch.tensor([8 * (head + 1) / heads for head in range(heads)], dtype=x.dtype) * (1 - layer / layers)
    y = torch.zeros_like(v)
    for t in range(length):
        for s in range(t + 1):
            same = q[t, :, :pairs] * k[s, :, :pairs] + q[t, :, pairs:] * k[s, :, pairs:]
            cross = q[t, :, :pairs] * k[s, :, pairs:] - q[t, :, pairs:] * k[s, :, :pairs]
            score = (same * torch.cos((t - s) * theta) + cross * torch.sin((t - s) * theta)).sum(-1)
            y[t] = y[t] + (score * torch.exp(-rate * (t - s)))[:, None] * v[s]
    y = y.flatten(1)
    y = y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    return (y * torch.sigmoid(x @ weights["gate_down"].T @ weights["gate_up"].T)) @ weights["output"].T
