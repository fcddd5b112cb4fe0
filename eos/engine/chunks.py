"""Cutting a window into chunks, and the products of decays over intervals inside a chunk, made by doubling.

In a block of 2h steps, split in two halves of h, row r of the right half meets column j of the left half through

    o_{j+1} … o_r = (product from j+1 to the end of the left half) · (product from the right half's start to r)
                  = left_j · right_r

Every factor is a product over an interval, so it is ≤ 1: nothing overflows, cancels or divides, a decay of zero is as
good as any, a reset is one, and rounding grows with log₂ C.
"""

from dataclasses import dataclass

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
        missing = self.count * self.size - self.steps
        if missing:
            x = functional.pad(x, (0, 0, 0, 0, 0, missing))
        return x.unflatten(1, (self.count, self.size)).permute(0, 3, 1, 2, 4).contiguous()

    def join(self, x: Tensor) -> Tensor:
        """[B,H,N,C,X] → [B,S,H,X]."""
        return x.permute(0, 2, 3, 1, 4).flatten(1, 2)[:, : self.steps]

    def decay(self, log_decay: Tensor, reset: Tensor | None) -> Tensor:
        """o = exp(log_decay) [1|B,1|H,1|N,C,X], zero at resets and where negligible; shared over time where it is."""
        floor = NEGLIGIBLE[log_decay.dtype]
        whole = self.count * self.size == self.steps
        if reset is None and log_decay.shape[1] == 1 and whole:
            o = exp_decay(log_decay, floor).permute(0, 2, 1, 3)[:, :, None]
            return o.expand(-1, -1, -1, self.size, -1).contiguous()
        log_decay = log_decay.expand(-1, self.steps, -1, -1)
        o = exp_decay(self.split(log_decay), floor)
        return o if reset is None else torch.where(self.split_reset(reset), 0.0, o)

    def split_reset(self, reset: Tensor) -> Tensor:
        """[B,S] → [B,1,N,C,1]."""
        return self.split(reset[:, :, None, None])

    def same_document(self, reset: Tensor) -> Tensor:
        """[B,1,N,C,C]: whether two steps of a chunk lie in one document."""
        document = self.split_reset(reset).cumsum(-2)
        return document == document.mT


class Intervals:
    """Products of decays over intervals, for blocks of h = 1, 2, 4, … steps.

    Arguments:
        o: decays [..., C, X].
        before: whether a row reads before its own step, so that its interval ends one step earlier.

    ``right`` holds, for every row, the product from its block's start; ``left``, for every column, the product from
    the step after it to its block's end; ``total`` the product over every block [..., C/h, X].
    """

    def __init__(self, o: Tensor, *, before: bool) -> None:
        self.right = torch.ones_like(o) if before else o.clone()
        self.left = torch.ones_like(o)
        self.total = o
        self.floor = NEGLIGIBLE[o.dtype]

    def halves(self, h: int) -> tuple[Tensor, Tensor]:
        """``right`` of the right halves and ``left`` of the left halves of all blocks of 2h, [..., C/2h, h, X] each."""
        return right_half(self.right, h), left_half(self.left, h)

    def double(self, h: int) -> None:
        """From blocks of h to blocks of 2h."""
        total = self.total.unflatten(-2, (-1, 2))
        first, second = total[..., :1, :], total[..., 1:, :]
        for half, other in zip(self.halves(h), (first, second), strict=True):
            torch.threshold_(half.mul_(other), self.floor, 0.0)
        self.total = torch.threshold_((first * second).squeeze(-2), self.floor, 0.0)


def levels(size: int) -> list[int]:
    """The half-sizes h = 1, 2, 4, …, C/2."""
    return [1 << level for level in range(size.bit_length() - 1)]


def right_half(x: Tensor, h: int) -> Tensor:
    """A view of the right halves of all blocks of 2h: [..., C, X] → [..., C/2h, h, X]."""
    return x.unflatten(-2, (-1, 2, h))[..., 1, :, :]


def left_half(x: Tensor, h: int) -> Tensor:
    """A view of the left halves of all blocks of 2h."""
    return x.unflatten(-2, (-1, 2, h))[..., 0, :, :]


def decay_matrix(o: Tensor, *, before: bool) -> tuple[Tensor, Intervals]:
    """The C × C matrix of products over intervals, for one decay a head: D_rj = o_{j+1} … o_r (o_{r-1} if before).

    Arguments:
        o: decays [..., C, 1].

    Returns:
        D [..., C, C], zero above the diagonal (and on it if before); the intervals of the whole chunk.
    """
    size = o.shape[-2]
    matrix = o.new_zeros(*o.shape[:-1], size)
    if not before:
        matrix.diagonal(dim1=-2, dim2=-1).fill_(1.0)
    intervals = Intervals(o, before=before)
    for h in levels(size):
        right, left = intervals.halves(h)
        blocks(matrix, h).copy_(right * left.mT)
        intervals.double(h)
    return matrix, intervals


def blocks(matrix: Tensor, h: int) -> Tensor:
    """A view of where right halves meet left halves in all diagonal blocks of 2h: [..., C, C] → [..., C/2h, h, h]."""
    split = matrix.unflatten(-1, (-1, 2, h)).unflatten(-4, (-1, 2, h))  # [..., block, 2, h, block, 2, h]
    return split[..., :, 1, :, :, 0, :].diagonal(dim1=-4, dim2=-2).movedim(-1, -3)


def decay_gradient(chunks: Chunks, x: Lowered, log_decay: Tensor, read: Tensor, write: Tensor, end: Tensor) -> Tensor:
    """d log o_t = Σ_{r ≥ t, same document, same chunk} (read_r − write_r) + end, in the shape of ``log_decay``.

    Arguments:
        read: what leaves the memory after step r (s ∘ ds summed over reads) [B,H,N,C,X].
        write: what enters it at step r (e ∘ de) [B,H,N,C,X].
        end: m ∘ dm at the end of every chunk [B,H,N,X].
    """
    if log_decay.shape[-1] == 1:
        read, write, end = (tensor.sum(-1, keepdim=True) for tensor in (read, write, end))
    later = torch.ones(chunks.size, chunks.size, dtype=read.dtype, device=read.device).triu()
    if x.reset is None:
        gradient = later @ (read - write) + end[..., None, :]
    else:
        same = chunks.same_document(x.reset).to(read.dtype)
        gradient = (later * same) @ (read - write) + same[..., -1:] * end[..., None, :]
        gradient = torch.where(chunks.split_reset(x.reset), 0.0, gradient)
    return chunks.join(gradient).sum_to_size(log_decay.shape)


def one_step_earlier(x: Tensor) -> Tensor:
    """[..., C, X] moved to the step before, zero on the last."""
    return functional.pad(x[..., 1:, :], (0, 0, 0, 1))


def dot(x: Tensor, y: Tensor) -> Tensor:
    """x yᵀ. A batched product with a transposed right operand is twice as slow on CPUs as one with its copy."""
    return x @ y.mT.contiguous()


def exp_decay(log_decay: Tensor, floor: float) -> Tensor:
    """exp without its slow path for very negative arguments; below ``floor`` it is zero."""
    lowest = torch.tensor(floor, dtype=torch.float64).log().item()
    return torch.threshold_(log_decay.clamp(min=lowest - 1.0).exp_(), floor, 0.0)
