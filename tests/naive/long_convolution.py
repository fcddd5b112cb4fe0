"""TNN's and Hyena's long convolutions as dense sums (arXiv:2305.04749; arXiv:2302.10866), torch alone."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def toeplitz(x: Tensor, weights: dict[str, Tensor], *, decay: float, layers: int) -> Tensor:
    """o_t = u_t ∘ Σ_{j ≤ t} λ^j RPE(j) ∘ v_{t−j}, with u, v = silu of projections, for one row x [T,D].

    gate, value [rD,D]; in_weight [E,1], in_bias [E]; hidden_i_weight [E,E], hidden_i_bias [E]; out_weight [rD,E],
    out_bias [rD]; output [D,rD].
    """
    u, v = F.silu(x @ weights["gate"].T), F.silu(x @ weights["value"].T)
    responses = []
    for lag in range(x.shape[0]):
        z = lag * weights["in_weight"].flatten() + weights["in_bias"]
        for layer in range(layers):
            z = weights[f"hidden_{layer}_weight"] @ simple_rms(z).clamp(min=0) + weights[f"hidden_{layer}_bias"]
        z = weights["out_weight"] @ simple_rms(z).clamp(min=0) + weights["out_bias"]
        responses.append(decay**lag * z)
    return (u * summed(responses, v)) @ weights["output"].T


def implicit(x: Tensor, weights: dict[str, Tensor], *, length: int, layers: int) -> Tensor:
    """o_t = g_t ∘ (Σ_{j ≤ t} h_j ∘ z_{t−j} + D ∘ z_t), z = g' ∘ v, h_t = exp(−t/(L−1) |a|) ∘ FFN(pe(t)), for x [T,D].

    gate, input_gate, value, output [D,D], the first three with taps [3,D]; skip, rate [D]; in_weight [W,E], in_bias,
    frequency, hidden_i_bias [W]; hidden_i_weight [W,W]; out_weight [D,W].
    """
    g0, g1, v = (convolved(x @ weights[name].T, weights[f"{name}_taps"]) for name in ("gate", "input_gate", "value"))
    z = g1 * v
    bands = (weights["in_weight"].shape[1] - 1) // 2
    f = torch.linspace(1e-4, bands - 1, bands, dtype=x.dtype)
    frequency = weights["frequency"]
    responses = []
    for t in range(x.shape[0]):
        angle = f * (2 * math.pi * t / length)
        pe = torch.cat([torch.tensor([t / (length - 1)], dtype=x.dtype), torch.cos(angle), -torch.sin(angle)])
        hidden = torch.sin(frequency * (weights["in_weight"] @ pe + weights["in_bias"]))
        for layer in range(layers):
            made = weights[f"hidden_{layer}_weight"] @ hidden + weights[f"hidden_{layer}_bias"]
            hidden = torch.sin(frequency * made)
        window = torch.exp(-t / (length - 1) * weights["rate"].abs())
        responses.append(window * (weights["out_weight"] @ hidden))
    return (g0 * (summed(responses, z) + weights["skip"] * z)) @ weights["output"].T


def summed(responses: list[Tensor], z: Tensor) -> Tensor:
    """Σ_{j ≤ t} responses_j ∘ z_{t−j}, a double loop."""
    rows = []
    for t in range(z.shape[0]):
        row = torch.zeros_like(z[0])
        for j in range(t + 1):
            row = row + responses[j] * z[t - j]
        rows.append(row)
    return torch.stack(rows)


def convolved(z: Tensor, taps: Tensor) -> Tensor:
    """Σ_j taps_j ∘ z_{t−j}, the taps padded with zeros to the length of z."""
    absent = torch.zeros_like(z[0])
    return summed([taps[j] if j < taps.shape[0] else absent for j in range(z.shape[0])], z)


def simple_rms(z: Tensor) -> Tensor:
    """z over its root mean square, without a weight."""
    return z / (z.square().mean() + 1e-6).sqrt()
