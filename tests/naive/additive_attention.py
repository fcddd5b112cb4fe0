"""Attention with an additive, softmax-normalised memory (arXiv:2405.21022, section 3), from torch alone."""

import torch
from torch import Tensor


def additive_attention(x: Tensor, weights: dict[str, Tensor], *, heads: int, null: bool = False) -> Tensor:
    """y_t = Σ_{s ≤ t} Σ_k q_tk softmax_{s ≤ t}(g_{·k})_s cos((t − s) θ_k) v_s, for one row x [T,D].

    With ``null`` the softmax is also over an empty token whose logits are zero.
    """
    length = x.shape[0]
    q, g, v = ((x @ weights[name].T).view(length, heads, -1) for name in ("query", "logits", "value"))
    q, g = q * torch.sigmoid(q), g + weights["logits_bias"]
    theta = 10000.0 ** (-2 * torch.arange(q.shape[-1], dtype=torch.float64) / q.shape[-1])
    ys = []
    for t in range(length):
        share = torch.softmax(torch.cat([g[: t + 1], torch.zeros_like(g[:1])]), 0)[:-1]
        share = share if null else torch.softmax(g[: t + 1], 0)
        angle = (t - torch.arange(t + 1))[:, None, None] * theta
        ys.append(torch.einsum("hk,shk,shv->hv", q[t], share * torch.cos(angle), v[: t + 1]))
    y = torch.stack(ys)
    gate = torch.sigmoid(x @ weights["gate_down"].T @ weights["gate_up"].T)
    y = y * gate.view_as(y)
    y = y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights["norm"]
    return y.flatten(1) @ weights["output"].T
