"""FFT algorithm: long convolutions, and time-invariant recurrences through their impulse response.

    y_t = Σ_j response_j ∘ i_{t−j},    response_j = Σ_k s_k ∘ o_k^j R(j·phase) e_k

With Ψ what a step does to the memory, lags j = g·n + r are taken apart, response_j = (Ψ^{gn}ᵀ s)ᵀ (Ψ^r e), so that
O(√T) powers make all of them by matrix products, and no [T,H,K,V] tensor is held. The last memory comes the same way.
With an erase Ψ is no diagonal: log T squares of a K × K matrix make its powers.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from eos.engine.chunks import TINY
from eos.engine.sequential import log_decay, phase
from eos.engine.state import output_dtype, state_dtype
from eos.record import LOG_FLOOR, Convolution, Memory, Recurrence
from eos.rotation import rotate


def convolve(record: Convolution) -> Tensor:
    """y [B,T,H,V] of a convolution, by FFT in float32 or wider.

    Time is the last axis while it is transformed: strided transforms take up to twice as long, more so the longer.
    """
    dtype = torch.promote_types(torch.promote_types(record.input.dtype, record.response.dtype), torch.float32)
    i, response = _exchanged(record.input.to(dtype).flatten(2)), record.response.to(dtype).contiguous()
    i = i.unflatten(1, record.input.shape[2:])
    length, lags = i.shape[-1], response.shape[-1]
    size = 1 << (length + lags - 2).bit_length()
    spectrum = torch.fft.rfft(i, size) * torch.fft.rfft(response, size)
    first = 0 if record.causal else length - 1
    y: Tensor = torch.fft.irfft(spectrum, size)[..., first : first + length].flatten(1, 2)
    y = _exchanged(y).unflatten(2, record.input.shape[2:])
    return y.to(record.input.dtype)


class _Exchange(torch.autograd.Function):
    """[B, X, Y] → [B, Y, X], contiguous: a view would leave what comes after it strides of a power of two, which share
    few lines of a cache, and torch copies a matrix to its transpose block by block only where it is one of two axes.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _copied(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _exchanged(gradient)


def _exchanged(x: Tensor) -> Tensor:
    out: Tensor = _Exchange.apply(x)  # type: ignore[no-untyped-call]
    return out


def _copied(x: Tensor) -> Tensor:
    if x.is_cuda:
        return x.mT.contiguous()
    out = x.new_empty(x.shape[0], x.shape[2], x.shape[1])
    for place, matrix in zip(out, x.contiguous(), strict=True):
        place.copy_(matrix.T)
    return out


def run_invariant(record: Recurrence) -> tuple[tuple[Tensor, ...], Memory]:
    """The reads and the last memory of a recurrence whose e, s and transition do not depend on batch or time."""
    dtype, sizes = state_dtype(record), record.sizes
    length, heads = sizes["T"], sizes["H"]
    i = record.expand.new_ones(1, 1, 1, 1) if record.input is None else record.input
    i = i.to(dtype).expand(sizes["B"], length, heads, sizes["V"])
    reads = [_full(s[0, 0].to(dtype), heads) for s in record.reads]
    make = _diagonal if record.transition.erase is None else _dense
    responses, memory = make(record, i, reads)
    outputs = []
    for h in responses:  # [T,H,V]
        if record.read == "before":
            h = torch.cat([torch.zeros_like(h[:1]), h[:-1]])
        outputs.append(convolve(Convolution(input=i, response=h.permute(1, 2, 0))).to(output_dtype(record)))
    return tuple(outputs), Memory(value=memory)


def _diagonal(record: Recurrence, i: Tensor, reads: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The response of every read [T,H,V|1] and the last memory [B,H,K,V], where Ψ decays and turns."""
    psi, cut = _Diagonal(record, i.dtype), _Cut.of(i.shape[1])
    near = psi(psi.e[None], range(cut.inner))
    jumps = [psi(s[None], cut.far, transposed=True) for s in reads]
    memory = psi(cut.written(near, i), cut.far).sum(0)
    return [cut.response(far, near) for far in jumps], memory


def _dense(record: Recurrence, i: Tensor, reads: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The same where Ψ also erases, with powers in float64: squares of a matrix that is not normal lose digits."""
    key, cut = record.sizes["K"], _Cut.of(i.shape[1])
    psi = _Diagonal(record, torch.float64)
    near, far = _krylov(psi.erasing(record), psi.e, cut.inner)  # Ψ^r e [n,H,K,V|1] and Ψ^n
    responses = []
    for s in reads:
        jumps, _ = _krylov(far.mT, s.double().expand(i.shape[2], key, -1), cut.outer)
        responses.append(cut.response(jumps, near).to(i.dtype))
    written = cut.written(near, i.double()).movedim(1, -1)  # [g,H,K,V,B]
    memory = torch.zeros_like(written[0]).flatten(-2)
    for piece in written.flatten(-2).flip(0):
        memory = torch.baddbmm(piece, far, memory)
    return responses, memory.unflatten(-1, (i.shape[3], -1)).movedim(-1, 0).to(i.dtype)


@dataclass(frozen=True, kw_only=True)
class _Cut:
    """Lags j = g·n + r: ``inner`` is n, a power of two near √T, and ``outer`` how many g there are."""

    length: int
    inner: int
    outer: int

    @classmethod
    def of(cls, length: int) -> "_Cut":
        inner = 1 << (length.bit_length() + 1) // 2
        return cls(length=length, inner=inner, outer=-(-length // inner))

    @property
    def far(self) -> range:
        """The lags g·n."""
        return range(0, self.outer * self.inner, self.inner)

    def response(self, jumps: Tensor, near: Tensor) -> Tensor:
        """(Ψ^{gn}ᵀ s)ᵀ (Ψ^r e) at every lag [T,H,V|1], of [g,H,K,V|1] and [n,H,K,V|1]."""
        value = max(jumps.shape[-1], near.shape[-1])
        far, here = (x.expand(-1, -1, -1, value) for x in (jumps, near))
        return torch.einsum("ghkv,rhkv->grhv", far, here).flatten(0, 1)[: self.length]

    def written(self, near: Tensor, i: Tensor) -> Tensor:
        """Σ_r (Ψ^r e) i_{T−1−gn−r} [g,B,H,K,V]: the last memory but for the factors Ψ^{gn}."""
        late = F.pad(i.flip(1), (0, 0, 0, 0, 0, self.outer * self.inner - self.length))
        late = late.unflatten(1, (self.outer, self.inner))
        return torch.einsum("rhkv,bgrhv->gbhkv", near.expand(-1, -1, -1, i.shape[-1]), late)


def _krylov(psi: Tensor, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Ψ^j x for 0 ≤ j < count as [count,H,K,V], and Ψ to the least power of two that is not below count."""
    found = x  # the columns of all j side by side, which one product takes on
    while found.shape[-1] < count * x.shape[-1]:
        found = torch.cat([found, psi @ found], -1)
        psi = psi @ psi
    return found.unflatten(-1, (-1, x.shape[-1])).movedim(-2, 0)[:count], psi


class _Diagonal:
    """e [H,K,V|1], and what a step does to the memory but for an erase: decays [H,K,V|1] and turns [H,K/2,V|1]."""

    def __init__(self, record: Recurrence, dtype: torch.dtype) -> None:
        transition, heads, key = record.transition, record.sizes["H"], record.sizes["K"]
        e = _full(record.expand[0, 0].to(dtype), heads)
        e = e if transition.gate is None else e * transition.gate[0, 0].to(dtype)
        self.e = e.expand(heads, key, -1)
        decay, angle = log_decay(transition, key, dtype), phase(transition, dtype)
        self.decay: Tensor | None = None
        if decay is not None:
            decay = decay[0, 0].clamp(min=LOG_FLOOR)
            self.decay = torch.cat([decay, decay], 1) if 2 * decay.shape[1] == key else decay
        self.angle = None if angle is None else (angle if angle.dim() == 5 else angle[..., None])[0, 0]

    def __call__(self, x: Tensor, lags: range, *, transposed: bool = False) -> Tensor:
        """Ψ^j x for every lag j [J,…,H,K,V], of x [J|1,…,H,K,V|1]."""
        steps = torch.tensor(lags, device=x.device).view(-1, *[1] * (x.dim() - 1))
        x = x.expand(len(lags), *x.shape[1:])
        if self.angle is not None:
            turns = torch.remainder(steps.double() * self.angle.double(), 2 * torch.pi).to(x.dtype)
            x = rotate(x, -turns if transposed else turns, -2)
        if self.decay is not None:
            # what is tiny is zero: numbers below the normal ones would make products slow
            x = x * F.threshold((steps * self.decay).clamp(min=LOG_FLOOR).exp(), TINY[x.dtype], 0.0)
        return x

    def erasing(self, record: Recurrence) -> Tensor:
        """Ψ [H,K,K], with the erase."""
        heads, key = self.e.shape[:2]
        psi = self(torch.eye(key, dtype=self.e.dtype, device=self.e.device).expand(1, heads, key, key), range(1, 2))
        assert record.transition.erase is not None
        a, b = (x[:, 0].to(psi.dtype).expand(1, heads, key) for x in record.transition.erase)
        return (psi + a[..., :, None] * b[..., None, :])[0]


def _full(x: Tensor, heads: int) -> Tensor:
    """[G,K] or [G,K,V] → [H|1,K,V|1]."""
    x = x if x.shape[0] in (1, heads) else x.repeat_interleave(heads // x.shape[0], 0)
    return x if x.dim() == 3 else x[..., None]
