"""The linear recurrent unit in complex numbers (arXiv:2303.06349, section 3), from its definition and torch alone."""

import math

import torch
from torch import Tensor


def linear_recurrent_unit(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """h_t = λ ∘ h_{t-1} + γ ∘ B x_t, y_t = Re(C h_t) + D ∘ x_t, output GLU(W gelu(y)), for one row x [T,D]."""
    written = x @ weights["b"].T
    size = written.shape[1] // 2
    written = torch.complex(written[:, :size], written[:, size:])
    kept = torch.exp(torch.complex(-torch.exp(weights["log_rate"]), torch.exp(weights["log_angle"]))).flatten()
    c = torch.complex(weights["c"][:, :size], -weights["c"][:, size:])
    h, ys = torch.zeros_like(written[0]), []
    for t in range(x.shape[0]):
        h = kept * h + torch.exp(weights["log_gate"].flatten()) * written[t]
        ys.append((c @ h).real + weights["skip"] * x[t])
    y = torch.stack(ys)
    y = y * (1 + torch.erf(y / math.sqrt(2))) / 2
    a, b = (y @ weights["output"].T).chunk(2, dim=1)
    return a * torch.sigmoid(b)
