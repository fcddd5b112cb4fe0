"""The gated linear RNN with state expansion (arXiv:2404.07904, section 3), from its definition and torch alone."""

import torch
from torch import Tensor


def gated_rnn(x: Tensor, weights: dict[str, Tensor], *, heads: int, layer: int) -> Tensor:
    """h_t = diag(f_t) h_{t-1} + (1 − f_t) i_tᵀ, y_t = o_tᵀ h_t, for one row x [T,D]."""
    length = x.shape[0]
    i = (x @ weights["input"].T).view(length, heads, -1)
    o = (x @ weights["output_gate"].T).view(length, heads, -1)
    o = o * torch.sigmoid(o)
    share = torch.exp(weights["bounds"]) / torch.exp(weights["bounds"]).sum(0)
    bound = torch.zeros_like(share[0])
    for below in range(layer):
        bound = bound + share[below]
    f = bound + (1 - bound) * torch.sigmoid((x @ weights["forget"].T).view(o.shape) + weights["forget_bias"])
    h = torch.zeros(heads, o.shape[-1], i.shape[-1], dtype=x.dtype)
    ys = []
    for t in range(length):
        h = f[t][..., None] * h + (1 - f[t])[..., None] * i[t][:, None]
        ys.append((o[t][..., None] * h).sum(1).flatten())
    y = torch.stack(ys)
    y = y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights["norm"]
    return y @ weights["output"].T
