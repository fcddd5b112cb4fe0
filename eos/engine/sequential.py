"""The executable specification: a recurrence one step at a time, exactly as the equations are written.

Serves every record in every dtype, with autograd; one token of decoding is this loop with T = 1. Every other algorithm
is tested against it in float64.
"""

from typing import Any

import torch
from torch import Tensor

from eos.engine.state import EMPTY_LOG_SCALE, memory_before, state_dtype
from eos.record import LOG_FLOOR, Memory, Recurrence, Transition
from eos.rotation import rotate


def sequential(record: Recurrence) -> tuple[tuple[Tensor, ...], Memory, Tensor | None]:
    """Run a recurrence step by step.

        m_t = o_t ∘ R(phase_t) m_{t-1} + a_t (b_tᵀ m_{t-1}) + (gate_t ∘ e_t) i_tᵀ ;  y_t = m_tᵀ s_t

    Returns:
        The reads, each [B,T,H,V]; the memory after the last step; M at every step [B,T,H,K|1], where there is one.
    """
    sizes, transition, n = record.sizes, record.transition, record.substeps
    dtype = state_dtype(record)
    memory = memory_before(record)
    m, scale = memory.value, memory.log_scale

    length, steps = sizes["T"], sizes["T"] * n
    heads = sizes["H"]
    i = _over_time(None if record.input is None else record.input.to(dtype), steps)
    e = _over_time(_to_heads(record.expand.to(dtype), heads), steps)
    reads = [_over_time(_to_heads(s.to(dtype), heads), length) for s in record.reads]
    decay = _over_time(log_decay(transition, sizes["K"], dtype), length)
    angle = _over_time(phase(transition, dtype), length)
    gate = _over_time(None if transition.gate is None else transition.gate.to(dtype), steps)
    log_gate = _over_time(None if transition.log_gate is None else transition.log_gate.to(dtype), steps)
    a, b = [_over_time(x.to(dtype), steps) for x in transition.erase] if transition.erase else [[None] * steps] * 2
    reset = _over_time(record.reset, length)

    outputs: list[list[Tensor]] = [[] for _ in reads]
    scales: list[Tensor] = []
    for t in range(length):
        if reset[t] is not None:
            keep = ~reset[t][:, None, None, None]
            m = torch.where(keep, m, 0.0)
            scale = None if scale is None else torch.where(keep[..., 0], scale, EMPTY_LOG_SCALE)
        if record.read == "before":
            for y, s in zip(outputs, reads, strict=True):
                y.append(_read(m, s[t]))
        for u in range(t * n, t * n + n):
            first = u == t * n
            log_o = decay[t] if first else None
            before = m
            write = e[u] if e[u].dim() == 4 else e[u][..., None]
            if log_gate[u] is not None:
                log_o, gated, scale = _normalise(log_o, log_gate[u], scale, transition)
                write = write * _tied(gated, sizes["K"])[..., None]
            if first and angle[t] is not None:
                m = turn_memory(m, angle[t])
            if log_o is not None:
                m = m * _tied(log_o.clamp(min=LOG_FLOOR).exp(), sizes["K"], axis=2)
            if a[u] is not None:
                m = m + torch.einsum("bhk,bhj,bhjv->bhkv", a[u], b[u], before)
            if gate[u] is not None:
                write = write * gate[u]
            m = m + (write if i[u] is None else write * i[u][:, :, None, :])
        if scale is not None:
            scales.append(scale)
        if record.read == "after":
            for y, s in zip(outputs, reads, strict=True):
                y.append(_read(m, s[t]))
    trace = torch.stack(scales, 1) if scales else None
    return tuple(torch.stack(y, 1) for y in outputs), Memory(value=m.contiguous(), log_scale=scale), trace


def log_decay(transition: Transition, key_size: int, dtype: torch.dtype) -> Tensor | None:
    """The sum of a transition's log-decays [B,T,H,P|1,V|1] in nats, not floored yet; None where there are none."""
    total: Tensor | None = None
    for part, view in ((transition.head, (..., None, None)), (transition.key, (..., None))):
        if part is not None:
            total = part.to(dtype)[view] if total is None else total + part.to(dtype)[view]
    if transition.value is not None:
        value = transition.value.to(dtype)[..., None, :]
        total = value if total is None else total + value
    for rate, _, step in transition.terms:
        if rate is not None:
            product = rate.to(dtype) * step.to(dtype)
            if transition.link == "log_sigmoid":
                product = torch.nn.functional.logsigmoid(product) / transition.tau
            total = product if total is None else total + product
    return total


def phase(transition: Transition, dtype: torch.dtype) -> Tensor | None:
    """The sum of a transition's phases, [B,T,H,K/2] or [B,T,H,K/2,V] radians; None where there are none."""
    total = None if transition.phase is None else transition.phase.to(dtype)
    for _, phase_rate, step in transition.terms:
        if phase_rate is not None:
            if total is not None and total.dim() == 4:
                total = total[..., None]
            product = phase_rate.to(dtype) * step.to(dtype)
            total = product if total is None else total + product
    return total


def next_scale(log_o: Tensor | None, log_gate: Tensor, scale: Tensor, stabilise: str | None) -> tuple[Tensor, Tensor]:
    """x = log o_t + M_{t-1} and M_t = logaddexp(x, log_gate) or max(x, log_gate)."""
    carried = scale if log_o is None else log_o + scale
    grow = torch.logaddexp if stabilise == "sum" else torch.maximum
    return carried, grow(carried, log_gate)


def normalised(carried: Tensor, log_gate: Tensor, stabilise: str | None) -> tuple[Tensor, Tensor]:
    """log o_t + M_{t-1} − M_t and exp(log_gate_t − M_t), without subtracting M_t (it would lose their digits)."""
    if stabilise == "sum":
        return -torch.nn.functional.softplus(log_gate - carried), torch.sigmoid(log_gate - carried)
    return -torch.relu(log_gate - carried), torch.exp(-torch.relu(carried - log_gate).clamp(max=-LOG_FLOOR))


def _normalise(
    log_o: Tensor | None, log_gate: Tensor, scale: Tensor | None, transition: Transition
) -> tuple[Tensor, Tensor, Tensor]:
    assert scale is not None
    log_o = None if log_o is None else log_o[..., 0]
    carried, scale = next_scale(log_o, log_gate, scale, transition.stabilise)
    log_o, gated = normalised(carried, log_gate, transition.stabilise)
    return log_o[..., None], gated, scale


def _over_time(x: Tensor | None, length: int) -> list[Any]:
    """One entry a step, a tensor or None; a shared time axis gives the same entry each time."""
    if x is None:
        return [None] * length
    return [x[:, 0]] * length if x.shape[1] == 1 else list(x.unbind(1))


def _to_heads(x: Tensor, heads: int) -> Tensor:
    groups = x.shape[2]
    return x if groups in (1, heads) else x.repeat_interleave(heads // groups, 2)


def _tied(x: Tensor, key_size: int, *, axis: int = -1) -> Tensor:
    """Repeat K/2 entries for both halves of the pairs; K or 1 entries stay."""
    return torch.cat([x, x], axis) if 2 * x.shape[axis] == key_size else x


def turn_memory(m: Tensor, angle: Tensor) -> Tensor:
    """R(angle) m for m [B,H,K,V] and angle [B,H,K/2] or [B,H,K/2,V]."""
    angle = angle if angle.dim() == 4 else angle[..., None]
    return rotate(m, angle, -2)


def _read(m: Tensor, s: Tensor) -> Tensor:
    return (m * s).sum(2) if s.dim() == 4 else torch.einsum("bhkv,bhk->bhv", m, s.expand(*m.shape[:2], -1))
