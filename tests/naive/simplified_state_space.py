"""S5 as a recurrence in complex numbers (arXiv:2208.04933, section 3), from its definition and torch alone."""

import math

import torch
from torch import Tensor


def simplified_state_space(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """h_t = exp(ΔA) h_{t-1} + (exp(ΔA) − 1) A⁻¹ B x_t, y_t = Re(C h_t) + D ∘ x_t, output GLU(W gelu(y))."""
    written = x @ weights["b"].T
    size = written.shape[1] // 2
    written = torch.complex(written[:, :size], written[:, size:])
    a = torch.complex(-torch.exp(weights["log_rate"]), weights["turn"]).flatten()
    kept = torch.exp(torch.exp(weights["log_step"].flatten()) * a)
    c = torch.complex(weights["c"][:, :size], -weights["c"][:, size:])
    h, ys = torch.zeros_like(written[0]), []
    for t in range(x.shape[0]):
        h = kept * h + (kept - 1) / a * written[t]
        ys.append((c @ h).real + weights["skip"] * x[t])
    y = torch.stack(ys)
    y = y * (1 + torch.erf(y / math.sqrt(2))) / 2
    a, b = (y @ weights["output"].T).chunk(2, dim=1)
    return a * torch.sigmoid(b)
