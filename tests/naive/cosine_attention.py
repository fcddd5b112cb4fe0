"""cosFormer in its quadratic form (arXiv:2202.08791, section 3.3), from its definition and torch alone."""

import math

import torch
from torch import Tensor


def cosine_attention(x: Tensor, weights: dict[str, Tensor], *, heads: int, most: int) -> Tensor:
    """y_t = Σ_{s ≤ t} w_ts v_s / Σ_s w_ts, w_ts = relu(q_t)ᵀ relu(k_s) cos(π(t − s) / 2M), of one row x [T,D]."""
    length = x.shape[0]
    q, k, v = ((x @ weights[name].T).view(length, heads, -1) for name in ("query", "key", "value"))
    q, k = q.clamp(min=0), k.clamp(min=0)
    step = torch.arange(length, dtype=x.dtype)
    w = torch.einsum("thk,shk->hts", q, k) * torch.cos(math.pi / (2 * most) * (step[:, None] - step))
    w = w.tril()
    y = torch.einsum("hts,shv->thv", w, v) / w.sum(-1).T.clamp(min=1e-6)[..., None]
    return y.flatten(1) @ weights["output"].T
