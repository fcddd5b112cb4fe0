"""GateLoop (arXiv:2311.01927, section 3) in complex numbers, from its definition and torch alone."""

import torch
from torch import Tensor


def gate_loop(x: Tensor, weights: dict[str, Tensor], *, heads: int) -> Tensor:
    """h_t = a_t h_{t-1} + k_t v_tᵀ with complex k_t, a_t in C^{K/2}, y_t = Re(h_tᵀ q̄_t) / √K, for one row x [T,D]."""
    q, k, v = ((x @ weights[name].T).view(x.shape[0], heads, -1) for name in ("query", "key", "value"))
    half = k.shape[2] // 2
    shape = (x.shape[0], heads, half)
    size = torch.sigmoid((x @ weights["decay"].T).view(shape) + weights["decay_bias"])
    angle = (x @ weights["phase"].T).view(shape) + weights["phase_bias"]
    a = torch.polar(size, angle)
    q, k = (torch.complex(z[..., :half], z[..., half:]) for z in (q, k))
    h = torch.zeros(heads, half, v.shape[2], dtype=a.dtype)
    ys = []
    for t in range(x.shape[0]):
        h = a[t][..., None] * h + k[t][..., None] * v[t][:, None]
        ys.append((h * q[t].conj()[..., None]).sum(1).real)
    y = torch.stack(ys) / (2 * half) ** 0.5
    y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    y = (y * weights["norm"] + weights["norm_bias"]).flatten(1)
    gate = x @ weights["gate"].T
    return (y * gate * torch.sigmoid(gate)) @ weights["output"].T
