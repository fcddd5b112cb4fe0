"""HGRN's recurrence in complex numbers (arXiv:2311.04823, section 3), from its definition and torch alone."""

import torch
from torch import Tensor


def complex_gated_rnn(x: Tensor, weights: dict[str, Tensor], *, layer: int) -> Tensor:
    """h_t = λ_t e^{−iθ} h_{t-1} + (1 − λ_t) c_t, output W_o LayerNorm(g_t ∘ [Re h_t, Im h_t]), for one row x [T,D].

    The sign of θ is that of the imaginary axis, a convention.
    """
    made = x @ weights["input"].T
    made = made * torch.sigmoid(made)
    size = made.shape[1] // 2
    c = torch.complex(made[:, :size], made[:, size:])
    share = torch.exp(weights["bounds"].view(-1, size))
    share = share / share.sum(0)
    bound = torch.zeros_like(share[0])
    for below in range(layer):
        bound = bound + share[below]
    decay = bound + (1 - bound) * torch.sigmoid(x @ weights["forget"].T + weights["forget_bias"].flatten())
    turn = torch.polar(torch.ones_like(bound), -weights["theta"].flatten())
    h, hs = torch.zeros_like(c[0]), []
    for t in range(x.shape[0]):
        h = decay[t] * turn * h + (1 - decay[t]) * c[t]
        hs.append(torch.cat([h.real, h.imag]))
    gate = x @ weights["gate"].T
    y = torch.stack(hs) * gate * torch.sigmoid(gate)
    y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    return (y * weights["norm"] + weights["norm_bias"]) @ weights["output"].T
