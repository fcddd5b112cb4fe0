"""mLSTM in its parallel form (arXiv:2405.04517, section 2.3), from torch alone."""

import torch
from torch import Tensor


def matrix_lstm(x: Tensor, weights: dict[str, Tensor], *, heads: int) -> Tensor:
    """y_t = Σ_{s ≤ t} w_ts v_s / max(|Σ_s w_ts|, exp(−m_t)), w_ts = q_tᵀ k_s / √K · exp(d_ts − m_t), for x [T,D].

    d_ts is the log of all forget gates after s plus the input gate's logit at s, m_t its largest over s.
    """
    length = x.shape[0]
    q, k, v = ((x @ weights[name].T).view(length, heads, -1) for name in ("query", "key", "value"))
    forget = torch.log(torch.sigmoid(x @ weights["forget"].T + weights["forget_bias"]))
    logit = x @ weights["write"].T + weights["write_bias"]
    rows = []
    for t in range(length):
        d = torch.stack([forget[s + 1 : t + 1].sum(0) + logit[s] for s in range(t + 1)])  # [t+1,H]
        m = d.max(0).values
        w = torch.einsum("hk,shk->sh", q[t], k[: t + 1]) / k.shape[2] ** 0.5 * torch.exp(d - m)
        rows.append(torch.einsum("sh,shv->hv", w, v[: t + 1]) / torch.maximum(w.sum(0).abs(), torch.exp(-m))[:, None])
    y = torch.stack(rows)
    y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    y = (y * weights["norm"] + weights["norm_bias"]).flatten(1)
    return (y * torch.sigmoid(x @ weights["gate"].T)) @ weights["output"].T
