"""Launches the chunked kernels on one window."""

from dataclasses import replace

import torch
from torch import Tensor

from eos.engine.algorithm import Gradients
from eos.engine.lower import Lowered
from eos.engine.triton.kernels.chunked_backward import chunked_backward
from eos.engine.triton.kernels.chunked_forward import chunked_forward
from eos.engine.triton.kernels.chunked_scores import chunked_scores
from eos.engine.triton.kernels.intervals import VECTORS
from eos.engine.triton.masks import masks
from eos.engine.triton.role import Arithmetic, arithmetic, heads_in_a_row, place
from eos.engine.triton.sides import AbstractLaunch, Decayed, Erased, Side, bias_gradient, power_of_two, side_of
from eos.engine.triton.tiles import Tiles


class Launch(AbstractLaunch):
    """One window: e [B,S,H,K], i [B,S,H,V], every s, and the decays, as the kernels want them.

    With ``segments`` n > 1 so many rows of the batch follow each other in time, [B n,S,…], and memories are [B,H,K,V].
    """

    def __init__(self, x: Lowered, tiles: Tiles, segments: int = 1) -> None:
        self.x, self.tiles, self.segments = x, tiles, segments
        self.batch, self.steps, self.heads, self.value = x.input.shape
        self.key = x.expand.shape[-1]
        self.count = -(-self.steps // tiles.chunk)
        self.arithmetic: Arithmetic = arithmetic(x)
        self.reads = heads_in_a_row(x.reads)
        self.reset = x.input if x.reset is None else x.reset.contiguous().view(torch.uint8)
        self.erase = x.erase is not None
        befores = (x.before, True) if self.erase else (x.before,)
        self.masks = masks(tiles.chunk, befores, x.input.device)

    def forward(self, memory: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        reads = len(self.x.reads)
        out = self.new(self.x.input, reads * self.heads, self.value)
        k, v = self._key(), self._value(out)
        ks, vs = self.decayed(k, reads), self.decayed(v, 0)
        before = self._starts(memory, k, v, ks, vs, reverse=False)
        after, _ = self.carry(before, k, v, ks, vs, reads=reads)
        return out.unflatten(2, (reads, self.heads)).unbind(2), self.ends(after, reverse=False)

    def backward(self, memory: Tensor, dys: tuple[Tensor, ...], dmemory: Tensor) -> tuple[Gradients, Tensor]:
        x, reads = self.x, len(self.x.reads)
        over_key, over_value = (
            any(t is not None and t.requires_grad for t in pair)
            for pair in ((x.over_key, x.inside.key), (x.over_value, x.inside.value))
        )
        dy = heads_in_a_row(tuple(d.to(x.input.dtype) for d in dys))
        k, v = self._key(), self._value(dy)
        ks, vs = self.decayed(k, reads), self.decayed(v, reads)
        before = self._starts(memory, k, v, ks, vs, reverse=False)
        _, memories = self.carry(before, k, v, ks, vs, store=True)
        dafter = self._starts(dmemory, k, v, ks, vs, reverse=True)
        dbefore, adjoints = self.carry(dafter, k, v, ks, vs, store=True, reverse=True)
        dreads, dexpand, dkey = self.gradients(k, v, ks, vs, memories, adjoints, rows=True, decay=over_key)
        _, dinput, dvalue = self.gradients(v, k, vs, ks, memories, adjoints, rows=False, decay=over_value)
        assert dreads is not None
        return (
            Gradients(
                input=dinput,
                expand=dexpand,
                reads=dreads.unflatten(2, (reads, self.heads)).unbind(2),
                over_key=None if dkey is None else self.summed(dkey, x.over_key),
                over_value=None if dvalue is None else self.summed(dvalue, x.over_value),
                biases=(bias_gradient(dkey, x.inside.key), bias_gradient(dvalue, x.inside.value), None),
            ),
            self.ends(dbefore, reverse=True),
        )

    def _starts(self, memory: Tensor, k: Side, v: Side, ks: "Decayed", vs: "Decayed", *, reverse: bool) -> Tensor:
        """The memory before every segment, from that before the first; in reverse its gradient after every segment.

        A first sweep runs every segment from an empty memory, all at once; what a segment makes of the memory before
        it is decays alone.
        """
        if self.segments == 1:
            return memory
        written, _ = self.carry(self.empty(memory), k, v, ks, vs, reverse=reverse)
        return self.chained(memory, written, self._kept(k, v, ks, vs), reverse=reverse)

    def empty(self, memory: Tensor) -> Tensor:
        """An empty memory for every segment."""
        return memory.new_zeros(self.batch, *memory.shape[1:])

    def chained(self, memory: Tensor, written: Tensor, passed: Tensor, *, reverse: bool) -> Tensor:
        """The memory before every segment [B n,H,K,V], from what each writes and what it makes of the one before it:
        decays [B n,H,K|1,V|1], or where a segment erases a matrix [B n,H,K,K].
        """
        passed, written = (x.unflatten(0, (-1, self.segments)) for x in (passed, written))
        found, order = [memory], range(self.segments)
        for segment in reversed(order[1:]) if reverse else order[:-1]:
            kept = passed[:, segment] @ found[-1] if self.erase else passed[:, segment] * found[-1]
            found.append(kept + written[:, segment])
        return torch.stack(found[::-1] if reverse else found, 1).flatten(0, 1)

    def ends(self, memories: Tensor, *, reverse: bool) -> Tensor:
        """That of the last segment in the direction of a sweep."""
        last: Tensor = memories.unflatten(0, (-1, self.segments))[:, 0 if reverse else -1]
        return last

    def _kept(self, k: Side, v: Side, ks: "Decayed", vs: "Decayed") -> Tensor:
        """What decays and resets leave of a memory over all chunks of a row, [B n, H, K|1, V|1]."""
        kept = torch.ones(self.batch, self.heads, 1, 1, device=self.reads.device)
        for side, decayed, shape in ((k, ks, (-1, 1)), (v, vs, (1, -1))):
            if side.kind:
                kept = kept * decayed.totals.prod(1).reshape(self.batch, self.heads, *shape)
        return kept

    def _key(self) -> Side:
        over_key = self.x.over_key
        if over_key is None and self.x.reset is not None:  # a reset is a decay, of one number a head
            over_key = torch.zeros(1, 1, 1, 1, device=self.reads.device)
        side, inside = side_of(self.reads, self.x.expand, over_key, stride=self.value), self.x.inside
        return replace(
            side,
            bias=self._bias(inside.key, self.key),
            tau=inside.key_tau,
            gate=inside.gate == "key",
            rows_silu=inside.reads,
            columns_silu=inside.expand,
        )

    def _value(self, rows: Tensor) -> Side:
        side, inside = side_of(rows, self.x.input, self.x.over_value, stride=1), self.x.inside
        bias = self._bias(inside.value, self.value)
        return replace(side, bias=bias, tau=inside.value_tau, gate=inside.gate == "value")

    def _bias(self, bias: Tensor | None, size: int) -> Tensor | None:
        """[H, X] in float32, row by row."""
        return None if bias is None else bias.detach().float().expand(self.heads, size).contiguous()

    def new(self, like: Tensor, heads: int, size: int, dtype: torch.dtype | None = None) -> Tensor:
        return like.new_empty(self.batch, self.steps, heads, size, dtype=dtype)

    def summed(self, gradient: Tensor, decay: Tensor | None) -> Tensor:
        """The gradient of a log-decay [B,T,H,X], or [B,T,tiles·H,1] by tiles, in its shape."""
        assert decay is not None
        if gradient.shape[2] != self.heads:
            gradient = gradient.unflatten(2, (-1, self.heads)).sum(2)
        return gradient.sum_to_size(decay.shape)

    def programs(self) -> int:
        return self.batch * self.heads

    def decayed(self, side: Side, reads: int) -> Decayed:
        """What decays of a side ask for inside chunks."""
        columns, size = side.columns.tensor, self.tiles.chunk
        scores = last_scores = intervals = totals = columns
        rows_out, columns_out = side.rows, side.columns
        if side.kind == 0:
            return Decayed(side.rows, side.columns, scores, last_scores, intervals, totals, 0)
        chunks = (self.programs(), self.count)
        met = 2 if self.erase else side.kind
        if side.kind == 1:
            intervals = columns.new_empty(*chunks, VECTORS.value, size, dtype=torch.float32)
            totals = columns.new_empty(*chunks, dtype=torch.float32)
        if met == 2:
            scores = columns.new_empty(reads, *chunks, size, size)
            if self.erase:
                last_scores = columns.new_empty(*chunks, size, size, dtype=torch.float32)
            totals = columns.new_empty(*chunks, side.size, dtype=torch.float32)
            rows_out = place(self.new(columns, reads * self.heads, side.size)) if reads else side.rows
            columns_out = place(self.new(columns, self.heads, side.size))
        chunked_scores[(self.count * self.programs(),)](
            side.rows.role,
            side.columns.role,
            side.decay.role,
            totals if side.bias is None else side.bias,
            rows_out.role,
            columns_out.role,
            self.reset,
            self.masks,
            scores,
            last_scores,
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
            BX=min(self.tiles.scores, power_of_two(side.size)),
            READS=reads,
            KIND=side.kind,
            BEFORE=self.x.before,
            ERASE=self.erase,
            RESET=self.x.reset is not None,
            ROWS_SILU=side.rows_silu,
            COLUMNS_SILU=side.columns_silu,
            **side.link(),
            **self.arithmetic.options(),
            num_warps=self.tiles.scores_warps if met == 2 else 1,
        )
        return Decayed(rows_out, columns_out, scores, last_scores, intervals, totals, met)

    def carry(
        self,
        memory: Tensor,
        k: Side,
        v: Side,
        decayed_key: Decayed,
        decayed_value: Decayed,
        *,
        reads: int = 0,
        store: bool = False,
        reverse: bool = False,
        erased: Erased | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The memory after the last chunk and, where stored, what every chunk finds; with reads, v.rows are written."""
        t = self.tiles
        memory = memory.contiguous()
        after = torch.empty_like(memory)
        kept = after
        if store:
            kept = self.x.input.new_empty(self.programs(), self.count, self.key, self.value)
        columns, inputs = (side.rows if reverse else side.columns for side in (decayed_key, decayed_value))
        second, solved, solved_inputs, erasing = [columns] * 4
        if erased is not None:
            second, solved, solved_inputs, erasing = erased.columns, erased.solved, erased.inputs, erased.out
        tile = min(t.value, power_of_two(self.value))
        chunked_forward[(-(-self.value // tile) * self.programs(),)](
            decayed_key.rows.role,
            columns.role,
            inputs.role,
            v.columns.role,
            v.decay.role,
            memory if v.bias is None else v.bias,
            v.rows.role,
            second.role,
            solved.role,
            solved_inputs.role,
            erasing.role,
            self.masks,
            decayed_key.scores,
            decayed_key.scores if erased is None else erased.scores,
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
            second.batch,
            solved.batch,
            solved_inputs.batch,
            erasing.batch,
            self.steps,
            self.heads,
            K=self.key,
            V=self.value,
            C=t.chunk,
            BK=power_of_two(self.key),
            BV=tile,
            READS=reads,
            WRITES=len(self.x.reads) if reverse else 1,
            KEY=decayed_key.kind,
            VALUE=decayed_value.kind,
            BEFORE=self.x.before,
            ERASE=self.erase,
            RESET=self.x.reset is not None,
            STORE=store,
            REVERSE=reverse,
            **v.link(),
            **self.arithmetic.options(),
            num_warps=t.forward_warps,
            num_stages=t.stages,
        )
        return after, kept

    def gradients(
        self,
        near: Side,
        far: Side,
        decayed_near: Decayed,
        decayed: Decayed,
        memories: Tensor,
        adjoints: Tensor,
        *,
        rows: bool,
        decay: bool,
        added: tuple[Tensor, Tensor | None] | None = None,
    ) -> tuple[Tensor | None, Tensor, Tensor | None]:
        """The gradients of rows, columns and log-decay of one side, from the other and what is ``decayed`` of it.

        Those of rows and log-decay are added to ``added``, from a launch of other columns.
        """
        t, reads = self.tiles, len(self.x.reads) + self.erase
        tile, far_tile = (min(size, power_of_two(side.size)) for size, side in ((t.near, near), (t.far, far)))
        tiles = -(-near.size // tile)
        dcolumns = self.new(near.columns.tensor, self.heads, near.size)
        drows, ddecay = dcolumns, dcolumns
        if added is not None:
            drows, ddecay = added[0], added[1] if added[1] is not None else dcolumns
        elif rows:  # what is added to has the digits for it
            dtype = torch.float32 if self.erase else None
            drows = self.new(near.columns.tensor, reads * self.heads, near.size, dtype=dtype)
        if decay and added is None:
            shape = (self.heads, near.size) if near.kind == 2 else (tiles * self.heads, 1)
            # as wide as the pre-activation, whose gradient it is where there is one
            dtype = torch.float32 if near.bias is None else near.decay.tensor.dtype
            ddecay = self.new(near.columns.tensor, *shape, dtype=dtype)
        chunked_backward[(tiles * self.count * self.programs(),)](
            near.rows.role,
            near.columns.role,
            decayed.rows.role,
            decayed.columns.role,
            near.decay.role,
            memories if near.bias is None else near.bias,
            place(drows).role,
            place(dcolumns).role,
            place(ddecay).role,
            self.reset,
            self.masks,
            decayed.scores,
            decayed_near.intervals,
            decayed_near.totals if decayed_near.kind == near.kind else decayed_near.totals[..., 0].contiguous(),
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
            FAR=decayed.kind,
            BEFORE=self.x.before,
            ERASE=self.erase,
            ADD=added is not None,
            RESET=self.x.reset is not None,
            ROWS=rows,
            DECAY=decay,
            SPLIT=self.arithmetic.split,
            ROWS_SILU=near.rows_silu,
            COLUMNS_SILU=near.columns_silu,
            **near.link(),
            **self.arithmetic.options(),
            num_warps=t.backward_warps,
        )
        return drows if rows else None, dcolumns, ddecay if decay else None
