"""Griffin's recurrent block (arXiv:2402.19427, sections 2.3 and 2.4), from its definition and torch alone."""

import math

import torch
from torch import Tensor


def real_gated_lru(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """h_t = a_t ∘ h_{t-1} + √(1 − a_t²) ∘ (i_t ∘ u_t), a_t = a^{8 r_t}, for x [T,D]; u is convolved, h gated."""
    made = x @ weights["input"].T
    taps = weights["taps"]
    a = torch.sigmoid(weights["logit"].flatten())
    h, hs = torch.zeros_like(made[0]), []
    for t in range(x.shape[0]):
        u = weights["taps_bias"] + sum(taps[j] * made[t - j] for j in range(min(t + 1, taps.shape[0])))
        r = torch.sigmoid(weights["power"] @ u + weights["power_bias"].flatten())
        i = torch.sigmoid(weights["write"] @ u + weights["write_bias"].flatten())
        decay = a ** (8 * r)
        h = decay * h + (1 - decay**2).sqrt() * i * u
        hs.append(h)
    gate = x @ weights["gate"].T
    gate = gate * (1 + torch.erf(gate / math.sqrt(2))) / 2
    return (torch.stack(hs) * gate) @ weights["output"].T
