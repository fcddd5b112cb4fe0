"""The discrete Fourier transform of e and s over K, in which a cyclic shift of their entries is a turn.

Equation: e_t ← [Re F e_t, Im F e_t] / √K, s_t likewise, F_jn = exp(2πi jn / K); K becomes 2K
Source: arXiv:2307.09270, section 3.3 (permutation), with oscillation = rotation, form = cosine, frequencies = fourier
"""

import torch
from torch import Tensor

from eos.stage import AbstractCouple, CompositionError, widen


class FourierCouple(AbstractCouple):
    """With the angles 2πj/K, what was written n steps ago is read as if its entries had moved on by n places."""

    def forward(self, i: Tensor, e: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return i, _transformed(e), _transformed(s)


def _transformed(x: Tensor) -> Tensor:
    if x.dim() == 5:
        raise CompositionError("couple=fourier needs states without a V axis")
    # No transform of bfloat16 exists; conj, for torch's own has exp(−2πi jn / K).
    z = torch.fft.fft(widen(x), dim=3, norm="ortho").conj()
    return torch.cat([z.real, z.imag], 3).to(x.dtype)
