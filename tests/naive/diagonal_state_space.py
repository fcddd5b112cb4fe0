"""S4D and DSS as recurrences in complex numbers (arXiv:2206.11893, sections 3-4; arXiv:2203.14343), torch alone."""

import math

import torch
from torch import Tensor


def diagonal_state_space(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """S4D: [a, b] = W gelu(y), the output a ∘ sigmoid(b), for one row x [T,D]."""
    a, b = plain_diagonal_state_space(x, weights).chunk(2, dim=1)
    return a * torch.sigmoid(b)


def plain_diagonal_state_space(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """h_t = exp(ΔA) h_{t-1} + (exp(ΔA) − 1) A⁻¹ x_t, y_t = 2 Re(C h_t) + D x_t, channel by channel; W gelu(y)."""
    rate = -torch.exp(weights["log_rate"])
    a = torch.complex(rate, weights["turn"])  # [N,D]
    step = torch.exp(weights["log_step"].flatten())
    real, imaginary = weights["c"].chunk(2)
    c = torch.complex(real, imaginary)
    kept = torch.exp(step * a)
    written = (kept - 1) / a
    h, ys = torch.zeros_like(a), []
    for t in range(x.shape[0]):
        h = kept * h + written * x[t]
        ys.append(2 * (c * h).sum(0).real + weights["skip"].flatten() * x[t])
    y = torch.stack(ys)
    return (y * (1 + torch.erf(y / math.sqrt(2))) / 2) @ weights["output"].T


def real_diagonal_state_space(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """The same with real rates −exp(log_rate), and y_t = C h_t + D x_t."""
    a = -torch.exp(weights["log_rate"])
    kept = torch.exp(torch.exp(weights["log_step"].flatten()) * a)
    h, ys = torch.zeros_like(a), []
    for t in range(x.shape[0]):
        h = kept * h + (kept - 1) / a * x[t]
        ys.append((weights["c"] * h).sum(0) + weights["skip"].flatten() * x[t])
    y = torch.stack(ys)
    first, second = ((y * (1 + torch.erf(y / math.sqrt(2))) / 2) @ weights["output"].T).chunk(2, dim=1)
    return first * torch.sigmoid(second)
