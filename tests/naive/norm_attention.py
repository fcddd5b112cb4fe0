"""TransNormer's NormAttention in its quadratic form (arXiv:2210.10340), from torch alone."""

import torch
from torch import Tensor


def norm_attention(x: Tensor, weights: dict[str, Tensor], *, heads: int, plus_one: bool) -> Tensor:
    """y_t = Σ_{s ≤ t} φ(q_t)ᵀ φ(k_s) v_s, φ = elu or 1 + elu, all heads over their root mean square, for x [T,D]."""
    length = x.shape[0]
    q, k, v = ((x @ weights[name].T).view(length, heads, -1) for name in ("query", "key", "value"))
    q, k = (torch.where(z > 0, z, torch.exp(z) - 1) + (1 if plus_one else 0) for z in (q, k))
    scores = torch.einsum("thk,shk->hts", q, k).tril()
    y = torch.einsum("hts,shv->thv", scores, v).flatten(1)
    y = y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    return y @ weights["output"].T
