"""Chunks whose decays are mild: there a decay is a change of frame.

Let L_t = log(o_1 … o_t) inside a chunk, a half of its last value, and E_t = exp(L_t − a). In the frame of the chunk,

    ŝ_t = s_t ∘ E_t    ê_t = e_t / E_t    m̂ = exp(a) ∘ m        (of decays over V:  î_t = i_t / E_t    y_t = ŷ_t ∘ E_t)

nothing decays, and chunks are joined by one factor, of half a chunk on either side:

    ŷ = tril(ŝ êᵀ) î + ŝ m̂        m̂' = exp(a + a') ∘ (m̂ + êᵀ î)

E lies within exp(±a), so a frame serves decays whose product over a chunk is not too small. What is left in the frame
is a factor of the scores, of the rows that read m̂, of the columns that outlive the chunk and of m̂ itself. With resets
it is 0 or 1. It is all of a decay a head that is too strong, that meets resets in the same window, or whose values may
not be looked at. Decays over K or V that are too strong are the business of eos.engine.doubling.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from eos.engine.algorithm import Gradients
from eos.engine.chunks import (
    NEGLIGIBLE,
    TINY,
    Chunks,
    carried,
    decay_gradient,
    exp_decay,
    in_blocks,
    one_step_earlier,
)
from eos.engine.intervals import HeadIntervals
from eos.engine.lower import Lowered

#: The smallest log-decay of a whole chunk, over K and V together, that a frame serves. E is made in float64 and loses
#: no digits, but it spans exp(±20), and a memory in its frame must stay clear of float32's smallest numbers.
SPAN = -40.0
#: Chunks get shorter, down to this, before a window of decays over K or V is left to doubling.
SMALLEST = 8


@dataclass(frozen=True, kw_only=True)
class Side:
    """The factors of one axis, K or V, in every chunk.

    Arguments:
        rows: E at the steps that a read sees [1|B,1|H,N,C,X]: of the step before, where reads are before.
        columns: E at the steps of the writes [1|B,1|H,N,C,X].
        anchor: a of every chunk [1|B,1|H,N,X] in float64.
    """

    rows: Tensor
    columns: Tensor
    anchor: Tensor

    @classmethod
    def of(cls, sums: Tensor, dtype: torch.dtype, *, before: bool) -> "Side":
        """The factors of log-decays summed from the start of their chunk, float64 [1|B,1|H,N,C,X], used up here."""
        anchor = sums[..., -1, :] / 2
        start = anchor[..., None, :].neg().exp_()
        columns = torch.mul(sums.exp_(), start, out=sums.new_empty(sums.shape, dtype=dtype))
        rows = torch.cat([start.to(dtype), columns[..., :-1, :]], -2) if before else columns
        return cls(rows=rows, columns=columns, anchor=anchor)

    @property
    def log_join(self) -> Tensor:
        """a + a' before every chunk and after the last [1|B,1|H,N+1,X] in float64, with a = 0 outside."""
        into, out_of = (functional.pad(self.anchor, (0, 0, *side)) for side in ((0, 1), (1, 0)))
        return into + out_of


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A window in the frames of its chunks: rows and columns [B,H,N,C,K], inputs and outputs [B,H,N,C,V].

    ``rest`` is what stays of the decays in the frame: nothing, resets, or all of a decay a head.
    """

    x: Lowered
    chunks: Chunks
    key: Side | None
    value: Side | None
    rest: HeadIntervals | None

    @classmethod
    def of(cls, x: Lowered, size: int) -> "Frame | None":
        """The frame of a window in chunks of at most ``size`` steps; None where a decay is too strong for any."""
        chunks = Chunks.of(x, size)
        reset = None if x.reset is None else chunks.split_reset(x.reset)
        key, value = (
            None if log is None else chunks.view(log.detach().expand(-1, chunks.steps, -1, -1))
            for log in (x.over_key, x.over_value)
        )
        if key is not None and key.shape[-1] == 1 and value is None:
            if not looks(x.input) or reset is not None or key.sum(-2).min() < SPAN:
                whole = HeadIntervals.of_decay(key, reset, before=x.before)
                return cls(x=x, chunks=chunks, key=None, value=None, rest=whole)
        elif not looks(x.input) and not (key is None and value is None):
            return None
        mild = summed(chunks, [key, value], reset)
        if mild is None:
            return None
        chunks, sums = mild
        dtype = x.input.dtype
        sides = [None if s is None else Side.of(s, dtype, before=x.before) for s in sums]
        rest = None
        if x.reset is not None:
            rest = HeadIntervals.of_resets(chunks.split_reset(x.reset), dtype, before=x.before)
        return cls(x=x, chunks=chunks, key=sides[0], value=sides[1], rest=rest)

    def forward(self, memory: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """The reads [B,S,H,V] and the memory after the window."""
        # laid out as the transpose, which the products below read twice as fast on a CPU
        columns, inputs = self._into(self.x.expand, self.key, transposed=True), self._into(self.x.input, self.value)
        memories, after = self._carried(memory, self._kept(columns).mT @ inputs)
        ys = []
        for s in self.x.reads:
            rows = self._rows(s, self.key)
            y = _added(self._seen(rows) @ memories, self._scores(rows, columns), inputs)
            ys.append(self._out_of(y, self.value))
        return tuple(ys), after

    def backward(self, memory: Tensor, dys: tuple[Tensor, ...], dmemory: Tensor) -> tuple[Gradients, Tensor]:
        """The gradients of the window's tensors and of the memory before it."""
        x = self.x
        columns, inputs = self._into(x.expand, self.key), self._into(x.input, self.value)
        kept = self._kept(columns)
        rows = [self._rows(s, self.key) for s in x.reads]
        outputs = [self._rows(dy, self.value) for dy in dys]
        writes = kept.mT @ inputs
        memories, _ = self._carried(memory, writes)
        seen = [self._seen(r).mT @ out for r, out in zip(rows, outputs, strict=True)]
        dmemories, dbefore = self._carried(dmemory, sum(seen[1:], seen[0]), reverse=True)

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
            over_key = self._decay_gradient(x.over_key, rows, drows, columns, dcolumns, ends.sum(-1))
            over_value = self._decay_gradient(x.over_value, outputs, ys, inputs, dinputs, ends.sum(-2))
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
        whole, view = self.chunks.whole(x)
        view.copy_(x) if side is None else torch.mul(x, side.rows, out=view)
        return whole

    def _back(self, x: Tensor, side: Side | None) -> Tensor:
        whole, view = self.chunks.whole(x)
        view.copy_(x) if side is None else torch.div(x, side.columns, out=view)
        return whole

    def _seen(self, rows: Tensor) -> Tensor:
        return rows if self.rest is None else rows * self.rest.right

    def _kept(self, columns: Tensor) -> Tensor:
        return columns if self.rest is None else columns * self.rest.left

    def _scores(self, rows: Tensor, columns: Tensor) -> Tensor:
        # cleared before a factor comes: what lies above the diagonal may be infinite
        scores = (rows @ columns.mT).tril_(-1 if self.x.before else 0)
        return scores if self.rest is None else scores.mul_(self.rest.matrix)

    def _carried(self, memory: Tensor, writes: Tensor, *, reverse: bool = False) -> tuple[Tensor, Tensor]:
        """m̂ as every chunk finds it, and the last memory, as :func:`eos.engine.chunks.carried` returns them."""
        if self.key is not None and self.key.anchor.shape[-1] == 1 and self.value is None:
            return _carried_by_head(memory, writes, self.key, reverse=reverse)
        totals = None if self.rest is None else self.rest.total
        return carried(memory, writes, totals=totals, joins=self._joins(memory.dtype), reverse=reverse)

    def _joins(self, dtype: torch.dtype) -> list[Tensor] | None:
        """exp(a + a') before every chunk and after the last [1|B,1|H,K|1,V|1]."""
        over_key = None if self.key is None else self.key.log_join.exp().to(dtype)[..., None]
        over_value = None if self.value is None else self.value.log_join.exp().to(dtype)[..., None, :]
        if over_key is None or over_value is None:
            one = over_value if over_key is None else over_key
            return None if one is None else list(one.unbind(2))
        return [k * v for k, v in zip(over_key.unbind(2), over_value.unbind(2), strict=True)]

    def _decay_gradient(
        self,
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
        read = one_step_earlier(read) if self.x.before else read
        return decay_gradient(self.chunks, self.x, log_decay, read, columns * dcolumns, ends)


def summed(
    chunks: Chunks, logs: list[Tensor | None], reset: Tensor | None
) -> tuple[Chunks, list[Tensor | None]] | None:
    """Chunks so short that the decays over each are mild, and the log-decays summed from the start of their chunk.

    Arguments:
        chunks: the longest.
        logs: log-decays in them [1|B,1|H,N,C,X], over K and over V.
        reset: where documents begin [B,1,N,C,1].

    Returns:
        The chunks, and the sums in float64; None where a decay is too strong for any.
    """
    sums = [None if log is None else _summed(log, reset) for log in logs]
    while sum(s[..., -1, :].min().item() for s in sums if s is not None) < SPAN:
        if chunks.size <= SMALLEST:
            return None
        chunks = replace(chunks, count=2 * chunks.count, size=chunks.size // 2)
        sums = [None if s is None else _halved(s) for s in sums]
    return chunks, sums


def looks(x: Tensor) -> bool:
    """Whether the values of decays may be looked at: on a GPU a look would stall the stream."""
    return not x.is_cuda


def _carried_by_head(memory: Tensor, writes: Tensor, side: Side, *, reverse: bool) -> tuple[Tensor, Tensor]:
    """:func:`eos.engine.chunks.carried` for one join a head, as one matrix product over the chunks.

    Arguments:
        memory: [B,H,K,V].
        writes: [B,H,N,K,V].
        side: of K, with one decay a head.
    """
    batch, heads, count = writes.shape[:3]
    log_join = side.log_join
    passed = log_join.cumsum(-2)
    # Half a chunk on either side is of the frames, not of the decay: what is negligible lies further down.
    floor = NEGLIGIBLE[writes.dtype] * math.exp(2 * side.anchor.min().item())
    joins = exp_decay((passed - (passed - log_join).mT).to(writes.dtype), floor).tril_().expand(batch, heads, -1, -1)
    # joins[n, m] leads from write m − 1, or from the memory before all, to what chunk n finds; its transpose leads back
    if reverse:
        start, steps, end, last = joins[..., -1, 1:], joins[..., :-1, 1:].mT, 0, joins[..., 0, 0]
    else:
        start, steps, end, last = joins[..., :-1, 0], joins[..., :-1, 1:], -1, joins[..., -1, -1]
    out = torch.mul(start[..., None, None], memory[:, :, None], out=torch.empty_like(writes))
    flat = out.view(batch * heads, count, -1)
    flat.baddbmm_(steps.reshape(batch * heads, count, count), writes.view(batch * heads, count, -1))
    after = (out[:, :, end] + writes[:, :, end]).mul_(last[..., None, None])
    tiny = TINY[out.dtype]
    # joins that stay far above the smallest numbers leave nothing there to look for
    return out if floor > 100 * tiny else functional.hardshrink(out, tiny), functional.hardshrink(after, tiny)


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
