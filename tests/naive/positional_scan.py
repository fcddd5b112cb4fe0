"""TPE, a fixed decaying sum over the tokens for their positions (arXiv:2405.21022), from torch alone."""

import torch
from torch import Tensor


def positional_scan(x: Tensor, weights: dict[str, Tensor], *, heads: int) -> Tensor:
    """S_t = λ S_{t-1} + k x_tᵀ, o_t = S_tᵀ q a head, with learned q, k and λ, for one row x [T,D].

    query, key [H,D/H], decay_logit [H], norm [D/H].
    """
    parts = x.view(x.shape[0], heads, -1)
    size = parts.shape[-1]
    decay = torch.sigmoid(weights["decay_logit"])[:, None, None]
    s = torch.zeros(heads, size, size, dtype=x.dtype)
    ys = []
    for t in range(x.shape[0]):
        s = decay * s + weights["key"][:, :, None] * parts[t][:, None]
        ys.append((s * weights["query"][:, :, None]).sum(1))
    y = torch.stack(ys)
    y = y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights["norm"]
    return y.flatten(1) @ weights["output"].T
