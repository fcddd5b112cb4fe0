"""The contract between stages and engine: frozen records of tensors that say what a model is.

    m_t = o_t ∘ R(phase_t) m_{t-1} + a_t (b_tᵀ m_{t-1}) + (gate_t ∘ e_t) i_tᵀ        y_t = m_tᵀ s_t

Axes, everywhere, in this order: B batch, T time, H heads, K expand, V value. A size-1 axis means "shared" and is
broadcast by stride; eos.axes has the axes of every part. Records check shapes and dtypes, never values: a look at a
value would stall a GPU.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from eos.axes import AXES, Axes, Part, Sizes, check_float, layout_of, shape_of
from eos.errors import RecordError
from eos.rotation import rotate

Change = Callable[[str, Axes, Tensor], Tensor]
Link = Literal["identity", "log_sigmoid"]
Stabilise = Literal["sum", "max"]
Read = Literal["after", "before"]

#: Log-decays are floored here: exp(-88) is the last normal float32 above zero.
LOG_FLOOR = -88.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Transition:
    """What an oscillation stage returns: what ψ does to the memory. Decays of several parts add up in log space.

    Arguments:
        head, key, value: log-decays in nats [B,T,H], [B,T,H,K], [B,T,H,V]; finite, ≤ 0, floored at −88. With a
            phase, decays over K have K/2 entries: a pair turns and shrinks as one complex number.
        rate, step: log-decay ``rate`` [H,K,V] × ``step`` [B,T,H,K|1,V|1] through ``link``: the product itself, or
            log_sigmoid(rate × step) / tau. A product of transitions holds tuples of them, term by term.
        phase: radians a step, [B,T,H,K/2] or [B,T,H,K/2,V]: multiplies m_p + i·m_{p+K/2} by exp(+i·phase).
        phase_rate: radians a unit of step, [H,K/2,V]; adds phase_rate × step to the phase.
        erase: (a, b), [B,T,H,K] each: adds a (bᵀ m_{t-1}). Not together with parts over V.
        gate: [B,T,H,K|1,V|1] multiplies e.
        log_gate: [B,T,H,K|1] in nats, any sign (K/2 entries with a phase): a gate exp(log_gate) kept finite by the
            running normaliser M, which the memory carries. Not together with parts over V or an erase.
        stabilise: how M grows: M_t = logaddexp ("sum") or maximum ("max") of (log o_t + M_{t-1}, log_gate_t).
        tau: divides log_sigmoid; > 0.

    Raises:
        RecordError: naming the argument, its shape and the right one.
    """

    head: Tensor | None = None
    key: Tensor | None = None
    value: Tensor | None = None
    rate: Tensor | tuple[Tensor | None, ...] | None = None
    phase_rate: Tensor | tuple[Tensor | None, ...] | None = None
    step: Tensor | tuple[Tensor, ...] | None = None
    link: Link = "identity"
    tau: float = 1.0
    phase: Tensor | None = None
    erase: tuple[Tensor, Tensor] | None = None
    gate: Tensor | None = None
    log_gate: Tensor | None = None
    stabilise: Stabilise | None = None

    def __post_init__(self) -> None:
        _check_choice("link", self.link, ("identity", "log_sigmoid"))
        _check_choice("stabilise", self.stabilise, (None, "sum", "max"))
        if not self.tau > 0:
            raise RecordError(f"tau must be > 0, got {self.tau}")
        if any(rate is None and phase_rate is None for rate, phase_rate, _ in self.terms):
            raise RecordError("a step needs a rate or a phase_rate")
        if self.erase is not None and len(self.erase) != 2:
            raise RecordError(f"erase must be a pair (a, b), got {len(self.erase)} tensors")
        if (self.log_gate is None) != (self.stabilise is None):
            raise RecordError('log_gate needs stabilise="sum" or "max", and stabilise needs a log_gate')
        over_v = parts_over_value(self)
        if over_v and self.erase is not None:
            raise RecordError(
                f"erase cannot stand with {over_v}: o ∘ m + a bᵀ m with a decay over V is not a composition of the two"
            )
        if over_v and self.log_gate is not None:
            raise RecordError(f"log_gate cannot stand with {over_v}: its normaliser has no V axis")
        if self.erase is not None and self.log_gate is not None:
            raise RecordError("log_gate cannot stand with erase: the normaliser of an erased memory is not a sum")
        _tied_sizes(self)

    @property
    def terms(self) -> list[tuple[Tensor | None, Tensor | None, Tensor]]:
        """The (rate, phase_rate, step) terms, whose log-decays and phases add up."""
        return list(zip(*_aligned(self), strict=True))

    @property
    def turns(self) -> bool:
        """Whether there is a phase."""
        return self.phase is not None or self.phase_rate is not None

    def __mul__(self, other: "Transition") -> "Transition":
        """Composition: ``self * other`` lets ``other`` act on the memory first.

        Raises:
            RecordError: where the composition is not itself a record (two erases, an erase with a decay over V, …).
        """
        return self.times(other)

    def times(self, other: "Transition", *, substeps: int = 1) -> "Transition":
        """Composition where an erase has ``substeps`` micro-steps a step: ``other`` then acts before the first of them.

        Raises:
            RecordError: as ``self * other``, and where with substeps a decay or phase would come after an erase.
        """
        return _product(self, other, substeps)


@dataclass(frozen=True, kw_only=True, eq=False)
class Memory:
    """The memory between two steps: ``value`` [B,H,K,V] un-rotated, float32 or wider, and the normaliser M or None.

    With a ``log_scale`` M [B,H,K|1] the true memory is exp(M) · value.
    """

    value: Tensor
    log_scale: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("value", "log_scale"):
            tensor = getattr(self, name)
            if tensor is None:
                continue
            if tensor.dtype not in (torch.float32, torch.float64):
                raise RecordError(f"memory.{name} must be float32 or wider, got {tensor.dtype}")
            layout_of(f"memory.{name}", tensor, AXES["Memory"][name])


@dataclass(frozen=True, kw_only=True, eq=False)
class Recurrence:
    """A whole sequence model head by head: what goes in, how it oscillates, what is read.

    Arguments:
        input: i [B,T,H,V], or None for ones.
        expand: e [B,T,H,K], or per channel [B,T,H,K,V]; may have G heads with H % G == 0.
        shrink: s likewise, or a tuple of several reads of one memory.
        transition: what ψ is.
        memory: the memory before t = 0; None means empty.
        read: "after" reads y_t = m_tᵀ s_t; "before" reads m_{t-1}.
        reset: [B,T] bool, true where a new document begins: that step sees an empty memory, its reads before and
            its erase too, and ``memory`` where t = 0 is a reset.
        substeps: n ≥ 1; input, expand, erase, gate and log_gate have n·T micro-steps, decay and phase act on the
            first of each n, shrink and reset have T.

    Raises:
        RecordError: naming the argument, its shape and the right one.
    """

    input: Tensor | None
    expand: Tensor
    shrink: Tensor | tuple[Tensor, ...]
    transition: Transition
    memory: Memory | None = None
    read: Read = "after"
    reset: Tensor | None = None
    substeps: int = 1

    def __post_init__(self) -> None:
        _check_choice("read", self.read, ("after", "before"))
        if self.substeps < 1:
            raise RecordError(f"substeps must be ≥ 1, got {self.substeps}")
        if isinstance(self.shrink, tuple) and not self.shrink:
            raise RecordError("shrink must hold at least one read")
        if self.reset is not None and self.reset.dtype != torch.bool:
            raise RecordError(f"reset must be bool, got {self.reset.dtype}")
        if self.memory is not None and (self.memory.log_scale is None) != (self.transition.log_gate is None):
            raise RecordError("memory.log_scale is given exactly where the transition has a log_gate")
        object.__setattr__(self, "sizes", _sizes(self))

    sizes: dict[str, int] = field(init=False, repr=False)

    @property
    def reads(self) -> tuple[Tensor, ...]:
        """The shrink states, always as a tuple."""
        return self.shrink if isinstance(self.shrink, tuple) else (self.shrink,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Convolution:
    """A long convolution without memory: y_t = Σ_j response_j ∘ i_{t−j}.

    Arguments:
        input: i [B,T,H,V].
        response: [H,V,T] for lags 0 … T−1; with ``causal=False`` [H,V,2T−1] for lags −(T−1) … T−1.
        causal: whether only the past is seen.
    """

    input: Tensor
    response: Tensor
    causal: bool = True

    def __post_init__(self) -> None:
        if self.input.dim() != 4 or self.response.dim() != 3:
            raise RecordError(
                f"a convolution takes input [B,T,H,V] and response [H,V,T], got {shape_of(self.input)} and "
                f"{shape_of(self.response)}"
            )
        _, length, heads, value = self.input.shape
        lags = length if self.causal else 2 * length - 1
        right = all(got in (1, want) for got, want in zip(self.response.shape[:2], (heads, value), strict=True))
        if not right or self.response.shape[2] != lags:
            raise RecordError(
                f"response must be [H|1,V|1,lags] = {[heads, value, lags]}, got {shape_of(self.response)}"
            )
        check_float("input", self.input)
        check_float("response", self.response)


R = TypeVar("R", Transition, Recurrence)


def parts(record: Transition | Recurrence | Memory) -> Iterator[Part]:
    """Every tensor of a record with its name and its axes, in the order of the fields."""
    for name, layouts in AXES[type(record).__name__].items():
        held = getattr(record, name)
        for index, tensor in enumerate(held) if isinstance(held, tuple) else ((None, held),):
            if tensor is not None:
                label = name if index is None else f"{name}[{index}]"
                yield label, layout_of(label, tensor, layouts), tensor
    if isinstance(record, Recurrence):
        yield from parts(record.transition)
        if record.memory is not None:
            yield from ((f"memory.{name}", axes, tensor) for name, axes, tensor in parts(record.memory))


def map_parts(record: R, change: Change) -> R:
    """The same record with every tensor changed; shapes are trusted, not checked again. Memory is left as it is."""
    mapped: Any = object.__new__(type(record))
    for held in fields(record):
        object.__setattr__(mapped, held.name, getattr(record, held.name))
    for name, layouts in AXES[type(record).__name__].items():
        tensors = getattr(record, name)
        changed = tuple(
            None if tensor is None else change(name, layout_of(name, tensor, layouts), tensor)
            for tensor in (tensors if isinstance(tensors, tuple) else (tensors,))
        )
        object.__setattr__(mapped, name, changed if isinstance(tensors, tuple) else changed[0])
    if isinstance(record, Recurrence):
        object.__setattr__(mapped, "transition", map_parts(record.transition, change))
    return mapped  # type: ignore[no-any-return]


def parts_over_value(transition: Transition) -> str | None:
    """The name of a decay or phase over V, which an erase or a log_gate cannot stand with; None if there is none."""
    if transition.value is not None:
        return "value"
    if transition.rate is not None or transition.phase_rate is not None:
        return "rate × step"
    if transition.phase is not None and transition.phase.dim() == 5:
        return "phase over V"
    return None


def _aligned(t: Transition) -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]:
    """rate, phase_rate and step as tuples of one length."""
    rates, phase_rates, steps = (
        held if isinstance(held, tuple) else () if held is None else (held,) for held in (t.rate, t.phase_rate, t.step)
    )
    for terms in (rates, phase_rates):
        if terms and len(terms) != len(steps):
            raise RecordError(f"every rate and phase_rate needs a step: got {len(terms)} for {len(steps)} steps")
    none = (None,) * len(steps)
    return rates or none, phase_rates or none, steps


def _product(left: Transition, right: Transition, substeps: int) -> Transition:
    """left ∘ right. (D_l R_l + a_l b_lᵀ)(D_r R_r + a_r b_rᵀ) with at most one erase among them."""
    if left.erase is not None and right.erase is not None:
        raise RecordError("two erases do not multiply to one of rank one; use substeps, one erase a micro-step")
    sizes = _tied_sizes(left, right)
    first, second = left.terms, right.terms
    rated = [t for t in (left, right) if t.rate is not None]
    if len(rated) == 2 and (left.link, left.tau) != (right.link, right.tau):
        raise RecordError(
            f"two rate × step with different links do not add up: {left.link}/{left.tau} and {right.link}/{right.tau}"
        )
    if left.stabilise and right.stabilise and left.stabilise != right.stabilise:
        raise RecordError(f'log_gates with stabilise="{left.stabilise}" and "{right.stabilise}" do not multiply')
    linked = rated[0] if rated else left
    terms = first + second
    return Transition(
        head=_sum(left.head, right.head),
        key=_sum(left.key, right.key),
        value=_sum(left.value, right.value),
        rate=_terms([t[0] for t in terms]),
        phase_rate=_terms([t[1] for t in terms]),
        step=_terms([t[2] for t in terms]),
        link=linked.link,
        tau=linked.tau,
        phase=_sum_phases(left.phase, right.phase),
        erase=_product_erase(left, right, sizes, substeps),
        gate=left.gate * right.gate
        if left.gate is not None and right.gate is not None
        else _either(left, right, "gate"),
        log_gate=_sum(left.log_gate, right.log_gate),
        stabilise=left.stabilise or right.stabilise,
    )


def _product_erase(left: Transition, right: Transition, sizes: Sizes, substeps: int) -> tuple[Tensor, Tensor] | None:
    """A diagonal listed before an erase acts on a; one listed after acts on b by its transpose."""
    if left.erase is None and right.erase is None:
        return None
    diagonal, erasing = (left, right) if left.erase is None else (right, left)
    if over_v := parts_over_value(diagonal):
        raise RecordError(f"erase does not multiply with {over_v}: (I + a bᵀ) m diag(v) is not a record")
    assert erasing.erase is not None
    a, b = erasing.erase
    if diagonal.head is None and diagonal.key is None and diagonal.phase is None:
        return a, b
    sizes.tie("S", "T", substeps, "a decay or phase acts once a step, an erase at every micro-step")
    if substeps == 1:
        return (act(diagonal, a, inverse=False), b) if diagonal is left else (a, act(diagonal, b, inverse=True))
    if diagonal is left:
        raise RecordError("with substeps a decay or phase acts before the first micro-step: list it after the erase")
    b = b.expand(-1, max(b.shape[1], substeps), -1, -1).unflatten(1, (-1, substeps))
    turned = act(diagonal, b[:, :, 0], inverse=True)
    later = b[:, :, 1:].expand(-1, turned.shape[1], -1, -1, -1)
    return a, torch.cat([turned[:, :, None], later.expand(turned.shape[0], -1, -1, *turned.shape[2:])], 2).flatten(1, 2)


def act(transition: Transition, x: Tensor, *, inverse: bool) -> Tensor:
    """D R x, or (D R)ᵀ x: decay and turn a [B,T,H,K] vector."""
    if transition.phase is not None:
        angle = -transition.phase if inverse else transition.phase
        x = rotate(x, angle)
    for log_decay in (transition.head, transition.key):
        if log_decay is not None:
            o = log_decay.to(torch.promote_types(log_decay.dtype, torch.float32)).clamp(min=LOG_FLOOR).exp()
            o = o[..., None] if log_decay is transition.head else o
            x = x * (torch.cat([o, o], -1) if 2 * o.shape[-1] == x.shape[-1] else o)  # tied in pairs
    return x


def _terms(items: list[Any]) -> Any:
    present = [item for item in items if item is not None]
    return None if not present else items[0] if len(items) == 1 else tuple(items)


def _sum(left: Tensor | None, right: Tensor | None) -> Tensor | None:
    return left + right if left is not None and right is not None else left if left is not None else right


def _sum_phases(left: Tensor | None, right: Tensor | None) -> Tensor | None:
    if left is not None and right is not None and left.dim() != right.dim():
        left, right = (p if p.dim() == 5 else p[..., None] for p in (left, right))
    return _sum(left, right)


def _either(left: Transition, right: Transition, name: str) -> Any:
    held = getattr(left, name)
    return held if held is not None else getattr(right, name)


def _check_choice(name: str, got: object, allowed: tuple[object, ...]) -> None:
    if got not in allowed:
        raise RecordError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {got!r}")


def _tied_sizes(*transitions: Transition) -> Sizes:
    sizes = Sizes(part for transition in transitions for part in parts(transition))
    sizes.check_tied()
    return sizes


def _sizes(record: Recurrence) -> dict[str, int]:
    found = Sizes(parts(record))
    n = record.substeps
    steps = found.size("S")
    length = found.size("T")
    if n == 1:
        length = found.tie("S", "T", 1, "both are steps in time")
    elif steps > 1 or length > 1:
        found.tie("S", "T", n, f"with substeps = {n} there must be {n} micro-steps a step")
        length = max(length, steps // n)
    key = found.size("K")
    if record.transition.turns:
        found.check_tied()
        pairs = max(found.size("Q"), found.size("P"))
        if key == 1 or (pairs != 1 and key != 2 * pairs) or key % 2:
            raise RecordError(f"a phase turns pairs: K must be even and twice its {pairs} entries, got K = {key}")
    else:
        key = found.tie("P", "K", 1, "decays over K have K entries")
    heads = found.size("H") if found.size("H") > 1 else found.size("G")
    for name, axes, tensor in parts(record):
        if "G" in axes and heads % tensor.shape[2]:
            raise RecordError(f"{name} has {tensor.shape[2]} heads; H = {heads} must be a multiple of them")
    return {"B": found.size("B"), "T": length, "H": heads, "K": key, "V": found.size("V")}
