"""Linear attention with feature fixation (arXiv:2210.08164), causal and quadratic, from torch alone."""

import torch
from torch import Tensor


def fixed_attention(x: Tensor, weights: dict[str, Tensor], *, heads: int) -> Tensor:
    """o_t = Σ_{s ≤ t} w_ts v_s / max(Σ_s w_ts, 1e-6), w_ts = (g_t ∘ φ(q_t))ᵀ (g'_s ∘ φ(k_s)), for one row x [T,D].

    φ(z) = relu(z) + K^(−1/2), g and g' sigmoids of [φ(q), φ(k), v]: query_gate, key_gate [K,2K+V], a bias [K] each.
    """
    length = x.shape[0]
    q, k, v = ((x @ weights[name].T).view(length, heads, -1) for name in ("query", "key", "value"))
    q, k = (z.clamp(min=0) + z.shape[-1] ** -0.5 for z in (q, k))
    features = torch.cat([q, k, v], -1)
    q = q * torch.sigmoid(features @ weights["query_gate"].T + weights["query_gate_bias"])
    k = k * torch.sigmoid(features @ weights["key_gate"].T + weights["key_gate_bias"])
    rows = []
    for t in range(length):
        w = (q[t] * k[: t + 1]).sum(-1)  # [t+1,H]
        rows.append((w[:, :, None] * v[: t + 1]).sum(0) / w.sum(0).clamp(min=1e-6)[:, None])
    return torch.stack(rows).flatten(1) @ weights["output"].T
