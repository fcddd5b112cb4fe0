"""The time mixing of RWKV-4 (arXiv:2305.13048, section 3), from its definition and torch alone."""

import torch
from torch import Tensor

TARGETS = ("value", "expand", "key", "shrink", "receptance")


def fading_average(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """wkv_t = (Σ_{s<t} e^{−(t−1−s)w + k_s} v_s + e^{u+k_t} v_t) / (the same without v), for one row x [T,D]."""
    before = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
    views = {name: x + weights["mix"][index] * (before - x) for index, name in enumerate(TARGETS)}
    k = views["key"] @ weights["key"].T + weights["key_bias"]
    v = views["value"] @ weights["value"].T
    w, u = torch.exp(weights["log_rate"]), weights["bonus"].flatten()
    rows = []
    for t in range(x.shape[0]):
        above, below = torch.exp(u + k[t]) * v[t], torch.exp(u + k[t])
        for s in range(t):
            weight = torch.exp(-(t - 1 - s) * w + k[s])
            above, below = above + weight * v[s], below + weight
        rows.append(above / below)
    gate = torch.sigmoid(views["receptance"] @ weights["gate"].T)
    return (torch.stack(rows) * gate) @ weights["output"].T
