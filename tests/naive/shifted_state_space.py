"""H3 as recurrences in complex numbers (arXiv:2212.14052), from its definition and torch alone."""

import torch
from torch import Tensor


def shifted_state_space(x: Tensor, weights: dict[str, Tensor], *, heads: int) -> Tensor:
    """y_t = (Σ_n 2 Re(C_n h_tn))ᵀ q_t, h_tn = e^{ΔΛ_n} h_{t−1,n} + (e^{ΔΛ_n} − 1) Λ_n⁻¹ shift(k)_t v_tᵀ, for x [T,D].

    key_taps [size,D]; log_rate, turn [H,N], c [H,2N] (real parts, then imaginary ones), log_step [H].
    """
    length = x.shape[0]
    q, k, v = (x @ weights[name].T for name in ("query", "key", "value"))
    taps = weights["key_taps"]
    shifted = torch.zeros_like(k)
    for t in range(length):
        for j in range(min(t + 1, taps.shape[0])):
            shifted[t] = shifted[t] + taps[j] * k[t - j]
    q, k, v = (z.view(length, heads, -1) for z in (q, shifted, v))
    rate = torch.complex(-torch.exp(weights["log_rate"]), weights["turn"])  # [H,N]
    modes = rate.shape[1]
    c = torch.complex(weights["c"][:, :modes], weights["c"][:, modes:])[:, None, None]
    kept = torch.exp(torch.exp(weights["log_step"])[:, None] * rate)
    written = ((kept - 1) / rate)[:, None, None]
    kept = kept[:, None, None]
    h = torch.zeros(heads, k.shape[2], v.shape[2], modes, dtype=rate.dtype)
    ys = []
    for t in range(length):
        product = k[t][:, :, None] * v[t][:, None]
        h = kept * h + written * product[..., None]
        s = 2 * (c * h).real.sum(-1)
        ys.append((s * q[t][:, :, None]).sum(1))
    return torch.stack(ys).flatten(1) @ weights["output"].T
