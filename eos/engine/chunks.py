"""Cutting a window into chunks, carrying the memory from chunk to chunk, and what is too small to count."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from eos.engine.lower import Lowered

#: A product of decays below this counts as zero: far below rounding, far above the subnormal numbers, with which a
#: matrix product takes a hundred times longer on a CPU.
NEGLIGIBLE = {torch.float32: 1e-18, torch.float64: 1e-140}
#: Entries of a carried memory below this are zero, for the same reason.
TINY = {torch.float32: 1e-30, torch.float64: 1e-290}


@dataclass(frozen=True, kw_only=True)
class Chunks:
    """The shape of a window in chunks: [B,S,H,X] ↔ [B,H,N,C,X], the last chunk filled up with steps that do nothing."""

    batch: int
    steps: int
    heads: int
    count: int
    size: int

    @classmethod
    def of(cls, x: Lowered, size: int) -> "Chunks":
        batch, steps, heads, _ = x.input.shape
        size = min(size, 1 << (steps - 1).bit_length())
        return cls(batch=batch, steps=steps, heads=heads, count=-(-steps // size), size=size)

    def split(self, x: Tensor) -> Tensor:
        """[B,S,H,X] → [B,H,N,C,X], contiguous; size-1 axes of B and H stay."""
        return self.view(x).contiguous()

    def view(self, x: Tensor) -> Tensor:
        """[B,S,H,X] → [B,H,N,C,X], without a copy where the last chunk is whole."""
        missing = self.count * self.size - self.steps
        if missing:
            x = functional.pad(x, (0, 0, 0, 0, 0, missing))
        batch, _, heads, features = x.shape
        return x.reshape(batch, self.count, self.size, heads, features).permute(0, 3, 1, 2, 4)

    def join(self, x: Tensor) -> Tensor:
        """[B,H,N,C,X] → [B,S,H,X]."""
        return x.permute(0, 2, 3, 1, 4).flatten(1, 2)[:, : self.steps]

    def whole(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A tensor [B,S,H,X] to be written, and its view [B,H,N,C,X] in chunks, where ``x`` is such."""
        whole = x.new_empty(self.batch, self.count * self.size, self.heads, x.shape[-1])
        view = whole.view(self.batch, self.count, self.size, self.heads, -1).permute(0, 3, 1, 2, 4)
        return whole[:, : self.steps], view

    def split_decay(self, log_decay: Tensor, *, whole: bool) -> Tensor:
        """A log-decay [1|B,1|S,1|H,X] in chunks [1|B,1|H,1|N,C,X]; shared over time where it is, unless ``whole``."""
        if log_decay.shape[1] == 1 and not whole and self.count * self.size == self.steps:
            return log_decay.permute(0, 2, 1, 3)[:, :, None].expand(-1, -1, -1, self.size, -1).contiguous()
        return self.split(log_decay.expand(-1, self.steps, -1, -1))

    def split_reset(self, reset: Tensor) -> Tensor:
        """[B,S] → [B,1,N,C,1]."""
        return self.split(reset[:, :, None, None])


def carried(
    memory: Tensor, writes: Tensor, *, totals: Tensor | None, joins: Sequence[Tensor] | None, reverse: bool = False
) -> tuple[Tensor, Tensor]:
    """The memory that every chunk finds [B,H,N,K,V], and the one after the last [B,H,K,V].

        m_{n+1} = join_{n+1} ∘ (total_n ∘ m_n + writes_n)  from  m_0 = join_0 ∘ memory

    In reverse it is the adjoint: chunk n finds what comes from the chunks after it, through the same factors.

    Arguments:
        memory: [B,H,K,V].
        writes: [B,H,N,K,V].
        totals: [1|B,1|H,1|N,1|K,1|V]; None means 1.
        joins: N + 1 of [1|B,1|H,1|K,1|V]; None means 1.
    """
    count = writes.shape[2]
    out, after = torch.empty_like(writes), torch.empty_like(writes[:, :, 0])
    own: Sequence[Tensor] | None = None if totals is None else totals.expand(-1, -1, count, -1, -1).unbind(2)
    places, steps = out.unbind(2), writes.unbind(2)
    if reverse:
        places, steps = places[::-1], steps[::-1]
        joins, own = (None if factors is None else factors[::-1] for factors in (joins, own))
    places = (*places, after)
    places[0].copy_(memory if joins is None else memory * joins[0])
    for n, write in enumerate(steps):
        if own is None:
            torch.add(places[n], write, out=places[n + 1])
        else:
            torch.addcmul(write, places[n], own[n], out=places[n + 1])
        if joins is not None:
            places[n + 1].mul_(joins[n + 1])
    tiny = TINY[out.dtype]
    return functional.hardshrink(out, tiny), functional.hardshrink(after, tiny)


def decay_gradient(chunks: Chunks, x: Lowered, log_decay: Tensor, read: Tensor, write: Tensor, end: Tensor) -> Tensor:
    """d log o_t = Σ_{r ≥ t, same document, same chunk} (read_r − write_r) + end, in the shape of ``log_decay``.

    Arguments:
        read: what leaves the memory after step r (s ∘ ds summed over reads) [B,H,N,C,X].
        write: what enters it at step r (e ∘ de) [B,H,N,C,X].
        end: m ∘ dm at the end of every chunk [B,H,N,X].
    """
    if log_decay.shape[-1] == 1:
        read, write, end = (tensor.sum(-1, keepdim=True) for tensor in (read, write, end))
    later = triangle(chunks.size, read.dtype, read.device).mT
    if x.reset is None:
        gradient = later @ (read - write) + end[..., None, :]
    else:
        document = chunks.split_reset(x.reset).cumsum(-2)
        same = (document == document.mT).to(read.dtype)
        gradient = (later * same) @ (read - write) + same[..., -1:] * end[..., None, :]
        gradient = torch.where(chunks.split_reset(x.reset), 0.0, gradient)
    return chunks.join(gradient).sum_to_size(log_decay.shape)


def one_step_earlier(x: Tensor) -> Tensor:
    """[..., C, X] moved to the step before, zero on the last."""
    return functional.pad(x[..., 1:, :], (0, 0, 0, 1))


def in_blocks(x: Tensor, size: int) -> Tensor:
    """[..., C, X] → [..., C/size, size, X]."""
    return x.view(*x.shape[:-2], -1, size, x.shape[-1])


@lru_cache(maxsize=64)
def triangle(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Ones on and below the diagonal [size, size]."""
    return torch.ones(size, size, dtype=dtype, device=device).tril()


def exp_decay(log_decay: Tensor, floor: float) -> Tensor:
    """exp of what is ≤ 0, without its slow path for very negative arguments; below ``floor`` it is zero."""
    lowest = math.log(floor)
    return torch.threshold_(log_decay.clamp(min=lowest - 1.0, max=0.0).exp_(), floor, 0.0)
