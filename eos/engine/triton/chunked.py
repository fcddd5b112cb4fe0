"""Launches the chunked kernels: :class:`TritonChunked` is to a GPU what eos.engine.chunked.Chunked is elsewhere."""

from dataclasses import dataclass

import torch
from torch import Tensor

from eos.engine.algorithm import AbstractAlgorithm, Gradients
from eos.engine.lower import Lowered
from eos.engine.triton.kernels.chunked_backward import chunked_backward
from eos.engine.triton.kernels.chunked_forward import chunked_forward
from eos.engine.triton.kernels.chunked_scores import chunked_scores
from eos.engine.triton.kernels.intervals import VECTORS
from eos.engine.triton.masks import masks
from eos.engine.triton.role import Arithmetic, Place, arithmetic, heads_in_a_row, place
from eos.engine.triton.tiles import Tiles


@dataclass(frozen=True)
class TritonChunked(AbstractAlgorithm):
    """Chunks on tensor cores: scores of a chunk where K (or V) decays entry by entry, then memories, then gradients."""

    tiles: Tiles
    takes_activations = True

    def forward(self, x: Lowered, memory: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        return _Launch(x, self.tiles).forward(memory)

    def backward(
        self, x: Lowered, memory: Tensor, dys: tuple[Tensor, ...], dmemory: Tensor
    ) -> tuple[Gradients, Tensor]:
        return _Launch(x, self.tiles).backward(memory, dys, dmemory)


@dataclass(frozen=True)
class _Side:
    """What stands on one axis of the memory: rows of every read, columns, the decay with its kind, and the stride."""

    rows: Place
    columns: Place
    decay: Place
    kind: int
    size: int
    stride: int


@dataclass(frozen=True)
class _Decayed:
    """What :func:`chunked_scores` makes of a side: as the memory between chunks sees it, and inside chunks."""

    rows: Place
    columns: Place
    scores: Tensor
    intervals: Tensor
    totals: Tensor


class _Launch:
    """One window: e [B,S,H,K], i [B,S,H,V], every s, and the decays, as the kernels want them."""

    def __init__(self, x: Lowered, tiles: Tiles) -> None:
        self.x, self.tiles = x, tiles
        self.batch, self.steps, self.heads, self.value = x.input.shape
        self.key = x.expand.shape[-1]
        self.count = -(-self.steps // tiles.chunk)
        self.arithmetic: Arithmetic = arithmetic(x)
        self.reads = heads_in_a_row(x.reads)
        self.reset = x.input if x.reset is None else x.reset.contiguous().view(torch.uint8)
        self.masks = masks(tiles.chunk, x.before, x.input.device)

    def forward(self, memory: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        reads = len(self.x.reads)
        out = self._new(self.x.input, reads * self.heads, self.value)
        k, v = self._key(), self._value(out)
        after, _ = self._carry(memory, k, v, self._decayed(k, reads), self._decayed(v, 0), reads=reads)
        return out.unflatten(2, (reads, self.heads)).unbind(2), after

    def backward(self, memory: Tensor, dys: tuple[Tensor, ...], dmemory: Tensor) -> tuple[Gradients, Tensor]:
        x, reads = self.x, len(self.x.reads)
        over_key = x.over_key is not None and x.over_key.requires_grad
        over_value = x.over_value is not None and x.over_value.requires_grad
        dy = heads_in_a_row(tuple(d.to(x.input.dtype) for d in dys))
        k, v = self._key(), self._value(dy)
        ks, vs = self._decayed(k, reads), self._decayed(v, reads)
        _, memories = self._carry(memory, k, v, ks, vs, store=True)
        dbefore, adjoints = self._carry(dmemory, k, v, ks, vs, store=True, reverse=True)
        dreads, dexpand, dkey = self._gradients(k, v, ks, vs, memories, adjoints, rows=True, decay=over_key)
        _, dinput, dvalue = self._gradients(v, k, vs, ks, memories, adjoints, rows=False, decay=over_value)
        assert dreads is not None
        return (
            Gradients(
                input=dinput,
                expand=dexpand,
                reads=dreads.unflatten(2, (reads, self.heads)).unbind(2),
                over_key=None if dkey is None else dkey.sum_to_size(_shape(x.over_key)),
                over_value=None if dvalue is None else dvalue.sum_to_size(_shape(x.over_value)),
            ),
            dbefore,
        )

    def _key(self) -> _Side:
        over_key = self.x.over_key
        if over_key is None and self.x.reset is not None:  # a reset is a decay, of one number a head
            over_key = torch.zeros(1, 1, 1, 1, device=self.reads.device)
        return _side(self.reads, self.x.expand, over_key, stride=self.value)

    def _value(self, rows: Tensor) -> _Side:
        return _side(rows, self.x.input, self.x.over_value, stride=1)

    def _new(self, like: Tensor, heads: int, size: int, dtype: torch.dtype | None = None) -> Tensor:
        return like.new_empty(self.batch, self.steps, heads, size, dtype=dtype)

    def _programs(self) -> int:
        return self.batch * self.heads

    def _decayed(self, side: _Side, reads: int) -> _Decayed:
        columns, size = side.columns.tensor, self.tiles.chunk
        scores = intervals = totals = columns
        rows_out, columns_out = side.rows, side.columns
        if side.kind == 0:
            return _Decayed(rows=rows_out, columns=columns_out, scores=scores, intervals=intervals, totals=totals)
        chunks = (self._programs(), self.count)
        if side.kind == 1:
            intervals = columns.new_empty(*chunks, VECTORS.value, size, dtype=torch.float32)
            totals = columns.new_empty(*chunks, dtype=torch.float32)
        else:
            scores = columns.new_empty(reads, *chunks, size, size)
            totals = columns.new_empty(*chunks, side.size, dtype=torch.float32)
            rows_out = place(self._new(columns, reads * self.heads, side.size)) if reads else side.rows
            columns_out = place(self._new(columns, self.heads, side.size))
        chunked_scores[(self.count * self._programs(),)](
            side.rows.role,
            side.columns.role,
            side.decay.role,
            rows_out.role,
            columns_out.role,
            self.reset,
            self.masks,
            scores,
            intervals,
            totals,
            side.rows.batch,
            side.columns.batch,
            side.decay.batch,
            rows_out.batch,
            columns_out.batch,
            self.steps,
            self.heads,
            X=side.size,
            C=size,
            BX=min(self.tiles.scores, _power_of_two(side.size)),
            READS=reads,
            KIND=side.kind,
            BEFORE=self.x.before,
            RESET=self.x.reset is not None,
            **self.arithmetic.options(),
            num_warps=self.tiles.scores_warps if side.kind == 2 else 1,
        )
        return _Decayed(rows=rows_out, columns=columns_out, scores=scores, intervals=intervals, totals=totals)

    def _carry(
        self,
        memory: Tensor,
        k: _Side,
        v: _Side,
        decayed_key: _Decayed,
        decayed_value: _Decayed,
        *,
        reads: int = 0,
        store: bool = False,
        reverse: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """The memory after the last chunk and, where stored, what every chunk finds; with reads, v.rows are written."""
        t = self.tiles
        memory = memory.contiguous()
        after = torch.empty_like(memory)
        kept = after
        if store:
            kept = self.x.input.new_empty(self._programs(), self.count, self.key, self.value)
        columns, inputs = (side.rows if reverse else side.columns for side in (decayed_key, decayed_value))
        tile = min(t.value, _power_of_two(self.value))
        chunked_forward[(-(-self.value // tile) * self._programs(),)](
            decayed_key.rows.role,
            columns.role,
            inputs.role,
            v.columns.role,
            v.decay.role,
            v.rows.role,
            self.masks,
            decayed_key.scores,
            decayed_key.intervals,
            decayed_key.totals,
            decayed_value.intervals,
            decayed_value.totals,
            memory,
            kept,
            after,
            decayed_key.rows.batch,
            columns.batch,
            inputs.batch,
            v.columns.batch,
            v.decay.batch,
            v.rows.batch,
            self.steps,
            self.heads,
            K=self.key,
            V=self.value,
            C=t.chunk,
            BK=_power_of_two(self.key),
            BV=tile,
            READS=reads,
            WRITES=len(self.x.reads) if reverse else 1,
            KEY=k.kind,
            VALUE=v.kind,
            BEFORE=self.x.before,
            RESET=self.x.reset is not None,
            STORE=store,
            REVERSE=reverse,
            **self.arithmetic.options(),
            num_warps=t.forward_warps,
            num_stages=t.stages,
        )
        return after, kept

    def _gradients(
        self,
        near: _Side,
        far: _Side,
        decayed_near: _Decayed,
        decayed: _Decayed,
        memories: Tensor,
        adjoints: Tensor,
        *,
        rows: bool,
        decay: bool,
    ) -> tuple[Tensor | None, Tensor, Tensor | None]:
        """The gradients of rows, columns and log-decay of one side, from the other and what is ``decayed`` of it."""
        t, reads = self.tiles, len(self.x.reads)
        tile, far_tile = (min(size, _power_of_two(side.size)) for size, side in ((t.near, near), (t.far, far)))
        tiles = -(-near.size // tile)
        dcolumns = self._new(near.columns.tensor, self.heads, near.size)
        drows = self._new(near.columns.tensor, reads * self.heads, near.size) if rows else dcolumns
        ddecay = dcolumns
        if decay:
            shape = (self.heads, near.size) if near.kind == 2 else (tiles * self.heads, 1)
            ddecay = self._new(near.columns.tensor, *shape, dtype=torch.float32)
        chunked_backward[(tiles * self.count * self._programs(),)](
            near.rows.role,
            near.columns.role,
            decayed.rows.role,
            decayed.columns.role,
            near.decay.role,
            place(drows).role,
            place(dcolumns).role,
            place(ddecay).role,
            self.reset,
            self.masks,
            decayed.scores,
            decayed_near.intervals,
            decayed_near.totals,
            decayed.intervals,
            decayed.totals,
            memories,
            adjoints,
            near.rows.batch,
            near.columns.batch,
            decayed.rows.batch,
            decayed.columns.batch,
            near.decay.batch,
            place(drows).batch,
            place(dcolumns).batch,
            place(ddecay).batch,
            near.stride,
            far.stride,
            self.steps,
            self.heads,
            X=near.size,
            Z=far.size,
            C=t.chunk,
            BX=tile,
            BZ=far_tile,
            READS=reads,
            NEAR=near.kind,
            FAR=far.kind,
            BEFORE=self.x.before,
            RESET=self.x.reset is not None,
            ROWS=rows,
            DECAY=decay,
            SPLIT=self.arithmetic.split,
            **self.arithmetic.options(),
            num_warps=t.backward_warps,
        )
        if decay and near.kind == 1:
            ddecay = ddecay.unflatten(2, (tiles, self.heads)).sum(2)
        return drows if rows else None, dcolumns, ddecay if decay else None


def _side(rows: Tensor, columns: Tensor, decay: Tensor | None, *, stride: int) -> _Side:
    return _Side(
        rows=place(rows),
        columns=place(columns),
        decay=place(columns if decay is None else decay),
        kind=0 if decay is None else 1 if decay.shape[-1] == 1 else 2,
        size=columns.shape[-1],
        stride=stride,
    )


def _power_of_two(size: int) -> int:
    """The smallest power of two that is not below ``size``, and what a tensor core takes at least."""
    return max(16, 1 << (size - 1).bit_length())


def _shape(x: Tensor | None) -> torch.Size:
    assert x is not None
    return x.shape
