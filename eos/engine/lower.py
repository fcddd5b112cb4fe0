"""Exact rewrites of a window of a recurrence, until only what an algorithm takes is left.

    phase         turned into a rotation of e, s, a and b, with angles that start at zero in every window
    log_gate      turned into a decay ≤ 0 and a gate ≤ 1 by the running normaliser M
    gate          folded into e or i, whichever keeps the write of rank one
    groups        heads of e and s repeated by stride
    substeps      decay and phase on the first micro-step of each step

A window is at most a few thousand steps, and nothing made here is held for the whole of T; everything is plain
differentiable torch, so the gradients of a rewrite come from autograd.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from eos.edge import Edge
from eos.engine.normaliser import normalise
from eos.engine.sequential import log_decay, phase
from eos.record import LOG_FLOOR, Recurrence, Transition
from eos.rotation import rotate


@dataclass(frozen=True, kw_only=True)
class Inside:
    """What a kernel makes of what it loads (eos.engine.edges); by default all is loaded as it is.

    Arguments:
        key, value: a bias [1|H,1|K], [1|H,1|V] where over_key or over_value is a pre-activation z, of the log-decay
            log_sigmoid(z + bias) / tau.
        step: a bias [1|H,1|K,1|V] where the step of rate × step is one, of softplus(z + bias).
        key_tau, value_tau: tau.
        gate: what multiplies what is written: 1 − o of the decay over K or V, or the step; or nothing.
        expand, reads: whether e and every s go through a silu, before that gate.
    """

    key: Tensor | None = None
    value: Tensor | None = None
    step: Tensor | None = None
    key_tau: float = 1.0
    value_tau: float = 1.0
    gate: str | None = None
    expand: bool = False
    reads: bool = False


@dataclass(frozen=True, kw_only=True)
class Lowered:
    """S micro-steps of m_t = o_t ∘ m_{t-1} + a_t (b_tᵀ m_{t-1}) + e_t i_tᵀ: no phase, gate or groups are left.

    Arguments:
        input: i [B,S,H,V].
        expand: e [B,S,H,K] or [B,S,H,K,V].
        reads: every s, [B,S,H,K] or [B,S,H,K,V].
        over_key: log-decay [1|B,1|S,1|H,1|K] ≤ 0, or None.
        over_value: log-decay [1|B,1|S,1|H,1|V] ≤ 0, or None.
        over_both: log-decay [1|B,1|S,1|H,K,V] ≤ 0 that is not a sum of the two, or None.
        rate: (rate [1|H,1|K,1|V], step [1|B,1|S,1|H,1|K,1|V]), whose product through ``link`` is a log-decay beside the
            others, for an algorithm that makes it itself; or None.
        link, tau: as in the record.
        inside: what the kernels make of all this.
        erase: (a, b), [B,S,H,K] each, or None.
        reset: [B,S] bool, or None; there, reads before and b are zero already.
        before: whether reads see m_{t-1}.
        turn: angle [B,H,K/2] or [B,H,K/2,V] by which the memory has turned at the window's end, or None.
        log_scale: M after the last step [B,H,K|1], or None.
        trace: M at every step [B,T,H,K|1], or None.
    """

    input: Tensor
    expand: Tensor
    reads: tuple[Tensor, ...]
    over_key: Tensor | None
    over_value: Tensor | None
    over_both: Tensor | None
    erase: tuple[Tensor, Tensor] | None
    reset: Tensor | None
    before: bool
    turn: Tensor | None
    log_scale: Tensor | None
    trace: Tensor | None
    rate: tuple[Tensor, Tensor] | None = None
    link: str = "identity"
    tau: float = 1.0
    inside: Inside = field(default_factory=Inside)


def lower(
    window: Recurrence, log_scale: Tensor | None, dtype: torch.dtype, *, activations: torch.dtype | None = None
) -> Lowered:
    """Rewrite one window of a recurrence.

    Arguments:
        window: the record of the window; its edges are those that the kernels make, which know ``inside``.
        log_scale: M [B,H,K|1] before it, where there is one.
        dtype: of the memory, in which everything is computed.
        activations: the dtype of i, e, s and the erase, for an algorithm that also floors log-decays itself; None
            leaves them in ``dtype``, floored.
    """
    sizes, n = window.sizes, window.substeps
    batch, heads, key = sizes["B"], sizes["H"], sizes["K"]
    length, steps = sizes["T"], sizes["T"] * n
    transition = window.transition

    rate = _rate(transition, dtype) if activations is not None and n == 1 else None
    over_key, over_value, over_both = (
        None if x is None else _scatter(x, n, length)
        for x in _decays(transition, dtype, floored=activations is None, whole=rate is None)
    )
    gates = [] if transition.gate is None or isinstance(transition.gate, Edge) else [transition.gate.to(dtype)]
    trace = None
    if transition.log_gate is not None:
        assert log_scale is not None
        over_key, gated, trace = _normalise(over_key, transition, log_scale, window)
        log_scale = trace[:, -1]
        gates.append(_tied(gated, key)[..., None])
        trace = trace[:, n - 1 :: n]
    if transition.turns:
        over_key = None if over_key is None else _tied(over_key, key)
        over_both = None if over_both is None else _tied(over_both.mT, key).mT
        rate = None if rate is None else (_tied(rate[0].mT, key).mT, _tied(rate[1].mT, key).mT)

    # what is multiplied or turned keeps the memory's digits until then
    between = dtype if gates or transition.turns or activations is None else activations
    i = _ones(window, between) if window.input is None else window.input.to(between)
    e = _per_head(_unmade(window.expand).to(between), heads, key)
    reads = tuple(_per_head(_unmade(s).to(between), heads, key) for s in window.reads)
    for gate in gates:
        i, e = _fold(gate, i, e)
    erase = None
    if transition.erase is not None:
        a, b = transition.erase
        erase = (_per_head(a.to(between), heads, key), _per_head(b.to(between), heads, key))

    turn = None
    angle = phase(transition, dtype)
    if angle is not None:
        angle = angle[..., 0] if angle.dim() == 5 and angle.shape[4] == 1 else angle
        after = _cumulated(_scatter(angle, n, length), steps)
        before = torch.cat([torch.zeros_like(after[:, :1]), after[:, :-1]], 1)
        e = _turned(e, -after)
        at = before[:, ::n] if window.read == "before" else after[:, n - 1 :: n]
        reads = tuple(_turned(s, -at) for s in reads)
        if erase is not None:
            erase = (_turned(erase[0], -after), _turned(erase[1], -before))
        turn = after[:, -1]
    reset = None
    if window.reset is not None:
        reset = _scatter(window.reset.expand(batch, length), n, length)
        erase = None if erase is None else (erase[0], _forget(erase[1], reset))
        if window.read == "before":
            reads = tuple(_forget(s, window.reset.expand(batch, length)) for s in reads)
    place = 0 if window.read == "before" else n - 1
    if activations is not None:
        i, e = i.to(activations), e.to(activations)
        reads = tuple(s.to(activations) for s in reads)
        erase = None if erase is None else (erase[0].to(activations), erase[1].to(activations))

    def whole(x: Tensor) -> Tensor:
        return x.expand(batch, steps, heads, *x.shape[3:])

    return Lowered(
        input=whole(i).expand(-1, -1, -1, sizes["V"]),
        expand=whole(e),
        reads=tuple(whole(_scatter(s, n, length, place)) for s in reads),
        over_key=over_key,
        over_value=over_value,
        over_both=over_both,
        erase=None if erase is None else (whole(erase[0]), whole(erase[1])),
        reset=reset,
        before=window.read == "before",
        turn=turn,
        log_scale=log_scale,
        trace=trace,
        rate=rate,
        link=transition.link,
        tau=transition.tau,
        inside=_inside(window),
    )


def _unmade(x: Tensor) -> Tensor:
    """The pre-activation of an edge, anything else as it is."""
    return x.z if isinstance(x, Edge) else x


def _inside(window: Recurrence) -> Inside:
    t, gate = window.transition, window.transition.gate
    key, value, step = (_bias(x) for x in (t.key, t.value, t.step))
    made_of = None
    if isinstance(gate, Edge):
        made_of = "step" if gate.form == "softplus" else "key" if gate.axis == 4 else "value"
    return Inside(
        key=key,
        value=value,
        step=step,
        key_tau=t.key.tau if isinstance(t.key, Edge) else 1.0,
        value_tau=t.value.tau if isinstance(t.value, Edge) else 1.0,
        gate=made_of,
        expand=isinstance(window.expand, Edge),
        reads=isinstance(window.reads[0], Edge),
    )


def _bias(x: object) -> Tensor | None:
    if not isinstance(x, Edge):
        return None
    return x.z.new_zeros((1,) * (x.z.dim() - 2), dtype=torch.float32) if x.bias is None else x.bias


def _decays(
    transition: Transition, dtype: torch.dtype, *, floored: bool, whole: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Log-decays over K and over V, floored where asked; where there is a rate and ``whole`` is asked, over both."""
    if whole and transition.rate is not None:
        return None, None, log_decay(transition, 0, dtype)
    over_key = None if transition.head is None else transition.head.to(dtype)[..., None]
    if transition.key is not None:
        key = transition.key.z if isinstance(transition.key, Edge) else transition.key.to(dtype)
        over_key = key if over_key is None else over_key + key
    over_value = transition.value
    if over_value is not None:
        over_value = over_value.z if isinstance(over_value, Edge) else over_value.to(dtype)
    if floored and transition.log_gate is None and over_key is not None:
        over_key = over_key.clamp(min=LOG_FLOOR)
    if floored and over_value is not None:
        over_value = over_value.clamp(min=LOG_FLOOR)
    return over_key, over_value, None


def _rate(transition: Transition, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
    """The one rate with its step, where there is one alone."""
    terms = [(rate, step) for rate, _, step in transition.terms if rate is not None]
    if len(terms) != 1:
        return None
    rate, step = terms[0]
    return rate.to(dtype), step.z if isinstance(step, Edge) else step.to(dtype)


def _normalise(
    log_o: Tensor | None, transition: Transition, scale: Tensor, window: Recurrence
) -> tuple[Tensor, Tensor, Tensor]:
    """The decay and gate of a stabilised log_gate, and M at every micro-step."""
    assert transition.log_gate is not None
    steps = window.sizes["T"] * window.substeps
    log_gate = transition.log_gate.to(scale.dtype)
    log_o = torch.zeros_like(log_gate[:1, :1, :1, :1]) if log_o is None else log_o
    scale = scale.expand(window.sizes["B"], window.sizes["H"], scale.shape[-1])
    begins = None
    if window.reset is not None:
        begins = _scatter(window.reset.expand(scale.shape[0], window.sizes["T"]), window.substeps, window.sizes["T"])
    return normalise(log_o, log_gate, scale, begins, transition.stabilise, steps=steps)


def _ones(window: Recurrence, dtype: torch.dtype) -> Tensor:
    return torch.ones(1, 1, 1, 1, dtype=dtype, device=window.expand.device)


def _per_head(x: Tensor, heads: int, key: int) -> Tensor:
    """[1|B,1|S,1|H,K], or [1|B,1|S,1|H,K,V] where it has a V of its own, repeating groups; what is shared stays so."""
    x = x[..., 0] if x.dim() == 5 and x.shape[4] == 1 else x
    x = x if x.shape[2] in (1, heads) else x.repeat_interleave(heads // x.shape[2], 2)
    return x.expand(-1, -1, -1, key, *x.shape[4:])


def _fold(gate: Tensor, i: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
    """gate [B,S,H,K|1,V|1] into i where it is over V alone, into e else; only a gate over both makes e per channel."""
    if gate.shape[4] == 1:
        return i, e * (gate[..., 0] if e.dim() == 4 else gate)
    if gate.shape[3] == 1 and e.dim() == 4:
        return i * gate[..., 0, :], e
    return i, (e if e.dim() == 5 else e[..., None]) * gate


def _forget(x: Tensor, reset: Tensor) -> Tensor:
    """Zero where a document begins: a read before, or an erase, of an empty memory."""
    return torch.where(reset.view(*reset.shape, *[1] * (x.dim() - 2)), 0.0, x)


def _tied(x: Tensor, key: int) -> Tensor:
    return torch.cat([x, x], -1) if 2 * x.shape[-1] == key else x


def _scatter(x: Tensor, n: int, length: int, place: int = 0) -> Tensor:
    """Something of every step (a read, a decay, an angle, a reset) on micro-step ``place`` of its n, zero elsewhere."""
    if n == 1:
        return x
    x = x.expand(x.shape[0], length, *x.shape[2:])
    rest = torch.zeros_like(x)
    return torch.stack([x if j == place else rest for j in range(n)], 2).flatten(1, 2)


def _cumulated(angle: Tensor, steps: int) -> Tensor:
    """Σ angles from the window's start, inclusive; summed in float64, because a turn is felt modulo 2π."""
    if angle.shape[1] == 1:
        count = torch.arange(1, steps + 1, dtype=torch.float64, device=angle.device)
        total = angle.double() * count.view(1, -1, *[1] * (angle.dim() - 2))
    else:
        total = angle.double().cumsum(1)
    return torch.remainder(total, 2 * torch.pi).to(angle.dtype)


def _turned(x: Tensor, angle: Tensor) -> Tensor:
    """R(angle) x over the axis K of x [B,S,H,K] or [B,S,H,K,V]; an angle over V makes x per channel."""
    if x.dim() == 4 and angle.dim() == 4:
        return rotate(x, angle)
    x = x if x.dim() == 5 else x[..., None]
    angle = angle if angle.dim() == 5 else angle[..., None]
    return rotate(x, angle, -2)
