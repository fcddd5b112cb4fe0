"""Chunks whose decays are mild: there a decay is a change of frame.

Let L_t = log(o_1 … o_t) inside a chunk, a half of its last value, and E_t = exp(L_t − a). In the frame of the chunk,

    ŝ_t = s_t ∘ E_t    ê_t = e_t / E_t    m̂ = exp(a) ∘ m        (of decays over V:  î_t = i_t / E_t    y_t = ŷ_t ∘ E_t)

nothing decays, and chunks are joined by one factor, of half a chunk on either side:

    ŷ = tril(ŝ êᵀ) î + ŝ m̂        m̂' = exp(a + a') ∘ (m̂ + êᵀ î)

E lies within exp(±a), so a frame serves decays whose product over a chunk is not too small. What is left in the frame
is a factor of the scores, of the rows that read m̂, of the columns that outlive the chunk and of m̂ itself: of resets, 0
or 1; of one decay a head that is too strong, or may not be looked at, all of it. Strong decays over K or V are the
business of eos.engine.chunked.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from eos.engine.algorithm import Gradients
from eos.engine.chunks import (
    NEGLIGIBLE,
    TINY,
    Chunks,
    HeadIntervals,
    decay_gradient,
    exp_decay,
    in_blocks,
    one_step_earlier,
)
from eos.engine.lower import Lowered

#: The smallest log-decay of a whole chunk, over K and V together, that a frame serves. E is made in float64 and loses
#: no digits, but it spans exp(±20), and a memory in its frame must stay clear of float32's smallest numbers.
SPAN = -40.0
#: Chunks get shorter, down to this, before a window of decays over K or V is left to doubling.
SMALLEST = 16


@dataclass(frozen=True, kw_only=True)
class Side:
    """The factors of one axis, K or V, in every chunk.

    Arguments:
        rows: E at the steps that a read sees [1|B,1|H,N,C,X]: of the step before, where reads are before.
        columns: E at the steps of the writes [1|B,1|H,N,C,X].
        join: exp(a + a') before every chunk and after the last [1|B,1|H,N+1,X], with a = 0 outside the window.
        joins: for one decay a head, the products of join from one chunk to a later one [1|B,1|H,N+1,N+1].
    """

    rows: Tensor
    columns: Tensor
    join: Tensor
    joins: Tensor | None

    @classmethod
    def of(cls, sums: Tensor, dtype: torch.dtype, *, before: bool) -> "Side":
        """The factors of log-decays summed from the start of their chunk, float64 [1|B,1|H,N,C,X], used up here."""
        anchor = sums[..., -1, :] / 2
        into, out_of = (functional.pad(x, (0, 0, *side)) for x, side in ((anchor, (0, 1)), (anchor, (1, 0))))
        join = into + out_of
        joins = None
        if sums.shape[-1] == 1:
            passed = join.cumsum(-2)
            # half a chunk on either side is of the frames, not of the decay: what is negligible lies further down
            joins = exp_decay((passed - (passed - join).mT).to(dtype), NEGLIGIBLE[dtype] * math.exp(SPAN)).tril_()
        start = anchor[..., None, :].neg().exp_()
        columns = torch.mul(sums.exp_(), start, out=sums.new_empty(sums.shape, dtype=dtype))
        rows = torch.cat([start.to(dtype), columns[..., :-1, :]], -2) if before else columns
        return cls(rows=rows, columns=columns, join=join.exp_().to(dtype), joins=joins)


@dataclass(frozen=True, kw_only=True)
class Documents:
    """What resets leave of a chunk, as factors 0 or 1, named as in :class:`eos.engine.chunks.HeadIntervals`.

    Arguments:
        matrix: row and column lie in one document [B,1,N,C,C].
        right: the row lies in the document that the chunk began in [B,1,N,C,1].
        left: the column lies in the document that the chunk ends in [B,1,N,C,1].
        total: one document fills the chunk [B,1,N,1,1].
    """

    matrix: Tensor
    right: Tensor
    left: Tensor
    total: Tensor

    @classmethod
    def of(cls, reset: Tensor, dtype: torch.dtype) -> "Documents":
        """From resets in chunks [B,1,N,C,1]."""
        index = reset.cumsum(-2)
        end = index[..., -1:, :]
        return cls(
            matrix=(index == index.mT).to(dtype),
            right=(index == 0).to(dtype),
            left=(index == end).to(dtype),
            total=(end == 0).to(dtype),
        )


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A window in the frames of its chunks: rows and columns [B,H,N,C,K], inputs and outputs [B,H,N,C,V].

    ``rest`` is what stays of the decays in the frame: nothing, resets, or all of a strong decay a head.
    """

    chunks: Chunks
    key: Side | None
    value: Side | None
    rest: Documents | HeadIntervals | None
    before: bool

    @classmethod
    def of(cls, x: Lowered, size: int) -> "Frame | None":
        """The frame of a window in chunks of at most ``size`` steps; None where a decay is too strong for any."""
        chunks = Chunks.of(x, size)
        reset = None if x.reset is None else chunks.split_reset(x.reset)
        logs = [
            None if log is None else chunks.view(log.detach().expand(-1, chunks.steps, -1, -1))
            for log in (x.over_key, x.over_value)
        ]
        looks = not x.input.is_cuda  # a look at the values would stall a GPU
        if logs[0] is not None and logs[0].shape[-1] == 1 and logs[1] is None:
            if not looks or reset is not None or logs[0].sum(-2).min() < SPAN:
                head = HeadIntervals(logs[0], reset, before=x.before)
                return cls(chunks=chunks, key=None, value=None, rest=head, before=x.before)
        elif not looks and any(log is not None for log in logs):
            return None
        sums = [None if log is None else _summed(log, reset) for log in logs]
        while sum(s[..., -1, :].min().item() for s in sums if s is not None) < SPAN:
            if chunks.size <= SMALLEST:
                return None
            chunks = replace(chunks, count=2 * chunks.count, size=chunks.size // 2)
            sums = [None if s is None else _halved(s) for s in sums]
        dtype = x.input.dtype
        key, value = (None if s is None else Side.of(s, dtype, before=x.before) for s in sums)
        rest = None if x.reset is None else Documents.of(chunks.split_reset(x.reset), dtype)
        return cls(chunks=chunks, key=key, value=value, rest=rest, before=x.before)

    def forward(self, x: Lowered, memory: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """The reads [B,S,H,V] and the memory after the window."""
        # laid out as the transpose, which the products below read twice as fast on a CPU
        columns, inputs = self._into(x.expand, self.key, transposed=True), self._into(x.input, self.value)
        memories, after = self._carried(memory, self._kept(columns).mT @ inputs)
        ys = []
        for s in x.reads:
            rows = self._rows(s, self.key)
            y = _added(self._seen(rows) @ memories, self._scores(rows, columns), inputs)
            ys.append(self._out_of(y, self.value))
        return tuple(ys), after

    def backward(
        self, x: Lowered, memory: Tensor, dys: tuple[Tensor, ...], dmemory: Tensor
    ) -> tuple[Gradients, Tensor]:
        """The gradients of the window's tensors and of the memory before it."""
        columns, inputs = self._into(x.expand, self.key), self._into(x.input, self.value)
        kept = self._kept(columns)
        rows = [self._rows(s, self.key) for s in x.reads]
        outputs = [self._rows(dy, self.value) for dy in dys]
        writes = kept.mT @ inputs
        memories, _ = self._carried(memory, writes)
        reads = [self._seen(r).mT @ out for r, out in zip(rows, outputs, strict=True)]
        dmemories, dbefore = self._carried(dmemory, sum(reads[1:], reads[0]), reverse=True)

        dcolumns, dinputs = self._kept(inputs @ dmemories.mT), kept @ dmemories
        drows: list[Tensor] = []
        ys: list[Tensor] = []
        for r, out in zip(rows, outputs, strict=True):
            scores, dscores = self._scores(r, columns), self._scores(out, inputs)
            drows.append(_added(self._seen(out @ memories.mT), dscores, columns))
            _added(dcolumns, dscores.mT, r)
            _added(dinputs, scores.mT, out)
            if _differentiable(x.over_value):
                ys.append(_added(self._seen(r) @ memories, scores, inputs))

        over_key = over_value = None
        if _differentiable(x.over_key) or _differentiable(x.over_value):
            memories = memories if self.rest is None else memories * self.rest.total
            ends = memories.add_(writes).mul_(dmemories)  # m ∘ dm is the same in every frame
            over_key = self._decay_gradient(x, x.over_key, rows, drows, columns, dcolumns, ends.sum(-1))
            over_value = self._decay_gradient(x, x.over_value, outputs, ys, inputs, dinputs, ends.sum(-2))
        gradients = Gradients(
            input=self._back(dinputs, self.value),
            expand=self._back(dcolumns, self.key),
            reads=tuple(self._out_of(d, self.key) for d in drows),
            over_key=over_key,
            over_value=over_value,
        )
        return gradients, dbefore

    def _rows(self, x: Tensor, side: Side | None) -> Tensor:
        view = self.chunks.view(x.detach())
        return view.contiguous() if side is None else torch.mul(view, side.rows, out=view.new_empty(view.shape))

    def _into(self, x: Tensor, side: Side | None, *, transposed: bool = False) -> Tensor:
        view = self.chunks.view(x.detach())
        out = view.new_empty(view.mT.shape).mT if transposed else view.new_empty(view.shape)
        return out.copy_(view) if side is None else torch.div(view, side.columns, out=out)

    def _out_of(self, x: Tensor, side: Side | None) -> Tensor:
        return self.chunks.join(x if side is None else x.mul_(side.rows))

    def _back(self, x: Tensor, side: Side | None) -> Tensor:
        return self.chunks.join(x if side is None else x.div_(side.columns))

    def _seen(self, rows: Tensor) -> Tensor:
        return rows if self.rest is None else rows * self.rest.right

    def _kept(self, columns: Tensor) -> Tensor:
        return columns if self.rest is None else columns * self.rest.left

    def _scores(self, rows: Tensor, columns: Tensor) -> Tensor:
        scores = (rows @ columns.mT).tril_(-1 if self.before else 0)  # what lies above may be infinite
        return scores if self.rest is None else scores.mul_(self.rest.matrix)

    def _carried(self, memory: Tensor, writes: Tensor, *, reverse: bool = False) -> tuple[Tensor, Tensor]:
        """m̂_{n+1} = join_{n+1} ∘ (m̂_n + writes_n) from m̂_0 = join_0 ∘ memory: those of all chunks, and the last.

        In reverse it is the adjoint, which takes every join from the other side.
        """
        out = torch.empty_like(writes)
        if self.key is not None and self.key.joins is not None and self.value is None:
            after = _by_head(memory, writes, self.key.joins, out, reverse=reverse)
            return out, functional.hardshrink(after, TINY[out.dtype])
        totals = [None] * self.chunks.count if self.rest is None else self.rest.total.unbind(2)
        steps = list(zip(out.unbind(2), writes.unbind(2), totals, strict=True))
        joins = list(self._joins())
        if reverse:
            steps.reverse()
            joins.reverse()
        torch.mul(memory, joins[0], out=steps[0][0])
        after = memory.new_empty(memory.shape)
        for (held, write, total), join, place in zip(
            steps, joins[1:], [*(step[0] for step in steps[1:]), after], strict=True
        ):
            if total is None:
                torch.add(held, write, out=place)
            else:
                torch.addcmul(write, held, total, out=place)
            if isinstance(join, Tensor):
                place.mul_(join)
        return out, functional.hardshrink(after, TINY[out.dtype])

    def _joins(self) -> Iterator[Tensor | float]:
        """The factor [1|B,1|H,K|1,V|1] before every chunk and after the last."""
        key = None if self.key is None else self.key.join[..., None].unbind(2)
        value = None if self.value is None else self.value.join[..., None, :].unbind(2)
        for n in range(self.chunks.count + 1):
            of_key = 1.0 if key is None else key[n]
            yield of_key if value is None else of_key * value[n]

    def _decay_gradient(
        self,
        x: Lowered,
        log_decay: Tensor | None,
        rows: list[Tensor],
        drows: list[Tensor],
        columns: Tensor,
        dcolumns: Tensor,
        ends: Tensor,
    ) -> Tensor | None:
        if log_decay is None or not log_decay.requires_grad:
            return None
        products = [r * d for r, d in zip(rows, drows, strict=True)]
        read = sum(products[1:], products[0])
        read = one_step_earlier(read) if self.before else read
        return decay_gradient(self.chunks, x, log_decay, read, columns * dcolumns, ends)


def _by_head(memory: Tensor, writes: Tensor, joins: Tensor, out: Tensor, *, reverse: bool) -> Tensor:
    """The same as one matrix product over the chunks, into ``out``; returns the last memory."""
    batch, heads, count = writes.shape[:3]
    joins = joins.expand(batch, heads, -1, -1)
    # joins[n, m] leads from write m − 1, or from the memory before all, to what chunk n finds; its transpose leads back
    if reverse:
        start, steps, end, last = joins[..., -1, 1:], joins[..., :-1, 1:].mT, 0, joins[..., 0, 0]
    else:
        start, steps, end, last = joins[..., :-1, 0], joins[..., :-1, 1:], -1, joins[..., -1, -1]
    torch.mul(start[..., None, None], memory[:, :, None], out=out)
    flat = out.view(batch * heads, count, -1)
    flat.baddbmm_(steps.reshape(batch * heads, count, count), writes.view(batch * heads, count, -1))
    return (out[:, :, end] + writes[:, :, end]).mul_(last[..., None, None])


def _summed(log_decay: Tensor, reset: Tensor | None) -> Tensor:
    """Sums of a log-decay [...,C,X] from its chunk's start, in float64, which loses no digit; a reset counts zero."""
    kept = log_decay if reset is None else log_decay.masked_fill(reset, 0.0)
    return kept.to(torch.float64, memory_format=torch.contiguous_format, copy=True).cumsum_(-2)


def _halved(sums: Tensor) -> Tensor:
    """The same sums in chunks of half the size."""
    halves = in_blocks(sums, sums.shape[-2] // 2)
    halves[..., 1, :, :] -= halves[..., 0, -1:, :]
    return halves.flatten(2, 3)


def _added(target: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """target += x y, as one operation."""
    target.flatten(0, 2).baddbmm_(x.flatten(0, 2), y.flatten(0, 2))
    return target


def _differentiable(x: Tensor | None) -> bool:
    return x is not None and x.requires_grad
