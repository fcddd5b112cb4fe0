"""Gated linear attention in its parallel form (arXiv:2312.06635, equation 4), from its definition and torch alone."""

import torch
from torch import Tensor


def gated_linear_attention(x: Tensor, weights: dict[str, Tensor], *, heads: int) -> Tensor:
    """y_t = Σ_{s ≤ t} Σ_k q_tk k_sk (b_tk / b_sk) v_s with b_t = Π_{s ≤ t} α_s, for one row x [T,D]."""
    length = x.shape[0]
    q, k, v = ((x @ weights[name].T).view(length, heads, -1) for name in ("query", "key", "value"))
    logits = (x @ weights["gate_down"].T @ weights["gate_up"].T).view_as(k) + weights["gate_bias"]
    b = torch.cumprod(torch.sigmoid(logits) ** (1 / 16), 0)
    scores = torch.einsum("thk,shk->hts", q * b / k.shape[-1] ** 0.5, k / b)
    y = torch.einsum("hts,shv->thv", scores.tril(), v)
    y = y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights["norm"]
    gate = x @ weights["output_gate"].T
    return (gate * torch.sigmoid(gate) * y.flatten(1)) @ weights["output"].T
