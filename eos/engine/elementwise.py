"""Elementwise algorithm: the memory step by step, a window of them at a time.

Serves everything diagonal: decays over K and V that are no product (rate × step), and e or s per channel. Two in-place
operations a step make the memories of a window; reads and gradients are then taken from all of them at once. The
adjoint is the same recurrence backwards: λ_{t-1} = o_t ∘ λ_t + s_{t-1} dy_{t-1}ᵀ. A small memory, whose steps cost no
more than their launches, is walked by chunks (:class:`_Chunks`).
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from eos.engine.algorithm import AbstractAlgorithm, Gradients
from eos.engine.lower import Lowered


@dataclass(frozen=True)
class Elementwise(AbstractAlgorithm):
    """Takes ``size`` steps together; 1 takes each by itself."""

    size: int

    def forward(self, x: Lowered, memory: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        w = _Window(x, self.size)
        memories = w.memories(memory)
        seen = memories[:-1] if x.before else memories[1:]
        return tuple(_from_steps(_contract_key(seen, s)) for s in w.reads), memories[-1]

    def backward(
        self, x: Lowered, memory: Tensor, dys: tuple[Tensor, ...], dmemory: Tensor
    ) -> tuple[Gradients, Tensor]:
        w = _Window(x, self.size)
        memories = w.memories(memory)
        step_dys = [_to_steps(dy) for dy in dys]
        adjoint = w.adjoint(step_dys, dmemory)
        seen = memories[:-1] if x.before else memories[1:]
        grow = adjoint[1:]
        over_key = over_value = over_both = None
        if any(t is not None and t.requires_grad for t in (x.over_key, x.over_value, x.over_both)):
            dlog = (memories[:-1] * grow).mul_(w.decay())
            over_key = _reduced(dlog.sum(-1), x.over_key)
            over_value = _reduced(dlog.sum(-2), x.over_value)
            over_both = _reduced(dlog, x.over_both)
        gradients = Gradients(
            input=_from_steps(_contract_key(grow, w.e)),
            expand=_from_steps(_contract_value(grow, w.i, x.expand)),
            reads=tuple(_from_steps(_contract_value(seen, dy, s)) for dy, s in zip(step_dys, x.reads, strict=True)),
            over_key=over_key,
            over_value=over_value,
            over_both=over_both,
        )
        return gradients, adjoint[0]


class _Window:
    """A window with time in front: i [S,B,H,V], e and reads [S,B,H,K] or [S,B,H,K,V].

    Steps take :attr:`change`, o − 1: a decay of −1e-4 nats, rounded as o = 0.9999, is 3e-8 off at every step, which
    thousands of steps add up; m + (o − 1) m keeps its digits, at the same cost. Where o is small, 1 + (o − 1) is as far
    off, which a gradient of a large step would see: it takes :meth:`decay`.
    """

    def __init__(self, x: Lowered, size: int) -> None:
        self.before = x.before
        self.i = _to_steps(x.input.detach())
        self.e = _to_steps(x.expand.detach())
        self.reads = [_to_steps(s.detach()) for s in x.reads]
        views = ((x.over_key, (..., None)), (x.over_value, (..., None, slice(None))), (x.over_both, (...,)))
        total: Tensor | None = None
        for log_decay, view in views:
            if log_decay is not None:
                part = log_decay.detach()[view]
                total = part if total is None else total + part
        total = x.input.new_zeros(1, 1, 1, 1, 1) if total is None else total
        self.log = total.movedim(1, 0)
        self.forget = None if x.reset is None else x.reset.T[..., None, None, None]
        self.chunks = _Chunks(self.log, self.forget, self.i.shape[0], size) if size > 1 else None

    @cached_property
    def change(self) -> Tensor:
        """o − 1 [S,b,h,K|1,V|1]."""
        change = torch.expm1(self.log).expand(self.i.shape[0], -1, -1, -1, -1)
        return change if self.forget is None else torch.where(self.forget, -1.0, change)

    def decay(self) -> Tensor:
        """o itself [S|1,b,h,K|1,V|1]."""
        o = self.log.exp()
        return o if self.forget is None else torch.where(self.forget, 0.0, o)

    def memories(self, memory: Tensor) -> Tensor:
        """The memory before the first step and after every step [S+1,B,H,K,V]."""
        if self.chunks is not None:
            return self.chunks.memories(self, memory)
        out = memory.new_empty(self.i.shape[0] + 1, *memory.shape)
        out[0] = memory
        # Views are made for a window at once: one a step costs as much as a step's own work.
        m, *later = list(out.unbind(0))
        writes = (_over_both(self.e).unbind(0), self.i[..., None, :].unbind(0))
        for after, change, e, i in zip(later, self.change.unbind(0), *writes, strict=True):
            torch.addcmul(m, m, change, out=after).addcmul_(e, i)
            m = after
        return out

    def adjoint(self, dys: list[Tensor], dmemory: Tensor) -> Tensor:
        """The gradient of the memory before the first step and after every step [S+1,B,H,K,V]."""
        if self.chunks is not None:
            return self.chunks.adjoint(self, dys, dmemory)
        out = dmemory.new_empty(self.i.shape[0] + 1, *dmemory.shape)
        out[-1] = dmemory
        *earlier, after = list(out.unbind(0))
        reads = [(_over_both(s).unbind(0), dy[..., None, :].unbind(0)) for s, dy in zip(self.reads, dys, strict=True)]
        changes = self.change.unbind(0)
        for t in reversed(range(len(earlier))):
            if not self.before:
                for s, dy in reads:
                    after.addcmul_(s[t], dy[t])
            after = torch.addcmul(after, after, changes[t], out=earlier[t])
            if self.before:
                for s, dy in reads:
                    after.addcmul_(s[t], dy[t])
        return out


class _Chunks:
    """Steps of a small memory in P chunks of Q: all chunks at once, step by step, then the memory from chunk to chunk.

    A step of a small memory costs what launching its operations costs; this takes Q + P of them a window, not P Q.
    """

    def __init__(self, log: Tensor, forget: Tensor | None, steps: int, inner: int) -> None:
        """Of log-decays [S|1,b,h,K|1,V|1], and where documents begin [S,b,1,1,1]."""
        self.inner, self.outer = inner, -(-steps // inner)
        self.size = self.outer * inner
        if forget is not None:
            log = torch.where(forget, -torch.inf, log)
        if log.shape[0] == 1:
            log = log.expand(inner, -1, -1, -1, -1).contiguous()
        elif self.size > steps:
            log = torch.cat([log, log.new_zeros(self.size - steps, *log.shape[1:])])
        self.log = log.unflatten(0, (-1, inner))
        self.decays = self.log.exp().unbind(1)

    def memories(self, w: _Window, memory: Tensor) -> Tensor:
        """As of a window."""
        steps = w.i.shape[0]
        out = memory.new_empty(self.size + 1, *memory.shape)
        out[0] = memory
        out[steps + 1 :] = 0
        torch.mul(_over_both(w.e), w.i[..., None, :], out=out[1 : steps + 1])
        self.walk(out[1:], memory)
        return out[: steps + 1]

    def adjoint(self, w: _Window, dys: list[Tensor], dmemory: Tensor) -> Tensor:
        """As of a window."""
        steps = w.i.shape[0]
        out = dmemory.new_zeros(self.size + 1, *dmemory.shape)
        seen = out[:steps] if w.before else out[1 : steps + 1]
        for s, dy in zip(w.reads, dys, strict=True):
            seen.addcmul_(_over_both(s), dy[..., None, :])
        out[steps] += dmemory
        self.walk(out[:-1], out[-1], reverse=True)
        return out[: steps + 1]

    def walk(self, out: Tensor, memory: Tensor, *, reverse: bool = False) -> None:
        """out_t += o_t ∘ out_{t−1} in place, of out [P Q,B,H,K,V] after ``memory``; or out_t += o_t ∘ out_{t+1}."""
        turn = -1 if reverse else 1
        order, chunks = range(self.inner)[::turn], out.unflatten(0, (self.outer, self.inner))
        log = torch.empty_like(self.log)  # summed step by step: cumsum takes ten times as long
        steps, logs, sums = chunks.unbind(1), self.log.unbind(1), log.unbind(1)
        sums[order[0]].copy_(logs[order[0]])
        for before, t in pairwise(order):
            steps[t].addcmul_(steps[before], self.decays[t])
            torch.add(sums[before], logs[t], out=sums[t])
        last = order[-1]
        changes = torch.expm1(sums[last]).expand(self.outer, -1, -1, -1, -1).unbind(0)
        decays = log.exp_().expand(self.outer, -1, -1, -1, -1, -1).unbind(0)
        for p in range(self.outer)[::turn]:
            after = torch.addcmul(memory, memory, changes[p]).add_(chunks[p, last])
            chunks[p].addcmul_(decays[p], memory)
            memory = after


def _over_both(x: Tensor) -> Tensor:
    """[S,B,H,K] or [S,B,H,K,V] → [S,B,H,K,V|1]."""
    return x if x.dim() == 5 else x[..., None]


def _to_steps(x: Tensor) -> Tensor:
    return x.movedim(1, 0).contiguous()


def _from_steps(x: Tensor) -> Tensor:
    return x.movedim(0, 1)


def _contract_key(memories: Tensor, s: Tensor) -> Tensor:
    """Σ_k m_kv s_k or Σ_k m_kv s_kv, [S,B,H,V]."""
    return (memories * s).sum(-2) if s.dim() == 5 else (s[..., None, :] @ memories).squeeze(-2)


def _contract_value(memories: Tensor, i: Tensor, like: Tensor) -> Tensor:
    """Σ_v m_kv i_v [S,B,H,K], or m_kv i_v [S,B,H,K,V] where ``like`` is per channel (and summed where it is shared)."""
    if like.dim() == 5:
        product = memories * i[..., None, :]
        return product if like.shape[-1] > 1 else product.sum(-1, keepdim=True)
    return (memories @ i[..., None]).squeeze(-1)


def _reduced(gradient: Tensor, like: Tensor | None) -> Tensor | None:
    return None if like is None else _from_steps(gradient).sum_to_size(like.shape)
