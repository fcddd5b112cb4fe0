"""Launches the kernels of records with an erase: a write whose inputs follow from the memory, and its adjoint read.

With w_t = b_tᵀ m_{t-1} the erase is a write a_t w_tᵀ beside e_t i_tᵀ. In the adjoint it is a read b_t beside the
others, whose output has the gradient ω_t = λ_tᵀ a_t. So the chunked kernels run it, with two columns and one row more;
what is new is solving for w and ω inside every chunk (eos.engine.triton.kernels.delta_solve).
"""

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from eos.engine.algorithm import Gradients
from eos.engine.lower import Lowered
from eos.engine.triton.chunked import Launch
from eos.engine.triton.kernels.delta_solve import delta_solve
from eos.engine.triton.role import Place, heads_in_a_row, place
from eos.engine.triton.segments import AbstractSegmented
from eos.engine.triton.sides import AbstractLaunch, Decayed, Erased, power_of_two, side_of
from eos.engine.triton.tiles import Tiles


class TritonDelta(AbstractSegmented):
    """Scores, solutions of every chunk, memories, and gradients by the kernels of chunks."""

    def launch(self, x: Lowered, segments: int = 1) -> AbstractLaunch:
        return _Delta(x, self.tiles, segments)


class _Delta(AbstractLaunch):
    """One window; rows are every s and b, columns e and a. ``segments`` as in :class:`Launch`.

    ``decayed``: what comes of e and a, where another launch has made it for the same rows and columns.
    """

    def __init__(
        self, x: Lowered, tiles: Tiles, segments: int = 1, *, decayed: tuple[Decayed, Decayed] | None = None
    ) -> None:
        assert x.erase is not None
        a, b = x.erase
        self.x, self.tiles, self.reads, self.launch = x, tiles, len(x.reads), Launch(x, tiles, segments)
        rows = heads_in_a_row((*x.reads, b))
        over_key = torch.zeros(1, 1, 1, 1, device=a.device) if x.over_key is None else x.over_key
        self.write, self.second = (
            side_of(rows, columns, over_key, stride=self.launch.value) for columns in (x.expand, a)
        )
        self.writes, self.seconds = decayed or (
            self.launch.decayed(self.write, self.reads + 1),
            self.launch.decayed(self.second, self.reads + 1),
        )
        self.erased = self.launch.new(x.input, self.launch.heads, self.launch.value)

    def forward(self, memory: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """The reads [B,S,H,V] and the memory after the window."""
        out = self.launch.new(self.x.input, self.reads * self.launch.heads, self.launch.value)
        after, _ = self.carried(self._starts(memory, out), out, reads=self.reads)
        return out.unflatten(2, (self.reads, self.launch.heads)).unbind(2), self.launch.ends(after, reverse=False)

    def _starts(self, memory: Tensor, rows: Tensor) -> Tensor:
        """The memory before every segment, from that before the first."""
        if self.launch.segments == 1:
            return memory
        written, _ = self.carried(self.launch.empty(memory), rows)
        return self.launch.chained(memory, written, self._passed, reverse=False)

    @cached_property
    def _passed(self) -> Tensor:
        """What a segment makes of the memory before it, as a matrix [B n, H, K, K]: of one that is the identity."""
        key = self.launch.key
        nothing = self.x.input.new_zeros(1, 1, 1, 1).expand(*self.x.input.shape[:3], key)
        alone = _Delta(replace(self.x, input=nothing), self.tiles, decayed=(self.writes, self.seconds))
        every = torch.eye(key, device=nothing.device).expand(self.launch.batch, self.launch.heads, key, key)
        return alone.carried(every, nothing)[0]

    def carried(self, memory: Tensor, rows: Tensor, *, reads: int = 0, store: bool = False) -> tuple[Tensor, Tensor]:
        """The memory after the window and, where stored, what every chunk finds; w goes to ``erased``."""
        b = self._last(self.writes.rows.tensor)
        solution = self._solved(place(b), place(self.x.input), self.writes.last_scores, reads=1, adjoint=False)
        erased = Erased(columns=self.seconds.columns, scores=self.seconds.scores, out=place(self.erased), **solution)
        v = side_of(rows, self.x.input, None, stride=1)
        far = self.launch.decayed(v, 0)
        return self.launch.carry(memory, self.write, v, self.writes, far, reads=reads, store=store, erased=erased)

    def backward(self, memory: Tensor, dys: tuple[Tensor, ...], dmemory: Tensor) -> tuple[Gradients, Tensor]:
        """Memories forward, their gradients in reverse, then those of rows and columns."""
        x = self.x
        given = heads_in_a_row(tuple(d.to(x.input.dtype) for d in dys))
        _, memories = self.carried(self._starts(memory, given), given, store=True)
        dy = torch.cat([given, torch.empty_like(self.erased)], 2)
        solution = self._solved(self.seconds.columns, place(dy), self.seconds.scores, reads=self.reads, adjoint=True)
        back = Erased(
            columns=place(self._last(self.writes.rows.tensor)),
            scores=self.seconds.scores,
            out=place(self._last(dy)),
            **solution,
        )
        v, w = (side_of(dy, inputs, None, stride=1) for inputs in (x.input, self.erased))
        far, far_erased = self.launch.decayed(v, 0), self.launch.decayed(w, 0)
        if self.launch.segments > 1:
            empty = self.launch.empty(dmemory)
            written, _ = self.launch.carry(empty, self.write, v, self.writes, far, reverse=True, erased=back)
            dmemory = self.launch.chained(dmemory, written, self._passed.mT, reverse=True)
        dbefore, adjoints = self.launch.carry(
            dmemory, self.write, v, self.writes, far, store=True, reverse=True, erased=back
        )
        decay = x.over_key is not None and x.over_key.requires_grad
        drows, dexpand, dkey = self.launch.gradients(
            self.write, v, self.writes, far, memories, adjoints, rows=True, decay=decay
        )
        assert drows is not None
        _, derase, _ = self.launch.gradients(
            self.second, w, self.seconds, far_erased, memories, adjoints, rows=True, decay=decay, added=(drows, dkey)
        )
        _, dinput, _ = self.launch.gradients(
            v, self.write, far, self.writes, memories, adjoints, rows=False, decay=False
        )
        *dreads, db = drows.to(x.input.dtype).unflatten(2, (self.reads + 1, self.launch.heads)).unbind(2)
        return (
            Gradients(
                input=dinput,
                expand=dexpand,
                reads=tuple(dreads),
                over_key=None if dkey is None else self.launch.summed(dkey, x.over_key),
                erase=(derase, db),
            ),
            self.launch.ends(dbefore, reverse=True),
        )

    def _last(self, rows: Tensor) -> Tensor:
        """The rows of the erase, b or ω, among all."""
        return rows[:, :, self.reads * self.launch.heads :]

    def _solved(self, rows: Place, inputs: Place, scores: Tensor, *, reads: int, adjoint: bool) -> dict[str, Place]:
        """What w, or in the adjoint ω, is made of: a factor of the memory, and what it is without one."""
        solved = place(self.launch.new(rows.tensor, self.launch.heads, self.launch.key))
        own = place(self.launch.new(self.x.input, self.launch.heads, self.launch.value))
        options = self.launch.arithmetic.options()
        delta_solve[(self.launch.count * self.launch.programs(),)](
            self.seconds.last_scores,
            scores,
            rows.role,
            inputs.role,
            solved.role,
            own.role,
            rows.batch,
            inputs.batch,
            solved.batch,
            own.batch,
            self.launch.steps,
            self.launch.heads,
            K=self.launch.key,
            V=self.launch.value,
            C=self.tiles.chunk,
            BK=min(self.tiles.far, power_of_two(self.launch.key)),
            BV=min(self.tiles.far, power_of_two(self.launch.value)),
            READS=reads,
            ADJOINT=adjoint,
            EXACT=self.launch.arithmetic.exact,
            **options,
            num_warps=self.tiles.scores_warps,
        )
        return {"solved": solved, "inputs": own}
