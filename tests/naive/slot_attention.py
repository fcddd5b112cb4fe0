"""Gated slot attention (arXiv:2409.07146), slot by slot, from its definition and torch alone."""

import torch
from torch import Tensor
from torch.nn import functional as F


def slot_attention(x: Tensor, weights: dict[str, Tensor], *, heads: int) -> Tensor:
    """K̃_t = diag(f_t) K̃_{t-1} + (1 − f_t) k_tᵀ, Ṽ_t likewise, y_t = Ṽ_tᵀ softmax(K̃_t q_t / √K), for one row x [T,D].

    f_t = sigmoid(W_f x + b)^(1/8) over M slots a head: forget [H·M,D], forget_bias [H,M], norm [V].
    """
    length = x.shape[0]
    q, k, v = (F.silu(x @ weights[name].T).view(length, heads, -1) for name in ("query", "key", "value"))
    f = (x @ weights["forget"].T).view(length, heads, -1) + weights["forget_bias"]
    f = torch.sigmoid(f) ** (1 / 8)
    slots = f.shape[-1]
    slot_keys = torch.zeros(heads, slots, k.shape[-1], dtype=x.dtype)
    slot_values = torch.zeros(heads, slots, v.shape[-1], dtype=x.dtype)
    ys = []
    for t in range(length):
        keep = f[t][:, :, None]
        slot_keys = keep * slot_keys + (1 - keep) * k[t][:, None]
        slot_values = keep * slot_values + (1 - keep) * v[t][:, None]
        scores = (slot_keys * q[t][:, None]).sum(-1) / k.shape[-1] ** 0.5
        share = torch.softmax(scores, -1)
        ys.append((share[:, :, None] * slot_values).sum(1))
    y = F.silu(torch.stack(ys))
    y = y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights["norm"]
    return y.flatten(1) @ weights["output"].T
