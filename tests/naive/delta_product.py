"""DeltaProduct (arXiv:2502.10297), micro-step by micro-step with dense matrices, from torch alone."""

import torch
from torch import Tensor
from torch.nn import functional as F


def delta_product(x: Tensor, weights: dict[str, Tensor], *, heads: int, substeps: int) -> Tensor:
    """M ← (I − β_tj k_tj k_tjᵀ) M + β_tj k_tj v_tjᵀ for j = 0 … n − 1 in turn, y_t = Mᵀ q_t, for one row x [T,D].

    key_j [H·K,D] a micro-step, key_taps [size,n·H·K]; value [n·H·V,D], beta [n·H,D], beta_bias [n,H], norm [V].
    """
    length = x.shape[0]
    keys = torch.cat([weights[f"key_{j}"] for j in range(substeps)])
    q = convolved(x @ weights["query"].T, weights["query_taps"]).view(length, heads, -1)
    k = convolved(x @ keys.T, weights["key_taps"]).view(length, substeps, heads, -1)
    v = convolved(x @ weights["value"].T, weights["value_taps"]).view(length, substeps, heads, -1)
    q = q / q.square().sum(-1, keepdim=True).sqrt() / q.shape[-1] ** 0.5
    k = k / k.square().sum(-1, keepdim=True).sqrt()
    logits = (x @ weights["beta"].T).view(length, substeps, heads) + weights["beta_bias"]
    beta = 2 * torch.sigmoid(logits)
    m = torch.zeros(heads, k.shape[-1], v.shape[-1], dtype=x.dtype)
    eye = torch.eye(k.shape[-1], dtype=x.dtype)
    ys = []
    for t in range(length):
        for j in range(substeps):
            write = beta[t, j][:, None, None] * k[t, j][:, :, None]
            m = (eye - write * k[t, j][:, None]) @ m + write * v[t, j][:, None]
        ys.append((m * q[t][:, :, None]).sum(1))
    y = torch.stack(ys)
    y = y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights["norm"]
    return (y.flatten(1) * F.silu(x @ weights["gate"].T)) @ weights["output"].T


def convolved(z: Tensor, taps: Tensor) -> Tensor:
    """silu(Σ_j taps_j ∘ z_{t−j}), step by step."""
    rows = []
    for t in range(z.shape[0]):
        row = torch.zeros_like(z[0])
        for j in range(min(t + 1, taps.shape[0])):
            row = row + taps[j] * z[t - j]
        rows.append(row * torch.sigmoid(row))
    return torch.stack(rows)
