"""The delta rule (arXiv:2406.06484, section 2.2; with a decay over K arXiv:2510.26692, section 3), from torch alone."""

import torch
from torch import Tensor
from torch.nn import functional as F


def delta_rule(x: Tensor, weights: dict[str, Tensor], *, heads: int) -> Tensor:
    """S_t = (I − β_t k_t k_tᵀ) S_{t-1} + β_t k_t v_tᵀ in R^{K×V}, y_t = S_tᵀ q_t, for one row x [T,D]."""
    q, k, v = projected(x, weights, heads)
    beta = torch.sigmoid(x @ weights["beta"].T + weights["beta_bias"])
    y = normed(delta_states(q, k, v, beta, torch.ones_like(k)), weights)
    return y.flatten(1) @ weights["output"].T


def kimi_delta_attention(x: Tensor, weights: dict[str, Tensor], *, heads: int) -> Tensor:
    """S_t = (I − β_t k_t k_tᵀ) diag(α_t) S_{t-1} + β_t k_t v_tᵀ, y_t = S_tᵀ q_t / √K, for one row x [T,D]."""
    q, k, v = projected(x, weights, heads)
    beta = torch.sigmoid(x @ weights["beta"].T + weights["beta_bias"])
    step = (x @ weights["step_down"].T @ weights["step_up"].T).view(k.shape) + weights["step_bias"]
    alpha = torch.exp(-torch.exp(weights["log_rate"])[:, None] * torch.log1p(torch.exp(step)))
    y = normed(delta_states(q / k.shape[-1] ** 0.5, k, v, beta, alpha), weights)
    gate = torch.sigmoid(x @ weights["gate_down"].T @ weights["gate_up"].T)
    return (y.flatten(1) * gate) @ weights["output"].T


def projected(x: Tensor, weights: dict[str, Tensor], heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys of length one, and values, each after its short convolution [T,H,K|V]."""
    q, k, v = (
        convolved(x @ weights[name].T, weights[f"{name}_taps"]).view(x.shape[0], heads, -1)
        for name in ("query", "key", "value")
    )
    return q / q.norm(dim=-1, keepdim=True), k / k.norm(dim=-1, keepdim=True), v


def convolved(z: Tensor, taps: Tensor) -> Tensor:
    """silu(Σ_j taps_j ∘ z_{t−j}), step by step."""
    rows = []
    for t in range(z.shape[0]):
        rows.append(sum((taps[j] * z[t - j] for j in range(min(t + 1, taps.shape[0]))), torch.zeros_like(z[0])))
    return F.silu(torch.stack(rows))


def delta_states(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, alpha: Tensor) -> Tensor:
    """What every step reads [T,H,V], with dense K×K matrices."""
    s = torch.zeros(k.shape[1], k.shape[2], v.shape[2], dtype=k.dtype)
    eye = torch.eye(k.shape[2], dtype=k.dtype)
    ys = []
    for t in range(k.shape[0]):
        write = beta[t][:, None, None] * k[t][:, :, None]
        s = (eye - write * k[t][:, None]) @ torch.diag_embed(alpha[t]) @ s + write * v[t][:, None]
        ys.append((q[t][:, None] @ s)[:, 0])
    return torch.stack(ys)


def normed(y: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """RMSNorm over every head."""
    return y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights["norm"]
