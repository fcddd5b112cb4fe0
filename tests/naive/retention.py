"""Retention in its parallel form (arXiv:2307.08621, equation 5), from its definition and torch alone."""

import torch
from torch import Tensor


def retention(x: Tensor, weights: dict[str, Tensor], *, heads: int) -> Tensor:
    """(Q Kᵀ ∘ D) V with rotated Q and K, a norm a head and a swish gate, for one row x [T,D]."""
    length = x.shape[0]
    q, k, v = ((x @ weights[name].T).view(length, heads, -1).transpose(0, 1) for name in ("query", "key", "value"))
    size = k.shape[-1]
    q, k = rope(q), rope(k) / size**0.5
    decay = 1 - 2.0 ** (-5 - torch.arange(heads, dtype=x.dtype))
    n, m = torch.arange(length)[:, None], torch.arange(length)[None]
    d = torch.where(n >= m, decay[:, None, None] ** (n - m).clamp(min=0), 0.0)
    y = (q @ k.transpose(1, 2) * d) @ v
    y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    y = (y * weights["norm"] + weights["norm_bias"]).transpose(0, 1).reshape(length, -1)
    gate = x @ weights["gate"].T
    return (gate * torch.sigmoid(gate) * y) @ weights["output"].T


def rope(x: Tensor) -> Tensor:
    """Pairs (p, p + d/2) of x [H,T,d] as complex numbers, turned by t · 10000^(−2p/d) at step t."""
    length, size = x.shape[1:]
    theta = 10000.0 ** (-2 * torch.arange(size // 2, dtype=torch.float64) / size)
    turn = torch.polar(torch.ones(length, size // 2, dtype=torch.float64), torch.arange(length)[:, None] * theta)
    z = torch.complex(x[..., : size // 2], x[..., size // 2 :]) * turn
    return torch.cat([z.real, z.imag], -1)
