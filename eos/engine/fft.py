"""FFT algorithm: long convolutions, and time-invariant recurrences through their impulse response.

    y_t = Σ_j response_j ∘ i_{t−j},    response_j = Σ_k s_k ∘ o_k^j R(j·phase) e_k

The response of a recurrence and the memory it ends with are made a window of lags at a time, each recomputed in the
backward pass, so no [T,H,K,V] tensor is held. With an erase Ψ is no diagonal: lags j = g·n + r are then taken apart,
response_j = (Ψ^{gn}ᵀ s)ᵀ (Ψ^r e), so that O(√T) vectors and log T squares of a K × K matrix make all of them.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from eos.engine.sequential import log_decay, phase, turn_memory
from eos.engine.state import output_dtype, state_dtype
from eos.record import LOG_FLOOR, Convolution, Memory, Recurrence

#: Lags made at once.
LAGS = 64


def convolve(record: Convolution) -> Tensor:
    """y [B,T,H,V] of a convolution, by FFT in float32 or wider.

    Time is the last axis while it is transformed: strided transforms take up to twice as long, more so the longer.
    """
    dtype = torch.promote_types(torch.promote_types(record.input.dtype, record.response.dtype), torch.float32)
    i, response = record.input.to(dtype).movedim(1, -1).contiguous(), record.response.to(dtype).contiguous()
    length, lags = i.shape[-1], response.shape[-1]
    size = 1 << (length + lags - 2).bit_length()
    spectrum = torch.fft.rfft(i, size) * torch.fft.rfft(response, size)
    first = 0 if record.causal else length - 1
    y: Tensor = torch.fft.irfft(spectrum, size)[..., first : first + length]
    return y.movedim(-1, 1).to(record.input.dtype)


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
    powers, length = _Powers(record), i.shape[1]
    responses: list[list[Tensor]] = [[] for _ in reads]
    memory = i.new_zeros(i.shape[0], i.shape[2], record.sizes["K"], i.shape[3])
    for start in range(0, length, LAGS):
        stop = min(start + LAGS, length)
        for s, response in zip(reads, responses, strict=True):
            response.append(checkpoint(_contract, powers, start, stop, s, use_reentrant=False))
        window = i[:, length - stop : length - start].flip(1)
        memory = memory + checkpoint(_write, powers, start, stop, window, use_reentrant=False)
    return [torch.cat(response) for response in responses], memory


def _dense(record: Recurrence, i: Tensor, reads: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The same where Ψ also erases, with powers in float64: squares of a matrix that is not normal lose digits."""
    batch, length, heads, value = i.shape
    key = record.sizes["K"]
    e = _Powers(record).e.double()  # [H,K,V|1]
    inner = 1 << (length.bit_length() + 1) // 2
    outer = -(-length // inner)
    near, far = _krylov(_operator(record), e, inner)  # Ψ^r e [n,H,K,V|1] and Ψ^n
    responses = []
    for s in reads:
        jumps, _ = _krylov(far.mT, s.double().expand(heads, key, -1), outer)
        both = torch.einsum(
            "ghkv,rhkv->grhv", *(x.expand(-1, -1, -1, max(s.shape[-1], e.shape[-1])) for x in (jumps, near))
        )
        responses.append(both.flatten(0, 1)[:length].to(i.dtype))
    late = F.pad(i.flip(1).double(), (0, 0, 0, 0, 0, outer * inner - length)).unflatten(1, (outer, inner))
    written = torch.einsum("rhkv,bgrhv->gbhkv", near.expand(-1, -1, -1, value), late)
    memory = written.new_zeros(batch, heads, key, value)
    for piece in written.flip(0):
        memory = far @ memory + piece
    return responses, memory.to(i.dtype)


def _operator(record: Recurrence) -> Tensor:
    """Ψ [H,K,K] in float64, what one step does to the memory."""
    transition, heads, key = record.transition, record.sizes["H"], record.sizes["K"]
    psi = torch.eye(key, dtype=torch.float64, device=record.expand.device).expand(1, heads, key, key)
    angle, decay = phase(transition, torch.float64), log_decay(transition, key, torch.float64)
    if angle is not None:
        psi = turn_memory(psi, angle[:, 0])
    if decay is not None:
        decay = decay[:, 0].clamp(min=LOG_FLOOR).exp()
        psi = psi * (torch.cat([decay, decay], 2) if 2 * decay.shape[2] == key else decay)
    assert transition.erase is not None
    a, b = (x[:, 0].double().expand(1, heads, key) for x in transition.erase)
    return (psi + a[..., :, None] * b[..., None, :])[0]


def _krylov(psi: Tensor, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Ψ^j x for 0 ≤ j < count as [count,H,K,V], and Ψ to the least power of two that is not below count."""
    found = x[None]
    while found.shape[0] < count:
        found = torch.cat([found, psi @ found])
        psi = psi @ psi
    return found[:count], psi


class _Powers:
    """o^j R(j·phase) e, the memory j steps after a unit input."""

    def __init__(self, record: Recurrence) -> None:
        dtype, transition, key = state_dtype(record), record.transition, record.sizes["K"]
        decay, angle = log_decay(transition, key, dtype), phase(transition, dtype)
        e = _full(record.expand[0, 0].to(dtype), record.sizes["H"])
        self.e = e if transition.gate is None else e * transition.gate[0, 0].to(dtype)
        self.e = self.e.expand(record.sizes["H"], key, -1)
        self.decay: Tensor | None = None
        if decay is not None:
            decay = decay[0, 0].clamp(min=LOG_FLOOR)
            self.decay = torch.cat([decay, decay], 1) if 2 * decay.shape[1] == key else decay
        self.angle = None if angle is None else (angle if angle.dim() == 5 else angle[..., None])[0, 0]

    def __call__(self, start: int, stop: int) -> Tensor:
        """[stop − start, H, K, V|1]."""
        lags = torch.arange(start, stop, device=self.e.device).view(-1, 1, 1, 1)
        out = self.e[None].expand(stop - start, -1, -1, -1)
        if self.angle is not None:
            turns = torch.remainder(lags.double() * self.angle.double(), 2 * torch.pi)
            out = turn_memory(out, turns.to(self.e.dtype))
        if self.decay is not None:
            out = out * (lags * self.decay).clamp(min=LOG_FLOOR).exp()
        return out


def _contract(powers: _Powers, start: int, stop: int, s: Tensor) -> Tensor:
    return (powers(start, stop) * s).sum(2)


def _write(powers: _Powers, start: int, stop: int, window: Tensor) -> Tensor:
    return torch.einsum("jhkv,bjhv->bhkv", powers(start, stop).expand(-1, -1, -1, window.shape[-1]), window)


def _full(x: Tensor, heads: int) -> Tensor:
    """[G,K] or [G,K,V] → [H|1,K,V|1]."""
    x = x if x.shape[0] in (1, heads) else x.repeat_interleave(heads // x.shape[0], 0)
    return x if x.dim() == 3 else x[..., None]
