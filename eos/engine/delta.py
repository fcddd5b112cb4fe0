"""Delta algorithm: chunks with an erase, whose writes depend on the memory, solved by one triangular system a chunk.

With w_t = b_tᵀ m_{t-1} the erase is a write a_t w_tᵀ, so inside a chunk, with m the memory before it and decays of
intervals as in eos.engine.intervals (b reads before its step),

    (I − (b·a)) w = b m + (b·e) i          the UT transform: unit lower triangular
    y = s m + (s·a) w + (s·e) i
    m' = o ∘ m + aᵀ w + eᵀ i  =  (o + aᵀ T b) m + (aᵀ T (b·e) + eᵀ) i,   T = (I − (b·a))⁻¹

so that between chunks only one K × K product is sequential. Decays over K that are mild are a change of frame, in which
nothing decays (eos.engine.framed). The gradients of s, e, i, a, b come from autograd, with the
products of decays as constants; that of a log-decay is, as for any record,

    d log o_t = Σ_{r ≥ t} (s ∘ ds − e ∘ de − a ∘ da)_r + (b ∘ db)_{r+1}  +  Σ_v m ∘ dm at the chunk's end
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import torch
from torch import Tensor

from eos.engine.algorithm import AbstractAlgorithm, Gradients
from eos.engine.chunks import Chunks, decay_gradient, one_step_earlier
from eos.engine.framed import Side, looks, summed
from eos.engine.intervals import HeadIntervals, Intervals, blocks, left_half, levels, right_half
from eos.engine.lower import Lowered

_Intervals: TypeAlias = Intervals | HeadIntervals
_Scores: TypeAlias = tuple[list[list[Tensor]], _Intervals, _Intervals]


@dataclass(frozen=True)
class Delta(AbstractAlgorithm):
    """Chunks of ``size`` steps, a power of two."""

    size: int = 64

    def forward(self, x: Lowered, memory: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        w = _Window(x, self.size)
        ys, memories = w.run(w.joined(memory, 0))
        return tuple(map(w.chunks.join, ys)), memories[-1]

    def backward(
        self, x: Lowered, memory: Tensor, dys: tuple[Tensor, ...], dmemory: Tensor
    ) -> tuple[Gradients, Tensor]:
        w = _Window(x, self.size)
        leaves = [tensor.requires_grad_() for tensor in (w.i, w.e, w.a, w.b, *w.reads)]
        with torch.enable_grad():
            ys, memories = w.run(w.joined(memory.detach(), 0).requires_grad_())
        split_dys = [w.chunks.split(dy) for dy in dys]
        grads = torch.autograd.grad([*ys, memories[-1]], [*leaves, *memories], [*split_dys, dmemory])
        (di, de, da, db), dreads = grads[:4], grads[4 : len(leaves)]
        dmemories = grads[len(leaves) :]
        over_key = None
        with torch.no_grad():
            if x.over_key is not None and x.over_key.requires_grad:
                reads = torch.stack([s * ds for s, ds in zip(w.reads, dreads, strict=True)]).sum(0)
                reads = (one_step_earlier(reads) if x.before else reads) + one_step_earlier(w.b * db)
                ends = torch.stack([(m * dm).sum(-1) for m, dm in zip(memories[1:], dmemories[1:], strict=True)], 2)
                over_key = decay_gradient(w.chunks, x, x.over_key, reads, w.e * de + w.a * da, ends)
        join = w.chunks.join
        gradients = Gradients(
            input=join(di),
            expand=join(w.column(de)),
            reads=tuple(join(w.row(ds, before=x.before)) for ds in dreads),
            over_key=over_key,
            erase=(join(w.column(da)), join(w.row(db, before=True))),
        )
        return gradients, w.joined(dmemories[0], 0)


class _Window:
    """A window in chunks [B,H,N,C,K|V] and the products of its decays, which carry no graph.

    ``side`` is the frame of mild decays over K, in which rows and columns are then, and ``log_decay`` zero; or None.
    """

    def __init__(self, x: Lowered, size: int) -> None:
        assert x.erase is not None
        self.chunks = Chunks.of(x, size)
        self.before = x.before
        over_key = x.input.new_zeros(1, 1, 1, 1) if x.over_key is None else x.over_key.detach()
        self.side = None
        if over_key.shape[-1] > 1 and looks(x.input):
            reset = None if x.reset is None else self.chunks.split_reset(x.reset)
            mild = summed(self.chunks, [self.chunks.view(over_key.expand(-1, self.chunks.steps, -1, -1))], reset)
            if mild is not None:
                self.chunks, (sums,) = mild
                assert sums is not None
                self.side = Side.of(sums, x.input.dtype, before=True)
                over_key = x.input.new_zeros(1, 1, 1, 1)
        split = self.chunks.split
        self.i = split(x.input.detach())
        self.e, self.a = (self.column(split(tensor.detach())) for tensor in (x.expand, x.erase[0]))
        self.reads = [self.row(split(s.detach()), before=x.before) for s in x.reads]
        self.b = self.row(split(x.erase[1].detach()), before=True)
        self.log_decay = self.chunks.split_decay(over_key, whole=x.reset is not None)
        self.forget = None if x.reset is None else self.chunks.split_reset(x.reset)

    def row(self, x: Tensor, *, before: bool) -> Tensor:
        """A read in the frame; or the gradient of one out of it."""
        return x if self.side is None else x * (self.side.rows if before else self.side.columns)

    def column(self, x: Tensor) -> Tensor:
        """A write in the frame; or the gradient of one out of it."""
        return x if self.side is None else x / self.side.columns

    @cached_property
    def joins(self) -> tuple[Tensor, ...] | None:
        """What the memory is multiplied by before every chunk and after the last [1|B,1|H,K,1]."""
        return None if self.side is None else self.side.log_join.exp().to(self.i.dtype)[..., None].unbind(2)

    def joined(self, memory: Tensor, n: int) -> Tensor:
        """The memory after n chunks, in the frame of the next."""
        return memory if self.joins is None else memory * self.joins[n]

    def run(self, memory: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The reads in chunks, and the memory before every chunk and after the last, in its frame."""
        rows = [*self.reads, self.b]
        scores, after, before = self._scores(rows, [self.a, self.e])
        erased, writing = scores[-1]
        rhs = torch.cat([self.b * before.right, writing @ self.i], -1)
        identity = torch.eye(self.chunks.size, dtype=rhs.dtype, device=rhs.device)
        solved = torch.linalg.solve_triangular(identity - erased, rhs, upper=False, unitriangular=True)
        per_memory, own = solved.split([self.b.shape[-1], self.i.shape[-1]], -1)
        a_left, e_left = (self.a * after.left).mT, (self.e * after.left).mT
        total = after.total.squeeze(-2).expand(*self.a.shape[:3], self.a.shape[-1])
        carry = a_left @ per_memory + torch.diag_embed(total)
        writes = a_left @ own + e_left @ self.i
        memories = [memory]
        for n, (kept, written) in enumerate(zip(carry.unbind(2), writes.unbind(2), strict=True), 1):
            memories.append(self.joined(kept @ memories[-1] + written, n))
        starts = torch.stack(memories[:-1], 2)
        w = per_memory @ starts + own
        right = before.right if self.before else after.right
        ys = [
            (s * right) @ starts + erasing @ w + writing @ self.i
            for s, (erasing, writing) in zip(self.reads, scores[:-1], strict=True)
        ]
        return ys, memories

    def _scores(self, rows: list[Tensor], columns: list[Tensor]) -> _Scores:
        """Decayed products [B,H,N,C,C] of every row with every column, and the intervals of reads after and before.

        The last row, b, reads before its step.
        """
        befores = [self.before] * (len(rows) - 1) + [True]
        if self.log_decay.shape[-1] == 1:
            whole, earlier = (
                HeadIntervals.of_decay(self.log_decay, self.forget, before=flag) for flag in (False, True)
            )
            matrices = [earlier.matrix if flag else whole.matrix for flag in befores]
            return [[(r @ c.mT) * d for c in columns] for r, d in zip(rows, matrices, strict=True)], whole, earlier
        after, before = (Intervals(self.log_decay, self.forget, before=flag) for flag in (False, True))
        scores = [[self._diagonal(r, c, flag) for c in columns] for r, flag in zip(rows, befores, strict=True)]
        for h in levels(self.chunks.size):
            late, left = (half.clone() for half in after.halves(h))
            early = before.halves(h)[0].clone()
            lefts = [left_half(c, h) * left for c in columns]
            for r, flag, row_scores in zip(rows, befores, scores, strict=True):
                right = right_half(r, h) * (early if flag else late)
                for score, column in zip(row_scores, lefts, strict=True):
                    blocks(score, h).copy_(right @ column.mT)
            after.double(h)
            before.double(h)
        return scores, after, before

    def _diagonal(self, row: Tensor, column: Tensor, before: bool) -> Tensor:
        """A row's product with its own step, as the diagonal of an otherwise empty matrix; none if it reads before."""
        return torch.diag_embed((row * column).sum(-1) * (0.0 if before else 1.0))
