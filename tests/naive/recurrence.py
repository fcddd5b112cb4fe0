"""The recurrence of a record from its definition and torch alone: loops, complex rotations, the true memory.

    m_t = o_t ∘ R(phase_t) m_{t-1} + a_t (b_tᵀ m_{t-1}) + (gate_t ∘ e_t) i_tᵀ        y_t = m_tᵀ s_t

A stabilised log_gate is not normalised on the way: the memory here is the true one, Σ exp(log_gate) …, and exp(−M) is
taken off where it is read.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Sizes:
    batch: int
    length: int
    heads: int
    key: int
    value: int
    substeps: int = 1


@dataclass(frozen=True, kw_only=True)
class Head:
    """One head of one row, every axis in full: T steps, S = substeps · T micro-steps."""

    write: Tensor  # [S,K,V] gate ∘ e iᵀ
    shrink: tuple[Tensor, ...]  # [T,K,V] each
    log_o: Tensor  # [T,K,V]
    phase: Tensor | None  # [T,K/2,V]
    erase: tuple[Tensor, Tensor] | None  # [S,K] each
    log_gate: Tensor | None  # [S,K]
    reset: Tensor  # [T]
    substeps: int
    stabilise: str | None


def recurrence(
    parts: dict[str, Tensor],
    sizes: Sizes,
    *,
    reads: int = 1,
    read: str = "after",
    link: str = "identity",
    tau: float = 1.0,
    stabilise: str | None = None,
) -> tuple[list[Tensor], Tensor, Tensor | None, Tensor | None]:
    """Every read [B,T,H,V], the memory after the last step [B,H,K,V], and M there [B,H,K] and at every step [B,T,H,K].

    ``parts`` holds the tensors of the record by name (``shrink[0]``, ``erase[1]``, ``memory.value``); of ``rate``,
    ``phase_rate`` and ``step`` there may be several, as ``rate[0]``, ``rate[1]``.
    """
    B, T, H, K, V = sizes.batch, sizes.length, sizes.heads, sizes.key, sizes.value
    S = T * sizes.substeps
    turns = any(name.startswith("phase") for name in parts)

    def per_head(name: str, steps: int) -> Tensor:
        """e or s in full [B,steps,H,K,V]; neighbouring heads share a group."""
        x = parts[name]
        x = x if x.dim() == 5 else x[..., None]
        return x.repeat_interleave(H // x.shape[2], 2).expand(B, steps, H, K, V)

    def over_key(x: Tensor, axis: int) -> Tensor:
        """K/2 entries are one for both halves of a pair."""
        tied = turns and x.shape[axis] == K // 2
        return torch.cat([x, x], axis) if tied else x

    log_o = torch.zeros(B, T, H, K, V, dtype=parts["expand"].dtype)
    if "head" in parts:
        log_o = log_o + parts["head"][:, :, :, None, None]
    if "key" in parts:
        log_o = log_o + over_key(parts["key"], 3)[..., None]
    if "value" in parts:
        log_o = log_o + parts["value"][:, :, :, None]
    phase = torch.zeros(B, T, H, K // 2, V, dtype=log_o.dtype)
    if "phase" in parts:
        phase = phase + (parts["phase"] if parts["phase"].dim() == 5 else parts["phase"][..., None])
    for step_name in (name for name in parts if name.startswith("step")):
        term = step_name.removeprefix("step")
        if "rate" + term in parts:
            x = parts["rate" + term] * parts[step_name]
            x = x if link == "identity" else torch.log(torch.sigmoid(x)) / tau
            log_o = log_o + over_key(x, 3)
        if "phase_rate" + term in parts:
            phase = phase + parts["phase_rate" + term] * parts[step_name]

    write = per_head("expand", S)
    if "input" in parts:
        write = write * parts["input"][..., None, :]
    if "gate" in parts:
        write = write * parts["gate"]
    log_gate = None if stabilise is None else over_key(parts["log_gate"], 3).expand(B, S, H, K)
    erase = None
    if "erase[0]" in parts:
        erase = (parts["erase[0]"].expand(B, S, H, K), parts["erase[1]"].expand(B, S, H, K))
    reset = parts.get("reset", torch.zeros(1, 1, dtype=torch.bool)).expand(B, T)
    shrink = [per_head(f"shrink[{j}]" if reads > 1 else "shrink", T) for j in range(reads)]

    ys = [torch.zeros(B, T, H, V, dtype=log_o.dtype) for _ in range(reads)]
    memory = torch.zeros(B, H, K, V, dtype=log_o.dtype)
    trace = torch.zeros(B, T, H, K, dtype=log_o.dtype)
    for b in range(B):
        for h in range(H):
            head = Head(
                write=write[b, :, h],
                shrink=tuple(s[b, :, h] for s in shrink),
                log_o=log_o[b, :, h],
                phase=phase[b, :, h] if turns else None,
                erase=None if erase is None else (erase[0][b, :, h], erase[1][b, :, h]),
                log_gate=None if log_gate is None else log_gate[b, :, h],
                reset=reset[b],
                substeps=sizes.substeps,
                stabilise=stabilise,
            )
            m, M = torch.zeros(K, V, dtype=log_o.dtype), torch.full((K,), -torch.inf, dtype=log_o.dtype)
            if "memory.value" in parts:
                m = parts["memory.value"].expand(B, H, K, V)[b, h]
            if "memory.log_scale" in parts:
                M = over_key(parts["memory.log_scale"], 2).expand(B, H, K)[b, h]
                m = m * M.exp()[:, None]
            outputs, m, scales = run_head(head, m, M, before=read == "before")
            for y, output in zip(ys, outputs, strict=True):
                y[b, :, h] = torch.stack(output)
            if scales:
                trace[b, :, h] = torch.stack(scales)
                m = m * (-scales[-1]).exp()[:, None]
            memory[b, h] = m
    return ys, memory, *((trace[:, -1], trace) if stabilise else (None, None))


def run_head(head: Head, m: Tensor, M: Tensor, *, before: bool) -> tuple[list[list[Tensor]], Tensor, list[Tensor]]:
    """The reads [V] and M [K] of every step, and the true memory after the last."""
    outputs: list[list[Tensor]] = [[] for _ in head.shrink]
    scales: list[Tensor] = []

    def look(t: int) -> None:
        weight = torch.ones_like(M) if head.stabilise is None else (-M).exp()
        seen = torch.where(M.isinf()[:, None], m, m * weight[:, None])
        for output, s in zip(outputs, head.shrink, strict=True):
            output.append((seen * s[t]).sum(0))

    for t in range(len(head.log_o)):
        if head.reset[t]:
            m, M = torch.zeros_like(m), torch.full_like(M, -torch.inf)
        if before:
            look(t)
        for u in range(t * head.substeps, (t + 1) * head.substeps):
            previous = m
            if u == t * head.substeps:
                m = head.log_o[t].exp() * (m if head.phase is None else turn(m, head.phase[t]))
                M = M + head.log_o[t, :, 0]
            if head.erase is not None:
                a, b = head.erase[0][u], head.erase[1][u]
                m = m + torch.outer(a, b @ previous)
            if head.log_gate is None:
                m = m + head.write[u]
            else:
                m = m + head.write[u] * head.log_gate[u].exp()[:, None]
                grow = torch.logaddexp if head.stabilise == "sum" else torch.maximum
                M = grow(M, head.log_gate[u])
        if head.stabilise is not None:
            scales.append(M)
        if not before:
            look(t)
    return outputs, m, scales


def turn(m: Tensor, phase: Tensor) -> Tensor:
    """Multiply m_p + i·m_{p+K/2} by exp(+i·phase), for m [K,V] and phase [K/2,V]."""
    half = len(m) // 2
    z = torch.complex(m[:half], m[half:]) * torch.polar(torch.ones_like(phase), phase)
    return torch.cat([z.real, z.imag])
