"""Products of decays over the intervals of a chunk, for decays of any strength.

In a block of 2h steps, split in two halves of h, row r of the right half meets column j of the left half through

    o_{j+1} … o_r = (product from j+1 to the end of the left half) · (product from the right half's start to r)
                  = left_j · right_r

Every factor is a product over an interval, so it is ≤ 1: nothing overflows, cancels or divides, a decay of zero is as
good as any, a reset is one, and rounding grows with log₂ C. One number a head needs no halves: there the products of
all intervals are a matrix.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from eos.engine.chunks import NEGLIGIBLE, exp_decay

#: The log-decay of a reset: zero in every dtype, and finite.
FORGET = -1000.0


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


def right_half(x: Tensor, h: int) -> Tensor:
    """A view of the right halves of all blocks of 2h: [..., C, X] → [..., C/2h, h, X]."""
    return x.view(*x.shape[:-2], -1, 2, h, x.shape[-1]).select(-3, 1)


def left_half(x: Tensor, h: int) -> Tensor:
    """A view of the left halves of all blocks of 2h."""
    return x.view(*x.shape[:-2], -1, 2, h, x.shape[-1]).select(-3, 0)


def blocks(matrix: Tensor, h: int) -> Tensor:
    """A view of where right halves meet left halves in all diagonal blocks of 2h: [..., C, C] → [..., C/2h, h, h]."""
    count = matrix.shape[-1] // (2 * h)
    split = matrix.view(*matrix.shape[:-2], count, 2, h, count, 2, h)
    return split.select(-5, 1).select(-2, 0).diagonal(dim1=-4, dim2=-2).movedim(-1, -3)


@dataclass(frozen=True, kw_only=True)
class HeadIntervals:
    """Products over all intervals of a chunk at once, one number a head.

    Arguments:
        matrix: D_rj = o_{j+1} … o_r (o_{r-1} if before) [..., C, C], zero above the diagonal, and on it if before.
        right, left: [..., C, 1] as those of :class:`Intervals` at the whole chunk.
        total: [..., 1, 1], the product over the chunk.
    """

    matrix: Tensor
    right: Tensor
    left: Tensor
    total: Tensor

    @classmethod
    def of_decay(cls, log_decay: Tensor, forget: Tensor | None, *, before: bool) -> "HeadIntervals":
        """Of a log-decay in nats [..., C, 1], zero where ``forget``; sums in float64, which lose no digit."""
        dtype, floor = log_decay.dtype, NEGLIGIBLE[log_decay.dtype]
        logs = log_decay.double()
        logs = logs if forget is None else logs.masked_fill(forget, FORGET)
        ends = logs.cumsum(-2)
        starts = ends - logs if before else ends
        between = log_decay.new_empty(*ends.shape[:-1], ends.shape[-2])
        torch.sub(starts, ends.mT, out=between)
        return cls(
            matrix=exp_decay(between, floor).tril_(-1 if before else 0),
            right=exp_decay(starts.to(dtype), floor),
            left=exp_decay((ends[..., -1:, :] - ends).to(dtype), floor),
            total=exp_decay(ends[..., -1:, :].to(dtype), floor),
        )

    @classmethod
    def of_resets(cls, reset: Tensor, dtype: torch.dtype, *, before: bool) -> "HeadIntervals":
        """Where nothing decays and documents begin at ``reset`` [..., C, 1]: 1 inside a document, else 0."""
        document = reset.cumsum(-2)
        end = document[..., -1:, :]
        return cls(
            matrix=(document == document.mT).to(dtype).tril_(-1 if before else 0),
            right=(document == 0).to(dtype),
            left=(document == end).to(dtype),
            total=(end == 0).to(dtype),
        )
