"""Chunked algorithm: matrix products inside chunks of C steps, and one memory carried from chunk to chunk.

Serves writes of rank one with a decay over K, over V, over both as a product, or none. Inside a chunk, with D the
products of decays over intervals (eos.engine.chunks) and m the memory before the chunk,

    y_r = Σ_{j ≤ r} (s_r · D_rj e_j) i_j + m decayed to r, read by s_r

One decay a head: a single matrix product under the matrix D. Decays over K or V: one product a level of doubling.
The adjoint is hand-written. The gradient of a log-decay needs no memory of every step:

    d log o_t = Σ_{r ≥ t} (s_r ∘ ds_r − e_r ∘ de_r) + Σ_v m ∘ dm at the chunk's end,

summed within the chunk only, so that its terms cancel among few numbers.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional

from eos.engine.algorithm import AbstractAlgorithm, Gradients
from eos.engine.chunks import (
    TINY,
    Chunks,
    Intervals,
    decay_gradient,
    decay_matrix,
    dot,
    left_half,
    levels,
    one_step_earlier,
    right_half,
)
from eos.engine.lower import Lowered

#: Rows of the smallest matrix product; finer blocks share one and are masked apart.
ROWS = 16


@dataclass(frozen=True)
class Chunked(AbstractAlgorithm):
    """Chunks of ``size`` steps, a power of two."""

    size: int = 64

    def forward(self, x: Lowered, memory: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        w = _Window(x, self.size)
        ys = w.pairs()
        memories = w.memories(memory)
        for q, y in zip(w.reads, ys, strict=True):
            y += w.read_memory(q, memories[:, :, :-1])
        return tuple(w.chunks.join(y) for y in ys), memories[:, :, -1]

    def backward(
        self, x: Lowered, memory: Tensor, dys: tuple[Tensor, ...], dmemory: Tensor
    ) -> tuple[Gradients, Tensor]:
        w = _Window(x, self.size)
        split_dys = [w.chunks.split(dy) for dy in dys]
        dqs, dk, dv, ys = w.pairs_adjoint(split_dys)
        memories = w.memories(memory)
        dmemories = w.memories_adjoint(split_dys, dmemory)
        starts, dends = memories[:, :, :-1], dmemories[:, :, 1:]
        for q, dq, dy, y in zip(w.reads, dqs, split_dys, ys, strict=True):
            dq += w.key.right * dot(w.decayed_rows(dy), starts)
            if w.value is not None:
                y += w.read_memory(q, starts)
        dk += w.key.left * dot(w.decayed_columns(w.v), dends)
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

    ``matrix`` is D where one decay a head suffices. :meth:`pairs` or :meth:`pairs_adjoint` comes first: they take
    the intervals through all levels, to whole chunks.
    """

    def __init__(self, x: Lowered, size: int) -> None:
        self.chunks = Chunks.of(x, size)
        self.before = x.before
        self.reads = [self.chunks.split(s.detach()) for s in x.reads]
        self.k = self.chunks.split(x.expand.detach())
        self.v = self.chunks.split(x.input.detach())
        over_key = x.input.new_zeros(1, 1, 1, 1) if x.over_key is None else x.over_key.detach()
        o_key = self.chunks.decay(over_key, x.reset)
        self.value: Intervals | None = None
        self.matrix: Tensor | None = None
        if x.over_value is None and o_key.shape[-1] == 1:
            self.matrix, self.key = decay_matrix(o_key, before=x.before)
            return
        self.key = Intervals(o_key, before=x.before)
        if x.over_value is not None:
            self.value = Intervals(self.chunks.decay(x.over_value.detach(), x.reset), before=x.before)

    def pairs(self) -> list[Tensor]:
        """Σ_{j ≤ r in the chunk} (q_r · D_rj k_j) v_j for every read."""
        if self.matrix is not None:
            return [(dot(q, self.k) * self.matrix) @ self.v for q in self.reads]
        ys = [self._diagonal(q, self.k) * self.v for q in self.reads]
        for level in self._levels():
            column, v = level.columns(self.k), level.inputs(self.v)
            for q, y in zip(self.reads, ys, strict=True):
                level.add_rows(y, level.scores(level.rows(q), column) @ v)
        return ys

    def pairs_adjoint(self, dys: list[Tensor]) -> tuple[list[Tensor], Tensor, Tensor, list[Tensor]]:
        """The gradients of :meth:`pairs` with respect to reads, k and v; and the pairs again, where V decays."""
        k, v = self.k, self.v
        if self.matrix is not None:
            dqs, dk, dv = [], torch.zeros_like(k), torch.zeros_like(v)
            for q, dy in zip(self.reads, dys, strict=True):
                dscores = dot(dy, v) * self.matrix
                dqs.append(dscores @ k)
                dk += dscores.mT @ q
                dv += (dot(q, k) * self.matrix).mT @ dy
            return dqs, dk, dv, dys
        weights = [self._diagonal(q, k) for q in self.reads]
        dweights = [self._diagonal(dy, v) for dy in dys]
        dqs = [dw * k for dw in dweights]
        dk = _total(dw * q for dw, q in zip(dweights, self.reads, strict=True))
        dv = _total(w * dy for w, dy in zip(weights, dys, strict=True))
        ys = [w * v for w in weights] if self.value is not None else dys
        for level in self._levels():
            column, inputs = level.columns(k), level.inputs(v)
            for q, dq, dy, y in zip(self.reads, dqs, dys, ys, strict=True):
                row, dout = level.rows(q), level.outputs(dy)
                scores, dscores = level.scores(row, column), level.scores(dout, inputs)
                level.add_rows_key(dq, dscores @ column)
                level.add_columns(dk, dscores.mT @ row)
                level.add_inputs(dv, scores.mT @ dout)
                if self.value is not None:
                    level.add_rows(y, scores @ inputs)
        return dqs, dk, dv, ys

    def memories(self, memory: Tensor) -> Tensor:
        """The memory before every chunk and after the last, [B,H,N+1,K,V]."""
        writes = (self.k * self.key.left).mT @ self.decayed_columns(self.v)
        carry = self._carry()
        out = writes.new_empty(*writes.shape[:2], writes.shape[2] + 1, *writes.shape[3:])
        out[:, :, 0] = memory
        for n in range(writes.shape[2]):
            torch.mul(out[:, :, n], carry[:, :, min(n, carry.shape[2] - 1)], out=out[:, :, n + 1])
            out[:, :, n + 1] += writes[:, :, n]
        return functional.hardshrink(out, TINY[out.dtype])

    def memories_adjoint(self, dys: list[Tensor], dmemory: Tensor) -> Tensor:
        """The gradient of the memory before every chunk and after the last, [B,H,N+1,K,V]."""
        reads = _total((q * self.key.right).mT @ self.decayed_rows(dy) for q, dy in zip(self.reads, dys, strict=True))
        carry = self._carry()
        out = reads.new_empty(*reads.shape[:2], reads.shape[2] + 1, *reads.shape[3:])
        out[:, :, -1] = dmemory
        for n in reversed(range(reads.shape[2])):
            torch.mul(out[:, :, n + 1], carry[:, :, min(n, carry.shape[2] - 1)], out=out[:, :, n])
            out[:, :, n] += reads[:, :, n]
        return functional.hardshrink(out, TINY[out.dtype])

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

    def _diagonal(self, q: Tensor, k: Tensor) -> Tensor:
        """The weight of a row's own step [B,H,N,C,1]: none where it reads before it."""
        return (q * k).sum(-1, keepdim=True) * (0.0 if self.before else 1.0)

    def _levels(self) -> Iterator["_Level"]:
        for h in levels(self.chunks.size):
            yield _Level(h, self.chunks.size, self.key, self.value)
            self.key.double(h)
            if self.value is not None:
                self.value.double(h)


class _Level:
    """The meeting of right and left halves in blocks of 2h: rows, columns and scores of one level of doubling.

    Blocks shorter than ROWS share one matrix product and are masked apart.
    """

    def __init__(self, h: int, size: int, key: Intervals, value: Intervals | None) -> None:
        self.h = h
        self.rows_together = min(max(h, ROWS), size // 2)
        self.right_key, self.left_key = key.halves(h)
        self.right_value, self.left_value = (None, None) if value is None else value.halves(h)
        self.mask: Tensor | None = None
        if self.rows_together > h:
            block = torch.arange(self.rows_together, device=key.right.device) // h
            self.mask = (block[:, None] == block).to(key.right.dtype)

    def rows(self, q: Tensor) -> Tensor:
        return self._together(right_half(q, self.h) * self.right_key)

    def columns(self, k: Tensor) -> Tensor:
        return self._together(left_half(k, self.h) * self.left_key)

    def inputs(self, v: Tensor) -> Tensor:
        half = left_half(v, self.h)
        return self._together(half if self.left_value is None else half * self.left_value)

    def outputs(self, dy: Tensor) -> Tensor:
        half = right_half(dy, self.h)
        return self._together(half if self.right_value is None else half * self.right_value)

    def scores(self, rows: Tensor, columns: Tensor) -> Tensor:
        scores = dot(rows, columns)
        return scores if self.mask is None else scores.mul_(self.mask)

    def add_rows(self, y: Tensor, update: Tensor) -> None:
        _add(right_half(y, self.h), self._apart(update), self.right_value)

    def add_rows_key(self, dq: Tensor, update: Tensor) -> None:
        _add(right_half(dq, self.h), self._apart(update), self.right_key)

    def add_columns(self, dk: Tensor, update: Tensor) -> None:
        _add(left_half(dk, self.h), self._apart(update), self.left_key)

    def add_inputs(self, dv: Tensor, update: Tensor) -> None:
        _add(left_half(dv, self.h), self._apart(update), self.left_value)

    def _together(self, half: Tensor) -> Tensor:
        """[..., C/2h, h, X] → [..., C/2/rows, rows, X]."""
        return half.flatten(-3, -2).unflatten(-2, (-1, self.rows_together))

    def _apart(self, update: Tensor) -> Tensor:
        """[..., C/2/rows, rows, X] → [..., C/2h, h, X]."""
        return update.flatten(-3, -2).unflatten(-2, (-1, self.h))


def _add(target: Tensor, update: Tensor, factor: Tensor | None) -> None:
    if factor is None:
        target.add_(update)
    else:
        target.addcmul_(update, factor)


def _total(items: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, items)
