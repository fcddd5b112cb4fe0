"""Elementwise algorithm: the memory step by step, a window of them at a time.

Serves everything diagonal: decays over K and V that are no product (rate × step), and e or s per channel. Two in-place
operations a step make the memories of a window; reads and gradients are then taken from all of them at once. The
adjoint is the same recurrence backwards: λ_{t-1} = o_t ∘ λ_t + s_{t-1} dy_{t-1}ᵀ.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from eos.engine.algorithm import AbstractAlgorithm, Gradients
from eos.engine.lower import Lowered


@dataclass(frozen=True)
class Elementwise(AbstractAlgorithm):
    """Has no sizes of its own: the window is the only one."""

    def forward(self, x: Lowered, memory: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        w = _Window(x)
        memories = w.memories(memory)
        seen = memories[:-1] if x.before else memories[1:]
        return tuple(_from_steps(_contract_key(seen, s)) for s in w.reads), memories[-1]

    def backward(
        self, x: Lowered, memory: Tensor, dys: tuple[Tensor, ...], dmemory: Tensor
    ) -> tuple[Gradients, Tensor]:
        w = _Window(x)
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

    ``change`` [S,b,h,K|1,V|1] is o − 1: a decay of −1e-4 nats, rounded as o = 0.9999, is 3e-8 off at every step, which
    thousands of steps add up; m + (o − 1) m keeps its digits, at the same cost. Where o is small, 1 + (o − 1) is as far
    off, which a gradient of a large step would see: it takes :meth:`decay`.
    """

    def __init__(self, x: Lowered) -> None:
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
        change = torch.expm1(self.log, out=total.new_empty(self.log.shape)).expand(self.i.shape[0], -1, -1, -1, -1)
        self.change = change if self.forget is None else torch.where(self.forget, -1.0, change)

    def decay(self) -> Tensor:
        """o itself [S|1,b,h,K|1,V|1]."""
        o = self.log.exp()
        return o if self.forget is None else torch.where(self.forget, 0.0, o)

    def memories(self, memory: Tensor) -> Tensor:
        """The memory before the first step and after every step [S+1,B,H,K,V]."""
        out = memory.new_empty(self.i.shape[0] + 1, *memory.shape)
        out[0] = memory
        # Views are made for a window at once: one a step costs as much as a step's own work.
        m, *later = out.unbind(0)
        writes = (_over_both(self.e).unbind(0), self.i[..., None, :].unbind(0))
        for after, change, e, i in zip(later, self.change.unbind(0), *writes, strict=True):
            torch.addcmul(m, m, change, out=after).addcmul_(e, i)
            m = after
        return out

    def adjoint(self, dys: list[Tensor], dmemory: Tensor) -> Tensor:
        """The gradient of the memory before the first step and after every step [S+1,B,H,K,V]."""
        out = dmemory.new_empty(self.i.shape[0] + 1, *dmemory.shape)
        out[-1] = dmemory
        *earlier, after = out.unbind(0)
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
