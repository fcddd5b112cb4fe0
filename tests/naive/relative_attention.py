"""Linear attention with relative positions (LRPE, arXiv:2307.09270; cosFormer2, arXiv:2406.16690), torch alone."""

import torch
from torch import Tensor
from torch.nn import functional as F


def relative_attention(x: Tensor, weights: dict[str, Tensor], *, heads: int, kind: str) -> Tensor:
    """y_t = Σ_{s ≤ t} (M_t q_t)ᵀ (M_s k_s) v_s with silu on q and k, a norm a head, for one row x [T,D].

    The kinds of M_t: rotate, cosine (these also with _low or _high), householder (reflect [H,K]) and permutation.
    """
    y = mixed(x, weights, heads=heads, kind=kind)
    return normed(y, weights).flatten(1) @ weights["output"].T


def cosine_half_attention(x: Tensor, weights: dict[str, Tensor], *, heads: int) -> Tensor:
    """y_t = Σ_{s ≤ t} Σ_j q_tj k_sj cos((t − s) θ_j) v_s, θ of the slower half zero, gated before its norm."""
    y = mixed(x, weights, heads=heads, kind="cosine_high")
    gate = torch.sigmoid(x @ weights["gate_down"].T @ weights["gate_up"].T)
    return normed(y * gate.view_as(y), weights).flatten(1) @ weights["output"].T


def mixed(x: Tensor, weights: dict[str, Tensor], *, heads: int, kind: str) -> Tensor:
    """What every step reads [T,H,V], from scores [H,T,T]."""
    q, k, v = ((x @ weights[name].T).view(x.shape[0], heads, -1) for name in ("query", "key", "value"))
    q, k = F.silu(q), F.silu(k)
    size = k.shape[-1]
    core, _, half = kind.partition("_")
    step = torch.arange(x.shape[0])
    if core == "cosine":
        lag = (step[:, None] - step)[:, :, None]
        scores = torch.einsum("thk,shk,tsk->hts", q, k, torch.cos(lag * frequencies(size, size, half)))
    else:
        if core == "householder":
            v_unit = weights["reflect"] / weights["reflect"].square().sum(-1, keepdim=True).sqrt()
            mirror = torch.eye(size, dtype=x.dtype) - 2 * v_unit[:, :, None] * v_unit[:, None]
            q, k = (torch.einsum("hij,thj->thi", mirror, z) for z in (q, k))
        if core == "permutation":
            q, k = (torch.stack([torch.roll(row, t, -1) for t, row in enumerate(z)]) for z in (q, k))
        else:
            angle = step[:, None] * frequencies(size // 2, size, half)
            q, k = turned(q, angle), turned(k, angle)
        scores = torch.einsum("thk,shk->hts", q, k)
    return torch.einsum("hts,shv->thv", scores.tril(), v)


def frequencies(count: int, size: int, half: str) -> Tensor:
    """θ_j = 10000^(−2j/size) for j < count; of a half that is named, the other half is zero."""
    index = torch.arange(count, dtype=torch.float64)
    theta = 10000.0 ** (-2 * index / size)
    slow = 2 * index >= count
    kept = {"": torch.ones_like(theta), "low": slow.to(theta.dtype), "high": (~slow).to(theta.dtype)}[half]
    return theta * kept


def turned(z: Tensor, angle: Tensor) -> Tensor:
    """z_p + i z_{p+K/2} times exp(i angle_tp), for z [T,H,K] and angle [T,K/2]."""
    half = z.shape[-1] // 2
    first, second = z[..., :half], z[..., half:]
    cos, sin = torch.cos(angle)[:, None], torch.sin(angle)[:, None]
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


def normed(y: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """RMSNorm over every head."""
    return y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights["norm"]
