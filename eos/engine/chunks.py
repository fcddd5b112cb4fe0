"""Cutting a window into chunks, and the products of decays over intervals inside a chunk, made by doubling.

In a block of 2h steps, split in two halves of h, row r of the right half meets column j of the left half through

    o_{j+1} … o_r = (product from j+1 to the end of the left half) · (product from the right half's start to r)
                  = left_j · right_r

Every factor is a product over an interval, so it is ≤ 1: nothing overflows, cancels or divides, a decay of zero is as
good as any, a reset is one, and rounding grows with log₂ C.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from eos.engine.lower import Lowered

#: A product of decays below this counts as zero: far below rounding, far above the subnormal numbers, with which a
#: matrix product takes a hundred times longer on a CPU.
NEGLIGIBLE = {torch.float32: 1e-18, torch.float64: 1e-140}
#: The log-decay of a reset: zero in every dtype, and finite.
FORGET = -1000.0
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

    def split_decay(self, log_decay: Tensor, *, whole: bool) -> Tensor:
        """A log-decay [1|B,1|S,1|H,X] in chunks [1|B,1|H,1|N,C,X]; shared over time where it is, unless ``whole``."""
        if log_decay.shape[1] == 1 and not whole and self.count * self.size == self.steps:
            return log_decay.permute(0, 2, 1, 3)[:, :, None].expand(-1, -1, -1, self.size, -1).contiguous()
        return self.split(log_decay.expand(-1, self.steps, -1, -1))

    def split_reset(self, reset: Tensor) -> Tensor:
        """[B,S] → [B,1,N,C,1]."""
        return self.split(reset[:, :, None, None])

    def same_document(self, reset: Tensor) -> Tensor:
        """[B,1,N,C,C]: whether two steps of a chunk lie in one document."""
        document = self.split_reset(reset).cumsum(-2)
        return document == document.mT


class Intervals:
    """Products of decays over intervals, in blocks of one step that double.

    Arguments:
        log_decay: in nats [..., C, X].
        forget: bool, broadcast to it: where the decay is zero; or None.
        before: whether a row reads before its own step, so that its interval ends one step earlier.

    ``right`` [..., C, X] holds, for every row, the product from its block's start; ``left``, for every column, the
    product from the step after it to its block's end; ``total`` [..., C/block, X] the product over every block.
    """

    def __init__(self, log_decay: Tensor, forget: Tensor | None, *, before: bool) -> None:
        self.floor = NEGLIGIBLE[log_decay.dtype]
        o = exp_decay(log_decay, self.floor)
        o = o if forget is None else torch.where(forget, 0.0, o)
        self.right = torch.ones_like(o) if before else o.clone()
        self.left = torch.ones_like(o)
        self.total = o

    def halves(self, h: int) -> tuple[Tensor, Tensor]:
        """``right`` of the right halves and ``left`` of the left halves of all blocks of 2h, [..., C/2h, h, X] each."""
        return right_half(self.right, h), left_half(self.left, h)

    def double(self, h: int) -> None:
        """From blocks of h to blocks of 2h."""
        total = self.total.view(*self.total.shape[:-2], -1, 2, self.total.shape[-1])
        first, second = total[..., :1, :], total[..., 1:, :]
        right, left = self.halves(h)
        torch.threshold_(right.mul_(first), self.floor, 0.0)
        torch.threshold_(left.mul_(second), self.floor, 0.0)
        self.total = torch.threshold_((first * second).squeeze(-2), self.floor, 0.0)


def levels(size: int) -> list[int]:
    """The half-sizes h = 1, 2, 4, …, C/2."""
    return [1 << level for level in range(size.bit_length() - 1)]


def in_blocks(x: Tensor, size: int) -> Tensor:
    """[..., C, X] → [..., C/size, size, X]."""
    return x.view(*x.shape[:-2], -1, size, x.shape[-1])


def right_half(x: Tensor, h: int) -> Tensor:
    """A view of the right halves of all blocks of 2h: [..., C, X] → [..., C/2h, h, X]."""
    return x.view(*x.shape[:-2], -1, 2, h, x.shape[-1]).select(-3, 1)


def left_half(x: Tensor, h: int) -> Tensor:
    """A view of the left halves of all blocks of 2h."""
    return x.view(*x.shape[:-2], -1, 2, h, x.shape[-1]).select(-3, 0)


class HeadIntervals:
    """Products of one decay a head over all intervals of a chunk at once: sums of logs in float64, which lose no digit.

    ``right``, ``left`` [..., C, 1] and ``total`` [..., 1, 1] are those of :class:`Intervals` at the whole chunk, and
    ``matrix`` [..., C, C] is D_rj = o_{j+1} … o_r (o_{r-1} if before), zero above the diagonal, and on it if before.
    """

    def __init__(self, log_decay: Tensor, forget: Tensor | None, *, before: bool) -> None:
        dtype, floor = log_decay.dtype, NEGLIGIBLE[log_decay.dtype]
        logs = log_decay.double()
        logs = logs if forget is None else logs.masked_fill(forget, FORGET)
        ends = logs.cumsum(-2)
        starts = ends - logs if before else ends
        self.right = exp_decay(starts.to(dtype), floor)
        self.left = exp_decay((ends[..., -1:, :] - ends).to(dtype), floor)
        self.total = exp_decay(ends[..., -1:, :].to(dtype), floor)
        between = log_decay.new_empty(*ends.shape[:-1], ends.shape[-2])
        torch.sub(starts, ends.mT, out=between)
        self.matrix = exp_decay(between, floor).tril_(-1 if before else 0)


def blocks(matrix: Tensor, h: int) -> Tensor:
    """A view of where right halves meet left halves in all diagonal blocks of 2h: [..., C, C] → [..., C/2h, h, h]."""
    count = matrix.shape[-1] // (2 * h)
    split = matrix.view(*matrix.shape[:-2], count, 2, h, count, 2, h)
    return split.select(-5, 1).select(-2, 0).diagonal(dim1=-4, dim2=-2).movedim(-1, -3)


def decay_gradient(chunks: Chunks, x: Lowered, log_decay: Tensor, read: Tensor, write: Tensor, end: Tensor) -> Tensor:
    """d log o_t = Σ_{r ≥ t, same document, same chunk} (read_r − write_r) + end, in the shape of ``log_decay``.

    Arguments:
        read: what leaves the memory after step r (s ∘ ds summed over reads) [B,H,N,C,X].
        write: what enters it at step r (e ∘ de) [B,H,N,C,X].
        end: m ∘ dm at the end of every chunk [B,H,N,X].
    """
    if log_decay.shape[-1] == 1:
        read, write, end = (tensor.sum(-1, keepdim=True) for tensor in (read, write, end))
    later = triangle(chunks.size, 0, read.dtype, read.device).mT
    if x.reset is None:
        gradient = later @ (read - write) + end[..., None, :]
    else:
        same = chunks.same_document(x.reset).to(read.dtype)
        gradient = (later * same) @ (read - write) + same[..., -1:] * end[..., None, :]
        gradient = torch.where(chunks.split_reset(x.reset), 0.0, gradient)
    return chunks.join(gradient).sum_to_size(log_decay.shape)


def carried(memory: Tensor, carry: Tensor, writes: Tensor) -> Tensor:
    """m_{n+1} = carry_n ∘ m_n + writes_n from m_0 = memory: all of them, [B,H,N+1,K,V].

    Arguments:
        carry: [b,h,n,K|1,V|1] with n = N, or 1 where all chunks share it.
        writes: [B,H,N,K,V].
    """
    batch, heads, count, *state = writes.shape
    out = writes.new_empty(count + 1, batch, heads, *state)
    out[0] = memory
    steps = carry.expand(-1, -1, count, -1, -1).unbind(2)
    for before, after, decay, write in zip(out[:-1].unbind(), out[1:].unbind(), steps, writes.unbind(2), strict=True):
        torch.addcmul(write, before, decay, out=after)
    return functional.hardshrink(out, TINY[out.dtype]).permute(1, 2, 0, 3, 4)


def one_step_earlier(x: Tensor) -> Tensor:
    """[..., C, X] moved to the step before, zero on the last."""
    return functional.pad(x[..., 1:, :], (0, 0, 0, 1))


@lru_cache(maxsize=64)
def triangle(size: int, diagonal: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Ones on and below a diagonal [size, size]."""
    return torch.ones(size, size, dtype=dtype, device=device).tril(diagonal)


@lru_cache(maxsize=64)
def block_diagonal(size: int, block: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Ones in the diagonal blocks [size, size]."""
    index = torch.arange(size, device=device) // block
    return (index[:, None] == index).to(dtype)


def exp_decay(log_decay: Tensor, floor: float) -> Tensor:
    """exp of what is ≤ 0, without its slow path for very negative arguments; below ``floor`` it is zero."""
    lowest = math.log(floor)
    return torch.threshold_(log_decay.clamp(min=lowest - 1.0, max=0.0).exp_(), floor, 0.0)
