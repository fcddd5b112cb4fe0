"""Chunked algorithm: matrix products inside chunks of C steps, and one memory carried from chunk to chunk.

Serves writes of rank one with a decay over K, over V, over both as a product, or none. Inside a chunk, with D the
products of decays over intervals (eos.engine.chunks) and m the memory before the chunk,

    y_r = Σ_{j ≤ r} (s_r · D_rj e_j) i_j + m decayed to r, read by s_r

Windows of mild decays, and all with one decay a head, go to eos.engine.framed, which needs one set of products a chunk.
Here decays over K or V of any strength make one product a level of doubling.
The adjoint is hand-written. The gradient of a log-decay needs no memory of every step:

    d log o_t = Σ_{r ≥ t} (s_r ∘ ds_r − e_r ∘ de_r) + Σ_v m ∘ dm at the chunk's end,

summed within the chunk only, so that its terms cancel among few numbers.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from eos.engine.algorithm import AbstractAlgorithm, Gradients
from eos.engine.chunks import (
    Chunks,
    Intervals,
    block_diagonal,
    carried,
    decay_gradient,
    in_blocks,
    left_half,
    levels,
    one_step_earlier,
    right_half,
)
from eos.engine.framed import Frame
from eos.engine.lower import Lowered

#: Rows of the smallest matrix product; finer blocks share one and are masked apart.
ROWS = 16


@dataclass(frozen=True)
class Chunked(AbstractAlgorithm):
    """Chunks of ``size`` steps, a power of two."""

    size: int = 64

    def forward(self, x: Lowered, memory: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        frame = Frame.of(x, self.size)
        if frame is not None:
            return frame.forward(x, memory)
        w = _Window(x, self.size)
        ys = w.pairs()
        memories = w.memories(memory)
        for q, y in zip(w.reads, ys, strict=True):
            y += w.read_memory(q, memories[:, :, :-1])
        return tuple(w.chunks.join(y) for y in ys), memories[:, :, -1]

    def backward(
        self, x: Lowered, memory: Tensor, dys: tuple[Tensor, ...], dmemory: Tensor
    ) -> tuple[Gradients, Tensor]:
        frame = Frame.of(x, self.size)
        if frame is not None:
            return frame.backward(x, memory, dys, dmemory)
        w = _Window(x, self.size)
        split_dys = [w.chunks.split(dy) for dy in dys]
        dqs, dk, dv, ys = w.pairs_adjoint(split_dys)
        memories = w.memories(memory)
        dmemories = w.memories_adjoint(split_dys, dmemory)
        starts, dends = memories[:, :, :-1], dmemories[:, :, 1:]
        for q, dq, dy, y in zip(w.reads, dqs, split_dys, ys, strict=True):
            dq += w.key.right * (w.decayed_rows(dy) @ starts.mT)
            if w.value is not None:
                y += w.read_memory(q, starts)
        dk += w.key.left * (w.decayed_columns(w.v) @ dends.mT)
        dv += w.decayed_columns((w.k * w.key.left) @ dends)
        over_key = over_value = None
        ends = memories[:, :, 1:] * dends
        if x.over_key is not None and x.over_key.requires_grad:
            read = w.at_interval_end(_total(q * dq for q, dq in zip(w.reads, dqs, strict=True)))
            over_key = decay_gradient(w.chunks, x, x.over_key, read, w.k * dk, ends.sum(-1))
        if x.over_value is not None and x.over_value.requires_grad:
            read = w.at_interval_end(_total(y * dy for y, dy in zip(ys, split_dys, strict=True)))
            over_value = decay_gradient(w.chunks, x, x.over_value, read, w.v * dv, ends.sum(-2))
        join = w.chunks.join
        gradients = Gradients(
            input=join(dv),
            expand=join(dk),
            reads=tuple(join(dq) for dq in dqs),
            over_key=over_key,
            over_value=over_value,
        )
        return gradients, dmemories[:, :, 0]


class _Window:
    """A window in chunks: reads q and columns k [B,H,N,C,K], inputs v [B,H,N,C,V], and the intervals of its decays.

    :meth:`pairs` or :meth:`pairs_adjoint` comes first: they take the intervals through all levels, to whole chunks.
    """

    def __init__(self, x: Lowered, size: int) -> None:
        self.chunks = Chunks.of(x, size)
        self.before = x.before
        self.reads = [self.chunks.split(s.detach()) for s in x.reads]
        self.k = self.chunks.split(x.expand.detach())
        self.v = self.chunks.split(x.input.detach())
        over_key = x.input.new_zeros(1, 1, 1, 1) if x.over_key is None else x.over_key.detach()
        forget = None if x.reset is None else self.chunks.split_reset(x.reset)
        log_key = self.chunks.split_decay(over_key, whole=forget is not None)
        log_value = None
        if x.over_value is not None:
            log_value = self.chunks.split_decay(x.over_value.detach(), whole=forget is not None)
        self.key = Intervals(log_key, forget, before=x.before)
        self.value = None if log_value is None else Intervals(log_value, forget, before=x.before)

    def pairs(self) -> list[Tensor]:
        """Σ_{j ≤ r in the chunk} (q_r · D_rj k_j) v_j for every read."""
        ys: list[Tensor | None] = [None for _ in self.reads]
        for meeting in self._meetings():
            columns, inputs = meeting.columns(self.k), meeting.inputs(self.v)
            for index, q in enumerate(self.reads):
                scores = meeting.scores(meeting.rows(q), columns)
                ys[index] = meeting.add_outputs(ys[index], scores @ inputs)
        return [y for y in ys if y is not None]

    def pairs_adjoint(self, dys: list[Tensor]) -> tuple[list[Tensor], Tensor, Tensor, list[Tensor]]:
        """The gradients of :meth:`pairs` with respect to reads, k and v; and the pairs again, where V decays."""
        dqs: list[Any] = [None for _ in self.reads]
        ys: list[Any] = dys if self.value is None else [None for _ in self.reads]
        dk: Any = None
        dv: Any = None
        for meeting in self._meetings():
            columns, inputs = meeting.columns(self.k), meeting.inputs(self.v)
            for index, (q, dy) in enumerate(zip(self.reads, dys, strict=True)):
                rows, outputs = meeting.rows(q), meeting.outputs(dy)
                scores, dscores = meeting.scores(rows, columns), meeting.scores(outputs, inputs)
                dqs[index] = meeting.add_rows(dqs[index], dscores @ columns)
                dk = meeting.add_columns(dk, dscores.mT @ rows)
                dv = meeting.add_inputs(dv, scores.mT @ outputs)
                if self.value is not None:
                    ys[index] = meeting.add_outputs(ys[index], scores @ inputs)
        return dqs, dk, dv, ys

    def memories(self, memory: Tensor) -> Tensor:
        """The memory before every chunk and after the last, [B,H,N+1,K,V]."""
        writes = (self.k * self.key.left).mT @ self.decayed_columns(self.v)
        return carried(memory, self._carry(), writes)

    def memories_adjoint(self, dys: list[Tensor], dmemory: Tensor) -> Tensor:
        """The gradient of the memory before every chunk and after the last, [B,H,N+1,K,V]."""
        reads = _total((q * self.key.right).mT @ self.decayed_rows(dy) for q, dy in zip(self.reads, dys, strict=True))
        return carried(dmemory, self._carry().flip(2), reads.flip(2)).flip(2)

    def read_memory(self, q: Tensor, memories: Tensor) -> Tensor:
        """What the rows read of the memory before their chunk."""
        return self.decayed_rows((q * self.key.right) @ memories)

    def decayed_rows(self, y: Tensor) -> Tensor:
        """A row's V entries, decayed from the chunk's start to the row."""
        return y if self.value is None else y * self.value.right

    def decayed_columns(self, v: Tensor) -> Tensor:
        """A column's V entries, decayed from the column to the chunk's end."""
        return v if self.value is None else v * self.value.left

    def at_interval_end(self, read: Tensor) -> Tensor:
        """A row's own term on the last step of its interval: one step earlier where it reads before."""
        return one_step_earlier(read) if self.before else read

    def _carry(self) -> Tensor:
        """The decay of a memory over a whole chunk [b,h,n,K|1,V|1]."""
        carry = self.key.total.mT
        return carry if self.value is None else carry * self.value.total

    def _meetings(self) -> Iterator["_Meeting"]:
        size = self.chunks.size
        dtype, device = self.k.dtype, self.k.device
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
    """Rows of a block that meet its columns, with factors that make up the interval between: y += (rows · columns) v.

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

    def rows(self, q: Tensor) -> Tensor:
        return self._take(q, self.key, 0)

    def columns(self, k: Tensor) -> Tensor:
        return self._take(k, self.key, 1)

    def outputs(self, dy: Tensor) -> Tensor:
        return self._take(dy, self.value, 0)

    def inputs(self, v: Tensor) -> Tensor:
        return self._take(v, self.value, 1)

    def scores(self, rows: Tensor, columns: Tensor) -> Tensor:
        scores = rows @ columns.mT
        return scores if self.mask is None else scores.mul_(self.mask.unsqueeze(-3) if self.whole else self.mask)

    def add_rows(self, dq: Tensor | None, update: Tensor) -> Tensor:
        return self._add(dq, update, self.key, 0)

    def add_columns(self, dk: Tensor | None, update: Tensor) -> Tensor:
        return self._add(dk, update, self.key, 1)

    def add_outputs(self, y: Tensor | None, update: Tensor) -> Tensor:
        return self._add(y, update, self.value, 0)

    def add_inputs(self, dv: Tensor | None, update: Tensor) -> Tensor:
        return self._add(dv, update, self.value, 1)

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


def _total(items: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, items)
