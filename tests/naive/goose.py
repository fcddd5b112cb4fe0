"""The time mixing of Goose (arXiv:2503.14456, section 4), from its definition and torch alone."""

import math

import torch
from torch import Tensor

TARGETS = ("value", "key", "decay", "receptance", "gate")


def goose(x: Tensor, weights: dict[str, Tensor], *, heads: int) -> Tensor:
    """S_t = S_{t-1} (diag(w_t) − κ_t (a_t ∘ κ_t)ᵀ) + v_t k̃_tᵀ in R^{V×K}, y_t = S_t r_t + (r_t · (ρ ∘ k̃_t)) v_t.

    For one row x [T,D]; S is written V × K and its matrix transposed, as in the paper.
    """
    length = x.shape[0]
    before = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
    views = {name: x + weights["mix"][index] * (before - x) for index, name in enumerate(TARGETS)}
    r, k, v = (
        (views[name] @ weights[weight].T).view(length, heads, -1)
        for name, weight in (("receptance", "query"), ("key", "key"), ("value", "value"))
    )
    lora = torch.tanh(views["decay"] @ weights["decay_down"].T) @ weights["decay_up"].T
    decay = weights["decay"] + lora.view_as(k)
    w = torch.exp(-math.exp(-0.5) * torch.sigmoid(decay))
    lora = views["decay"] @ weights["strength_down"].T @ weights["strength_up"].T
    a = torch.sigmoid(weights["strength"] + lora.view_as(k))
    kappa = k * weights["direction"]
    kappa = kappa / kappa.norm(dim=-1, keepdim=True)
    k = k * (1 + (a - 1) * weights["replacement"])
    s = torch.zeros(heads, v.shape[2], k.shape[2], dtype=x.dtype)
    ys = []
    for t in range(length):
        change = torch.diag_embed(w[t]) - kappa[t][:, :, None] * (a[t] * kappa[t])[:, None]
        s = s @ change + v[t][:, :, None] * k[t][:, None]
        own = (r[t] * weights["bonus"] * k[t]).sum(-1, keepdim=True) * v[t]
        ys.append((s @ r[t][..., None])[..., 0] + own)
    y = torch.stack(ys)
    y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, unbiased=False, keepdim=True) + 64e-5).sqrt()
    y = (y * weights["norm"] + weights["norm_bias"]).flatten(1)
    gate = torch.sigmoid(views["gate"] @ weights["gate_down"].T) @ weights["gate_up"].T
    return (y * gate) @ weights["output"].T
