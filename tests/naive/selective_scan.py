"""The selective state space (arXiv:2312.00752, algorithm 2), from its definition and torch alone."""

import torch
from torch import Tensor
from torch.nn import functional as F


def selective_scan(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """h_t = exp(Δ_t A) h_{t-1} + Δ_t B_t u_t, y_t = C_t h_t + D u_t, gated by silu(z_t), for one row x [T,D]."""
    u, z = x @ weights["input"].T, x @ weights["gate"].T
    taps, channels = weights["convolution"].shape
    kernel = weights["convolution"].flip(0).T[:, None]
    u = F.conv1d(F.pad(u.T, (taps - 1, 0)), kernel, weights["convolution_bias"], groups=channels).T
    u = F.silu(u)
    delta = F.softplus(u @ weights["step_down"].T @ weights["step_up"].T + weights["step_bias"])
    b, c = u @ weights["b"].T, u @ weights["c"].T
    a = -torch.exp(weights["log_rate"]).T
    if "turn" in weights:  # complex numbers: halves of b and c are real and imaginary parts
        a = torch.complex(a, weights["turn"].T)
        b = torch.complex(*b.chunk(2, 1))
        c = torch.complex(*c.chunk(2, 1)).conj()
    h = torch.zeros_like(a)
    ys = []
    for t in range(x.shape[0]):
        h = torch.exp(delta[t][:, None] * a) * h + (delta[t] * u[t])[:, None] * b[t]
        ys.append((h * c[t]).sum(1).real)
    y = torch.stack(ys) + weights["skip"] * u
    return (y * F.silu(z)) @ weights["output"].T
