"""minGRU (arXiv:2410.01201, section 3.1), from its definition and torch alone."""

import torch
from torch import Tensor


def minimal_gru(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """h_t = (1 − z_t) ∘ h_{t-1} + z_t ∘ h̃_t with z_t = σ(−(W x_t + b)), for one row x [T,D].

    The gate's weights are those of 1 − z_t, the part that is kept.
    """
    z = 1 - torch.sigmoid(x @ weights["gate"].T + weights["gate_bias"].flatten())
    made = x @ weights["candidate"].T
    taps = weights["taps"]
    h, hs = torch.zeros_like(made[0]), []
    for t in range(x.shape[0]):
        candidate = torch.zeros_like(h)
        for j in range(min(t + 1, taps.shape[0])):
            candidate = candidate + taps[j] * made[t - j]
        h = (1 - z[t]) * h + z[t] * candidate
        hs.append(h)
    return torch.stack(hs) @ weights["output"].T
