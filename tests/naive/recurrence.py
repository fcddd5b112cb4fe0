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
    phase: Tensor  # [T,K/2,V]
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

    def per_head(name: str, steps: int) -> Tensor:
        """e or s in full [B,steps,H,K,V]; neighbouring heads share a group."""
        x = parts[name]
        x = x if x.dim() == 5 else x[..., None]
        return x.repeat_interleave(H // x.shape[2], 2).expand(B, steps, H, K, V)

    log_o = log_decays(parts, (B, T, H, K, V), link=link, tau=tau)
    phase = phases(parts, (B, T, H, K // 2, V))
    write = per_head("expand", S)
    if "input" in parts:
        write = write * parts["input"][..., None, :]
    if "gate" in parts:
        write = write * parts["gate"]
    log_gate = None if stabilise is None else over_key(parts["log_gate"], K).expand(B, S, H, K)
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
                phase=phase[b, :, h],
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
                M = over_key(parts["memory.log_scale"], K).expand(B, H, K)[b, h]
                m = m * M.exp()[:, None]
            outputs, m, scales = run_head(head, m, M, before=read == "before")
            for y, output in zip(ys, outputs, strict=True):
                y[b, :, h] = torch.stack(output)
            if scales:
                trace[b, :, h] = torch.stack(scales)
                m = m * (-scales[-1]).exp()[:, None]
            memory[b, h] = m
    return ys, memory, *((trace[:, -1], trace) if stabilise else (None, None))


def log_decays(parts: dict[str, Tensor], shape: tuple[int, ...], *, link: str, tau: float) -> Tensor:
    """The sum of all log-decays in full [B,T,H,K,V]."""
    K = shape[3]
    total = torch.zeros(shape, dtype=torch.float64)
    if "head" in parts:
        total = total + parts["head"][:, :, :, None, None]
    if "key" in parts:
        total = total + over_key(parts["key"], K)[..., None]
    if "value" in parts:
        total = total + parts["value"][:, :, :, None]
    for rate, step in terms(parts, "rate"):
        x = rate * step
        x = x if link == "identity" else torch.log(torch.sigmoid(x)) / tau
        total = total + over_key(x.mT, K).mT
    return total


def phases(parts: dict[str, Tensor], shape: tuple[int, ...]) -> Tensor:
    """The sum of all phases in full [B,T,H,K/2,V]."""
    total = torch.zeros(shape, dtype=torch.float64)
    if "phase" in parts:
        total = total + (parts["phase"] if parts["phase"].dim() == 5 else parts["phase"][..., None])
    for rate, step in terms(parts, "phase_rate"):
        total = total + rate * step
    return total


def terms(parts: dict[str, Tensor], rate: str) -> list[tuple[Tensor, Tensor]]:
    """(rate, step), or (rate[0], step[0]), (rate[1], step[1]), … where such a rate is."""
    suffixes = [name.removeprefix("step") for name in parts if name.startswith("step")]
    return [(parts[rate + suffix], parts["step" + suffix]) for suffix in suffixes if rate + suffix in parts]


def over_key(x: Tensor, K: int) -> Tensor:
    """K/2 entries of the last axis stand for both halves of the pairs."""
    return torch.cat([x, x], -1) if 2 * x.shape[-1] == K else x


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
                m = head.log_o[t].exp() * turn(m, head.phase[t])
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
    half = len(phase)
    if len(m) != 2 * half:  # an odd K has no pairs, and no phase
        return m
    z = torch.complex(m[:half], m[half:]) * torch.polar(torch.ones_like(phase), phase)
    return torch.cat([z.real, z.imag])
