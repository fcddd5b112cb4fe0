"""FFT algorithm: long convolutions, and time-invariant recurrences through their impulse response.

    y_t = Σ_j response_j ∘ i_{t−j},    response_j = Σ_k s_k ∘ o_k^j R(j·phase) e_k

The response of a recurrence and the memory it ends with are made a window of lags at a time, each recomputed in the
backward pass, so no [T,H,K,V] tensor is held.
"""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from eos.engine.sequential import log_decay, phase, turn_memory
from eos.engine.state import output_dtype, state_dtype
from eos.record import LOG_FLOOR, Convolution, Memory, Recurrence

#: Lags made at once.
LAGS = 64


def convolve(record: Convolution) -> Tensor:
    """y [B,T,H,V] of a convolution, by FFT in float32 or wider."""
    dtype = torch.promote_types(torch.promote_types(record.input.dtype, record.response.dtype), torch.float32)
    i, response = record.input.to(dtype), record.response.to(dtype).permute(2, 0, 1)
    length, lags = i.shape[1], response.shape[0]
    size = 1 << (length + lags - 2).bit_length()
    spectrum = torch.fft.rfft(i, size, dim=1) * torch.fft.rfft(response, size, dim=0)
    first = 0 if record.causal else length - 1
    y: Tensor = torch.fft.irfft(spectrum, size, dim=1)[:, first : first + length]
    return y.to(record.input.dtype)


def run_invariant(record: Recurrence) -> tuple[tuple[Tensor, ...], Memory]:
    """The reads and the last memory of a recurrence whose e, s and transition do not depend on batch or time."""
    dtype, sizes = state_dtype(record), record.sizes
    length, heads = sizes["T"], sizes["H"]
    powers = _Powers(record)
    i = record.expand.new_ones(1, 1, 1, 1) if record.input is None else record.input
    i = i.to(dtype).expand(sizes["B"], length, heads, sizes["V"])
    reads = [_full(s[0, 0].to(dtype), heads) for s in record.reads]
    responses: list[list[Tensor]] = [[] for _ in reads]
    memory = i.new_zeros(sizes["B"], heads, sizes["K"], sizes["V"])
    for start in range(0, length, LAGS):
        stop = min(start + LAGS, length)
        for s, response in zip(reads, responses, strict=True):
            response.append(checkpoint(_contract, powers, start, stop, s, use_reentrant=False))
        window = i[:, length - stop : length - start].flip(1)
        memory = memory + checkpoint(_write, powers, start, stop, window, use_reentrant=False)
    outputs = []
    for response in responses:
        h = torch.cat(response)  # [T,H,V]
        if record.read == "before":
            h = torch.cat([torch.zeros_like(h[:1]), h[:-1]])
        outputs.append(convolve(Convolution(input=i, response=h.permute(1, 2, 0))).to(output_dtype(record)))
    return tuple(outputs), Memory(value=memory)


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
