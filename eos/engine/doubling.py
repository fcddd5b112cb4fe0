"""Chunks whose decays are strong: rows meet columns at the seams of blocks that double.

For decays over K, over V or both, of any strength. With D the products of decays over intervals (eos.engine.intervals)
and m the memory before a chunk,

    y_r = Σ_{j ≤ r} (s_r · D_rj e_j) i_j + m decayed to r, read by s_r

takes one set of matrix products a level: blocks of 1, 2, 4 … steps, to the whole chunk.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any

import torch
from torch import Tensor

from eos.engine.algorithm import Gradients
from eos.engine.chunks import Chunks, carried, decay_gradient, in_blocks, one_step_earlier
from eos.engine.intervals import Intervals, left_half, levels, right_half
from eos.engine.lower import Lowered

#: Rows of the smallest matrix product; finer blocks share one and are masked apart.
ROWS = 16


class Doubling:
    """A window in chunks: reads s and columns e [B,H,N,C,K], inputs i [B,H,N,C,V], and the intervals of its decays.

    One pass, forward or backward: it takes the intervals through all levels, to whole chunks.
    """

    def __init__(self, x: Lowered, size: int) -> None:
        self.x = x
        self.chunks = Chunks.of(x, size)
        self.before = x.before
        self.reads = [self.chunks.split(s.detach()) for s in x.reads]
        self.e = self.chunks.split(x.expand.detach())
        self.i = self.chunks.split(x.input.detach())
        over_key = x.input.new_zeros(1, 1, 1, 1) if x.over_key is None else x.over_key.detach()
        forget = None if x.reset is None else self.chunks.split_reset(x.reset)
        log_key = self.chunks.split_decay(over_key, whole=forget is not None)
        log_value = None
        if x.over_value is not None:
            log_value = self.chunks.split_decay(x.over_value.detach(), whole=forget is not None)
        self.key = Intervals(log_key, forget, before=x.before)
        self.value = None if log_value is None else Intervals(log_value, forget, before=x.before)

    def forward(self, memory: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """The reads [B,S,H,V] and the memory after the window."""
        ys = self._pairs()
        memories, after = carried(memory, self._writes(), totals=self._totals(), joins=None)
        for s, y in zip(self.reads, ys, strict=True):
            y += self._read(s, memories)
        return tuple(self.chunks.join(y) for y in ys), after

    def backward(self, memory: Tensor, dys: tuple[Tensor, ...], dmemory: Tensor) -> tuple[Gradients, Tensor]:
        """The gradients of the window's tensors and of the memory before it."""
        x = self.x
        split_dys = [self.chunks.split(dy) for dy in dys]
        dreads, de, di, ys = self._pairs_adjoint(split_dys)
        totals, writes = self._totals(), self._writes()
        memories, _ = carried(memory, writes, totals=totals, joins=None)
        seen = _total(
            (s * self.key.right).mT @ self._decayed_rows(dy) for s, dy in zip(self.reads, split_dys, strict=True)
        )
        dmemories, dbefore = carried(dmemory, seen, totals=totals, joins=None, reverse=True)
        for s, ds, dy, y in zip(self.reads, dreads, split_dys, ys, strict=True):
            ds += self.key.right * (self._decayed_rows(dy) @ memories.mT)
            if self.value is not None:
                y += self._read(s, memories)
        de += self.key.left * (self._decayed_columns(self.i) @ dmemories.mT)
        di += self._decayed_columns((self.e * self.key.left) @ dmemories)
        over_key = over_value = None
        ends = (memories * totals).add_(writes).mul_(dmemories)
        if x.over_key is not None and x.over_key.requires_grad:
            read = self._at_interval_end(_total(s * ds for s, ds in zip(self.reads, dreads, strict=True)))
            over_key = decay_gradient(self.chunks, x, x.over_key, read, self.e * de, ends.sum(-1))
        if x.over_value is not None and x.over_value.requires_grad:
            read = self._at_interval_end(_total(y * dy for y, dy in zip(ys, split_dys, strict=True)))
            over_value = decay_gradient(self.chunks, x, x.over_value, read, self.i * di, ends.sum(-2))
        join = self.chunks.join
        gradients = Gradients(
            input=join(di),
            expand=join(de),
            reads=tuple(join(ds) for ds in dreads),
            over_key=over_key,
            over_value=over_value,
        )
        return gradients, dbefore

    def _pairs(self) -> list[Tensor]:
        """Σ_{j ≤ r in the chunk} (s_r · D_rj e_j) i_j for every read."""
        ys: list[Tensor | None] = [None for _ in self.reads]
        for meeting in self._meetings():
            columns, inputs = meeting.columns(self.e), meeting.inputs(self.i)
            for index, s in enumerate(self.reads):
                scores = meeting.scores(meeting.rows(s), columns)
                ys[index] = meeting.add_outputs(ys[index], scores @ inputs)
        return [y for y in ys if y is not None]

    def _pairs_adjoint(self, dys: list[Tensor]) -> tuple[list[Tensor], Tensor, Tensor, list[Tensor]]:
        """The gradients of :meth:`_pairs` with respect to reads, e and i; and the pairs again, where V decays."""
        dreads: list[Any] = [None for _ in self.reads]
        ys: list[Any] = dys if self.value is None else [None for _ in self.reads]
        de: Any = None
        di: Any = None
        for meeting in self._meetings():
            columns, inputs = meeting.columns(self.e), meeting.inputs(self.i)
            for index, (s, dy) in enumerate(zip(self.reads, dys, strict=True)):
                rows, outputs = meeting.rows(s), meeting.outputs(dy)
                scores, dscores = meeting.scores(rows, columns), meeting.scores(outputs, inputs)
                dreads[index] = meeting.add_rows(dreads[index], dscores @ columns)
                de = meeting.add_columns(de, dscores.mT @ rows)
                di = meeting.add_inputs(di, scores.mT @ outputs)
                if self.value is not None:
                    ys[index] = meeting.add_outputs(ys[index], scores @ inputs)
        return dreads, de, di, ys

    def _writes(self) -> Tensor:
        """What every chunk leaves in the memory [B,H,N,K,V]."""
        return (self.e * self.key.left).mT @ self._decayed_columns(self.i)

    def _totals(self) -> Tensor:
        """The decay of a memory over a whole chunk [b,h,n,K|1,V|1]."""
        totals = self.key.total.mT
        return totals if self.value is None else totals * self.value.total

    def _read(self, s: Tensor, memories: Tensor) -> Tensor:
        """What the rows read of the memory before their chunk."""
        return self._decayed_rows((s * self.key.right) @ memories)

    def _decayed_rows(self, y: Tensor) -> Tensor:
        """A row's V entries, decayed from the chunk's start to the row."""
        return y if self.value is None else y * self.value.right

    def _decayed_columns(self, i: Tensor) -> Tensor:
        """A column's V entries, decayed from the column to the chunk's end."""
        return i if self.value is None else i * self.value.left

    def _at_interval_end(self, read: Tensor) -> Tensor:
        """A row's own term on the last step of its interval: one step earlier where it reads before."""
        return one_step_earlier(read) if self.before else read

    def _meetings(self) -> Iterator["_Meeting"]:
        size = self.chunks.size
        dtype, device = self.e.dtype, self.e.device
        rows = min(ROWS, size)
        own = block_diagonal(rows, 1, dtype, device)  # a step meets itself, without a decay
        yield _Meeting(block=rows, whole=True, mask=torch.zeros_like(own) if self.before else own)
        for h in levels(size):
            together = min(max(h, ROWS), size // 2)
            yield _Meeting(
                block=h,
                together=together,
                mask=block_diagonal(together, h, dtype, device) if together > h else None,
                key=self.key.halves(h),
                value=None if self.value is None else self.value.halves(h),
            )
            self.key.double(h)
            if self.value is not None:
                self.value.double(h)


@dataclass(frozen=True, kw_only=True)
class _Meeting:
    """Rows of a block that meet its columns, with factors that make up the interval between: y += (rows · columns) i.

    Arguments:
        block: steps of a block, h.
        whole: rows and columns are both all of a block; else the right halves of blocks of 2h meet the left halves.
        together: rows of one matrix product; blocks shorter than this share one, and the mask sets them apart.
        mask: multiplies the scores, or None.
        key, value: factors of rows and of columns over K and over V, or None.
    """

    block: int
    whole: bool = False
    together: int = 0
    mask: Tensor | None = None
    key: tuple[Tensor, Tensor] | None = None
    value: tuple[Tensor, Tensor] | None = None

    def rows(self, s: Tensor) -> Tensor:
        return self._take(s, self.key, 0)

    def columns(self, e: Tensor) -> Tensor:
        return self._take(e, self.key, 1)

    def outputs(self, dy: Tensor) -> Tensor:
        return self._take(dy, self.value, 0)

    def inputs(self, i: Tensor) -> Tensor:
        return self._take(i, self.value, 1)

    def scores(self, rows: Tensor, columns: Tensor) -> Tensor:
        scores = rows @ columns.mT
        return scores if self.mask is None else scores.mul_(self.mask.unsqueeze(-3) if self.whole else self.mask)

    def add_rows(self, ds: Tensor | None, update: Tensor) -> Tensor:
        return self._add(ds, update, self.key, 0)

    def add_columns(self, de: Tensor | None, update: Tensor) -> Tensor:
        return self._add(de, update, self.key, 1)

    def add_outputs(self, y: Tensor | None, update: Tensor) -> Tensor:
        return self._add(y, update, self.value, 0)

    def add_inputs(self, di: Tensor | None, update: Tensor) -> Tensor:
        return self._add(di, update, self.value, 1)

    def _take(self, x: Tensor, factors: tuple[Tensor, Tensor] | None, side: int) -> Tensor:
        """[..., C, X] → [..., products, rows, X], times the factors of this side."""
        part = self._part(x, side)
        part = part if factors is None else part * factors[side]
        return part if self.whole else part.reshape(*x.shape[:-2], -1, self.together, x.shape[-1])

    def _add(self, target: Tensor | None, update: Tensor, factors: tuple[Tensor, Tensor] | None, side: int) -> Tensor:
        """Add [..., products, rows, X], times the factors of this side, where it was taken from."""
        update = update.view(*update.shape[:-3], -1, self.block, update.shape[-1])
        if target is None:  # the first meeting is of whole blocks
            update = update if factors is None else update * factors[side]
            return update.view(*update.shape[:-3], -1, update.shape[-1])
        part = self._part(target, side)
        if factors is None:
            part.add_(update)
        else:
            part.addcmul_(update, factors[side])
        return target

    def _part(self, x: Tensor, side: int) -> Tensor:
        if self.whole:
            return in_blocks(x, self.block)
        return right_half(x, self.block) if side == 0 else left_half(x, self.block)


@lru_cache(maxsize=64)
def block_diagonal(size: int, block: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Ones in the diagonal blocks [size, size]."""
    index = torch.arange(size, device=device) // block
    return (index[:, None] == index).to(dtype)


def _total(items: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, items)
