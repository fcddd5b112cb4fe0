"""The time mixing of Eagle and Finch (arXiv:2404.05892, section 4), from its definition and torch alone."""

import torch
from torch import Tensor

TARGETS = ("value", "key", "decay", "receptance", "gate")


def eagle(x: Tensor, weights: dict[str, Tensor], *, heads: int) -> Tensor:
    """A fixed decay w = exp(−exp(ω)) and fixed mixtures, for one row x [T,D]."""
    views = {name: shifted(x, weights["mix"][index]) for index, name in enumerate(TARGETS)}
    log_decay = -torch.exp(weights["decay"]).expand(x.shape[0], -1, -1)
    return mixed(views, log_decay, weights, heads=heads)


def finch(x: Tensor, weights: dict[str, Tensor], *, heads: int) -> Tensor:
    """Decays and mixtures that depend on the data, for one row x [T,D]."""
    before = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
    inner = torch.tanh((x + weights["common"] * (before - x)) @ weights["mix_down"].T).view(x.shape[0], 5, -1)
    views = {}
    for index, name in enumerate(TARGETS):
        mix = weights["mix"][index] + inner[:, index] @ weights["mix_up"][index]
        views[name] = x + mix * (before - x)
    lora = torch.tanh(views["decay"] @ weights["decay_down"].T) @ weights["decay_up"].T
    log_decay = -torch.exp(weights["decay"] + lora.view(x.shape[0], heads, -1))
    return mixed(views, log_decay, weights, heads=heads)


def shifted(x: Tensor, mix: Tensor) -> Tensor:
    before = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
    return (1 - mix) * x + mix * before


def mixed(views: dict[str, Tensor], log_decay: Tensor, weights: dict[str, Tensor], *, heads: int) -> Tensor:
    """y_t = (S_{t-1} + diag(u) k_t v_tᵀ)ᵀ r_t, S_t = diag(w_t) S_{t-1} + k_t v_tᵀ, LayerNorm a head, times silu(g)."""
    length = views["key"].shape[0]
    r, k, v = (
        (views[name] @ weights[weight].T).view(length, heads, -1)
        for name, weight in (("receptance", "query"), ("key", "key"), ("value", "value"))
    )
    s = torch.zeros(heads, k.shape[2], v.shape[2], dtype=k.dtype)
    ys = []
    for t in range(length):
        write = k[t][:, :, None] * v[t][:, None]
        ys.append((r[t][:, :, None] * (s + weights["bonus"][:, :, None] * write)).sum(1))
        s = torch.exp(log_decay[t])[..., None] * s + write
    y = torch.stack(ys)
    y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, unbiased=False, keepdim=True) + 64e-5).sqrt()
    y = (y * weights["norm"] + weights["norm_bias"]).flatten(1)
    gate = views["gate"] @ weights["gate"].T
    return (y * gate * torch.sigmoid(gate)) @ weights["output"].T
