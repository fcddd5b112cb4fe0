"""TransNormer's DiagAttention (arXiv:2210.10340), position by position, from torch alone."""

import torch
from torch import Tensor


def block_attention(x: Tensor, weights: dict[str, Tensor], *, heads: int, block: int, score: str) -> Tensor:
    """y_t = Σ_s a(q_tᵀ k_s / √d) v_s over the s ≤ t of t's own block, a = softmax or relu, for one row x [T,D].

    After relu the merged heads are divided by their root mean square, with a weight: norm [H·V].
    """
    length = x.shape[0]
    q, k, v = ((x @ weights[name].T).view(length, heads, -1) for name in ("query", "key", "value"))
    ys = []
    for t in range(length):
        first = t // block * block
        scores = torch.stack([(q[t] * k[s]).sum(-1) for s in range(first, t + 1)]) / q.shape[-1] ** 0.5  # [t−first+1,H]
        share = {"softmax": torch.softmax(scores, 0), "relu": scores.clamp(min=0)}[score]
        ys.append((share[:, :, None] * v[first : t + 1]).sum(0))
    y = torch.stack(ys).flatten(1)
    if score == "relu":
        y = y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights["norm"]
    return y @ weights["output"].T
