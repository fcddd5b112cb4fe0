"""The LCSM grid of expand, oscillation and shrink states (arXiv:2405.17383), step by step, torch alone."""

import torch
from torch import Tensor

ACTIVATIONS = {
    "identity": lambda z: z,
    "relu": lambda z: z.clamp(min=0),
    "sigmoid": torch.sigmoid,
    "one_plus_elu": lambda z: torch.where(z > 0, 1 + z, torch.exp(z)),
    "silu": lambda z: z * torch.sigmoid(z),
    "elu": lambda z: torch.where(z > 0, z, torch.exp(z) - 1),
    "squared_relu": lambda z: z.clamp(min=0) ** 2,
    "square": lambda z: z**2,
}


def grid(x: Tensor, weights: dict[str, Tensor], *, heads: int, oscillation: str, tau: float, activation: str) -> Tensor:
    """m_t = o_t ∘ m_{t-1} + e_t i_tᵀ, y_t = m_tᵀ s_t, a LayerNorm a head, for one row x [T,D].

    input [H·V,D]; expand [H·K,D], or expand_state [H,K,V] for every step; shrink likewise; norm, norm_bias [V].
    """
    length = x.shape[0]
    i = (x @ weights["input"].T).view(length, heads, 1, -1)
    e, s = (
        ACTIVATIONS[activation](made(x, weights, name, heads)).expand(length, -1, -1, i.shape[-1])
        for name in ("expand", "shrink")
    )
    o = decays(x, weights, heads=heads, oscillation=oscillation, tau=tau)
    if oscillation == "rotation":
        size = e.shape[2]
        theta = 10000.0 ** (-2 * torch.arange(size, dtype=x.dtype) / size)
        angle = (torch.arange(length)[:, None] * theta)[:, None, :, None]
        e, s = (torch.cat([z * torch.cos(angle), z * torch.sin(angle)], 2) for z in (e, s))
    if oscillation == "cumulative_softmax":
        e = (1 - o) * e
    o = o.expand(length, *e.shape[1:])
    m = torch.zeros_like(e[0])
    ys = []
    for t in range(length):
        m = o[t] * m + e[t] * i[t]
        ys.append((m * s[t]).sum(1))
    y = torch.stack(ys)
    y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    return (y * weights["norm"] + weights["norm_bias"]).flatten(1) @ weights["output"].T


def made(x: Tensor, weights: dict[str, Tensor], name: str, heads: int) -> Tensor:
    """The state of every step [T,H,K,1], or of all steps [1,H,K,V], before its activation."""
    if f"{name}_state" in weights:
        return weights[f"{name}_state"][None]
    return (x @ weights[name].T).view(x.shape[0], heads, -1, 1)


def decays(x: Tensor, weights: dict[str, Tensor], *, heads: int, oscillation: str, tau: float) -> Tensor:
    """o_t, of a shape that broadcasts to [T,H,K,V].

    key_logits [H·K,D], value_logits [H·V,D] with biases [H,K], [H,V]; table [H,K,V], [H,K] or [H,V].
    """

    def key() -> Tensor:
        return (x @ weights["key_logits"].T).view(x.shape[0], heads, -1, 1)

    def value() -> Tensor:
        return (x @ weights["value_logits"].T).view(x.shape[0], heads, 1, -1)

    def root(logits: Tensor) -> Tensor:
        return torch.sigmoid(logits) ** (1 / tau)

    match oscillation:
        case "none" | "rotation":
            return torch.ones(1, 1, 1, 1, dtype=x.dtype)
        case "outer":
            over_key = root(key() + weights["key_logits_bias"][:, :, None])
            return over_key * root(value() + weights["value_logits_bias"][:, None])
        case "key":
            return root(key() + weights["key_logits_bias"][:, :, None])
        case "value":
            return root(value() + weights["value_logits_bias"][:, None])
        case "constant_key_value":
            return root(weights["table"])[None]
        case "constant_key":
            return root(weights["table"])[None, :, :, None]
        case "constant_value":
            return root(weights["table"])[None, :, None]
        case "key_table":
            return root(key() * weights["table"])
        case "value_table":
            return root(value() * weights["table"])
        case "value_key":
            return root(value() * weights["table"][:, :, None])
        case "key_value":
            return root(key() * weights["table"][:, None])
        case "cumulative_softmax":
            logits = key() + weights["key_logits_bias"][:, :, None]
            z = torch.stack([torch.logsumexp(logits[: t + 1], 0) for t in range(x.shape[0])])
            return torch.cat([torch.zeros_like(z[:1]), torch.exp(z[:-1] - z[1:])])
    raise ValueError(oscillation)


def state_space(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """The parametrisation of state spaces: Δ = softplus over V, i ← Δ i, o = exp(−exp(log_rate) Δ), one head.

    step_down [r,D], step_up [V,r], step_bias [V]; log_rate [K,V]; the rest as in the grid.
    """
    logits = x @ weights["step_down"].T @ weights["step_up"].T + weights["step_bias"]
    step = torch.log(1 + torch.exp(logits))
    i, e, s = (x @ weights[name].T for name in ("input", "expand", "shrink"))
    m = torch.zeros_like(weights["log_rate"])
    ys = []
    for t in range(x.shape[0]):
        m = torch.exp(-torch.exp(weights["log_rate"]) * step[t]) * m + e[t][:, None] * (step[t] * i[t])
        ys.append((m * s[t][:, None]).sum(0))
    y = torch.stack(ys)
    y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    return (y * weights["norm"] + weights["norm_bias"]) @ weights["output"].T
