"""S4 as a dense recurrence in complex numbers (arXiv:2111.00396), from torch alone."""

import math

import torch
from torch import Tensor


def structured_state_space(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """h_t = Ā h_{t-1} + B̄ x_t, y_t = Re(C h_t) + D x_t a channel, GLU(W gelu(y)), for one row x [T,D].

    A = diag(Λ) − P P* over N entries and their conjugates, Ā = (I − Δ/2 A)⁻¹ (I + Δ/2 A), B̄ = (I − Δ/2 A)⁻¹ Δ B;
    log_rate, turn [D,N]; p, b, c [D,2N] (real parts, then imaginary ones); log_step, skip [D]; output [2D,D].
    """
    modes = weights["log_rate"].shape[1]
    columns = []
    for channel in range(x.shape[1]):
        eigenvalues = torch.complex(-torch.exp(weights["log_rate"][channel]), weights["turn"][channel])
        p, b, c = (with_conjugates(weights[name][channel, :modes], weights[name][channel, modes:]) for name in "pbc")
        a = torch.diag(with_conjugates(eigenvalues.real, eigenvalues.imag)) - p[:, None] * p.conj()[None]
        step = torch.exp(weights["log_step"][channel])
        eye = torch.eye(2 * modes, dtype=a.dtype)
        inverse = torch.linalg.inv(eye - step / 2 * a)
        kept, written = inverse @ (eye + step / 2 * a), inverse @ (step * b)
        h, column = torch.zeros_like(b), []
        for t in range(x.shape[0]):
            h = kept @ h + written * x[t, channel]
            column.append((c * h).sum().real + weights["skip"][channel] * x[t, channel])
        columns.append(torch.stack(column))
    y = torch.stack(columns, 1)
    z = y * (1 + torch.erf(y / math.sqrt(2))) / 2
    a, b = (z @ weights["output"].T).chunk(2, dim=1)
    return a * torch.sigmoid(b)


def with_conjugates(real: Tensor, imaginary: Tensor) -> Tensor:
    """[z, z̄] for z = real + i imaginary."""
    return torch.complex(torch.cat([real, real]), torch.cat([imaginary, -imaginary]))
