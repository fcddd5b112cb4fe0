"""What a transition does, as dense matrices: ψ on the K·V entries of a memory, and its factor on a write."""

import torch
from torch import Tensor

from tests.naive.recurrence import log_decays, over_key, phases


def operator(parts: dict[str, Tensor], shape: tuple[int, ...], *, link: str = "identity", tau: float = 1.0) -> Tensor:
    """diag(o) R(phase) + (a bᵀ) ⊗ 1 over the flattened memory, [B,T,H,K·V,K·V], for a shape (B,T,H,K,V)."""
    B, T, H, K, V = shape
    o = log_decays(parts, shape, link=link, tau=tau).exp()
    angle = phases(parts, (B, T, H, K // 2, V))
    half = torch.arange(K // 2)
    turn = torch.zeros(B, T, H, V, K, K, dtype=torch.float64)
    cos, sin = angle.cos().mT, angle.sin().mT  # [B,T,H,V,K/2]
    turn[..., half, half] = turn[..., half + K // 2, half + K // 2] = cos
    turn[..., half, half + K // 2] = -sin
    turn[..., half + K // 2, half] = sin
    both = torch.zeros(B, T, H, K, V, K, V, dtype=torch.float64)
    for v in range(V):
        both[..., v, :, v] = o[..., v, None] * turn[..., v, :, :]
        if "erase[0]" in parts:
            both[..., v, :, v] += parts["erase[0]"][..., :, None] * parts["erase[1]"][..., None, :]
    return both.reshape(B, T, H, K * V, K * V)


def factor(parts: dict[str, Tensor], shape: tuple[int, ...]) -> Tensor:
    """gate · exp(log_gate), the factor on e iᵀ, in full [B,T,H,K,V]."""
    total = torch.ones(shape, dtype=torch.float64)
    if "gate" in parts:
        total = total * parts["gate"]
    if "log_gate" in parts:
        total = total * over_key(parts["log_gate"], shape[3]).exp()[..., None]
    return total
