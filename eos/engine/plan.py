"""Choosing how a record runs: from its structure alone, by an analytic cost model, with the reasons kept."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from eos.engine.structure import Structure, structure_of
from eos.errors import PlanError, unknown
from eos.record import Convolution, Recurrence

#: What one operation costs: floating-point operations a second of a matrix product, bytes a second of an elementwise
#: one, seconds to launch any. Only ratios matter for the choice.
SPEEDS = {"cpu": (6e10, 1.2e10, 8e-6), "cuda": (2e14, 2e12, 5e-6)}
#: Entries of e and i that a window holds, where an algorithm works on many chunks at once; and its steps, within.
WINDOW_ENTRIES = {"chunked": 1 << 21, "delta": 1 << 20}
SHORTEST_WINDOW, LONGEST_WINDOW = 256, 4096
#: Steps of a chunk: inside one, a step costs C (K + V); between them, K V / C.
CHUNK, SHORT_CHUNK, SHORT_FEATURES = 64, 32, 64
#: Bytes of memories that an elementwise window holds.
ELEMENTWISE_WINDOW_BYTES = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What running a record forward takes.

    Arguments:
        flops: floating-point operations.
        bytes: bytes read and written.
        launches: operations launched one after another.
        seconds: the model's estimate from the three.
    """

    flops: float
    bytes: float
    launches: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a record runs and why.

    Arguments:
        structure: what was looked at.
        algorithm, backend: what was chosen.
        window: steps lowered and run at once.
        chunk: steps of a chunk inside a window (chunked and delta).
        cost: the estimate for the forward pass.
        state_bytes: bytes of the memory m that decoding carries, without a normaliser.
        reasons: for every algorithm and backend, why it was or was not chosen.
    """

    structure: Structure
    algorithm: str
    backend: str
    window: int
    chunk: int
    cost: Cost
    state_bytes: int
    reasons: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        s = self.structure
        head = f"{self.algorithm} on {self.backend} ({s.device}, {s.dtype.removeprefix('torch.')})"
        sizes = f"B={s.batch} T≤{s.length} H={s.heads} K={s.key} V={s.value}, parts: {', '.join(sorted(s.parts))}"
        tiles = f"window {self.window} steps, chunk {self.chunk}, memory {self.state_bytes} bytes"
        width = max(len(name) for name, _ in self.reasons)
        return "\n".join([head, sizes, tiles, *(f"  {name:<{width}}  {why}" for name, why in self.reasons)])


def plan(record: Recurrence | Convolution, *, backend: str = "auto", algorithm: str = "auto") -> Plan:
    """The plan for a record; cached by its structure.

    Arguments:
        backend: "auto", "torch" or "triton".
        algorithm: "auto" or one of sequential, chunked, elementwise, delta, fft.

    Raises:
        PlanError: when what was asked for cannot run this record, with the reason.
    """
    return plan_structure(structure_of(record), backend=backend, algorithm=algorithm)


@lru_cache(maxsize=1024)
def plan_structure(structure: Structure, *, backend: str = "auto", algorithm: str = "auto") -> Plan:
    """The plan for a structure."""
    if algorithm != "auto" and algorithm not in ALGORITHMS:
        raise PlanError(unknown("algorithm", algorithm, ["auto", *ALGORITHMS]))
    if backend != "auto" and backend not in BACKENDS:
        raise PlanError(unknown("backend", backend, ["auto", *BACKENDS]))
    refusals = {name: refuse(structure) for name, (refuse, _) in ALGORITHMS.items()}
    costs = {name: cost(structure) for name, (_, cost) in ALGORITHMS.items() if refusals[name] is None}
    if algorithm != "auto" and (why := refusals[algorithm]):
        raise PlanError(f"algorithm {algorithm!r} cannot run this record: {why}")
    chosen = min(costs, key=lambda name: costs[name].seconds) if algorithm == "auto" else algorithm
    on = "torch" if backend == "auto" else backend
    if why := BACKENDS[on]:
        raise PlanError(f"backend {on!r} cannot run this record: {why}")
    reasons = [
        (name, _reason(name, refusals[name], costs.get(name), chosen, asked=algorithm != "auto")) for name in ALGORITHMS
    ]
    reasons += [(name, why or "chosen") for name, why in BACKENDS.items()]
    return Plan(
        structure=structure,
        algorithm=chosen,
        backend=on,
        window=_window(structure, chosen),
        chunk=_chunk(structure) if chosen in ("chunked", "delta") else 1,
        cost=costs[chosen],
        state_bytes=_state_bytes(structure),
        reasons=tuple(reasons),
    )


def _reason(name: str, refusal: str | None, cost: Cost | None, chosen: str, *, asked: bool) -> str:
    if cost is None:
        return f"no: {refusal}"
    estimate = f"{cost.seconds * 1e3:.3g} ms estimated ({cost.flops:.2g} flop, {cost.bytes:.2g} bytes)"
    if name == chosen:
        return f"chosen: {'asked for' if asked else 'cheapest'}, {estimate}"
    return f"not chosen: {estimate}"


def _window(s: Structure, algorithm: str) -> int:
    if algorithm == "elementwise":
        steps = ELEMENTWISE_WINDOW_BYTES // (4 * s.batch * s.heads * s.key * s.value)
        return max(8, min(SHORTEST_WINDOW, _power_of_two(steps)))
    if algorithm in WINDOW_ENTRIES:
        steps = WINDOW_ENTRIES[algorithm] // (s.batch * s.heads * (s.key + s.value) * s.substeps)
        return max(SHORTEST_WINDOW, min(LONGEST_WINDOW, _power_of_two(steps)))
    return s.length


def _power_of_two(x: int) -> int:
    """The largest that is not above x; 1 where there is none."""
    return 1 << max(x, 1).bit_length() - 1


def _chunk(structure: Structure) -> int:
    return SHORT_CHUNK if structure.key + structure.value <= SHORT_FEATURES else CHUNK


def _state_bytes(structure: Structure) -> int:
    width = 8 if "64" in structure.dtype else 4
    return (
        0
        if "response" in structure.parts
        else structure.batch * structure.heads * structure.key * structure.value * width
    )


def _refuse_sequential(s: Structure) -> str | None:
    return "a convolution has no memory to step" if "response" in s.parts else None


def _refuse_chunked(s: Structure) -> str | None:
    if "erase" in s.parts:
        return "an erase writes what it reads; the delta algorithm solves for that"
    return _refuse_sequential(s) or s.over_both


def _refuse_elementwise(s: Structure) -> str | None:
    return "an erase mixes the rows of the memory" if "erase" in s.parts else _refuse_sequential(s)


def _refuse_delta(s: Structure) -> str | None:
    return s.over_both if "erase" in s.parts else "there is no erase"


def _refuse_fft(s: Structure) -> str | None:
    if "response" in s.parts:
        return None
    if varying := s.varying - {"input"}:
        return f"{', '.join(sorted(varying))} varies over batch or time"
    for name, why in (
        ("log_gate", "a running normaliser varies in time"),
        ("reset", "a convolution has no memory to reset"),
        ("memory", "a convolution starts from an empty memory"),
    ):
        if name in s.parts:
            return why
    return None if s.substeps == 1 else "substeps vary in time"


def _cost(s: Structure, *, flops: float, floats: float, launches: float) -> Cost:
    matrix, stream, launch = SPEEDS.get(s.device, SPEEDS["cpu"])
    seconds = flops / matrix + 4 * floats / stream + launches * launch
    return Cost(flops=flops, bytes=4 * floats, launches=launches, seconds=seconds)


def _tokens(s: Structure) -> float:
    return s.batch * s.length * s.heads * s.substeps


def _lowered(s: Structure) -> float:
    """Floats moved by the rewrites before an algorithm: angles and what they turn, the normaliser, gates."""
    turned = s.key * (10 * ("phase" in s.varying or "phase_rate" in s.parts) + 6 * (1 + s.reads))
    floats = (
        turned * ("phase" in s.parts or "phase_rate" in s.parts) + 40 * s.normaliser + 3 * s.key * ("gate" in s.parts)
    )
    return _tokens(s) * floats


def _cost_sequential(s: Structure) -> Cost:
    entries = _tokens(s) * s.key * s.value
    floats = 6 * entries + _lowered(s)
    return _cost(s, flops=5 * entries, floats=floats, launches=(6 + 2 * s.reads) * s.length * s.substeps)


def _cost_chunked(s: Structure) -> Cost:
    levels = 6 if s.decay_over_key or "value" in s.parts else 1
    flops = _tokens(s) * (2 * _chunk(s) * (s.key + s.value) + 2 * s.key * s.value * (1 + s.reads))
    # weights of one number a head are no frame: the products of their decays are a matrix of their own
    scores = 14 if s.normaliser and not s.decay_over_key else 2
    floats = _tokens(s) * ((4 + 2 * levels) * (s.key + s.value) + scores * _chunk(s)) + _lowered(s)
    return _cost(s, flops=flops, floats=floats, launches=(60 + 10 * levels) * _windows(s, "chunked"))


def _cost_elementwise(s: Structure) -> Cost:
    entries = _tokens(s) * s.key * s.value
    # a third of a step's two forward, two again and one and its reads backward
    launches = (5 + s.reads) / 3 * s.length * s.substeps + 60 * _windows(s, "elementwise")
    return _cost(s, flops=5 * entries, floats=5 * entries + _lowered(s), launches=launches)


def _cost_delta(s: Structure) -> Cost:
    flops = _tokens(s) * (4 * _chunk(s) * (s.key + s.value) + _chunk(s) ** 2 + 2 * s.key * (2 * s.key + 4 * s.value))
    # of four kinds of scores over K, at every level of halves
    halves = 8 * (_chunk(s).bit_length() - 1) * s.key if s.decay_over_key else 0
    floats = _tokens(s) * (12 * (s.key + s.value) + 8 * _chunk(s) + halves) + _lowered(s)
    return _cost(s, flops=flops, floats=floats, launches=120 * _windows(s, "delta"))


def _cost_fft(s: Structure) -> Cost:
    transforms = 3 * 5 * s.batch * s.heads * s.value * 2 * s.length * s.length.bit_length()
    if "response" in s.parts:
        return _cost(s, flops=transforms, floats=transforms / 2, launches=20)
    # a power of the step for about √T lags near and as many far, and every lag and the last memory from them
    powers = 2 * s.length**0.5 * s.heads * s.key * s.value
    flops = transforms + 2 * s.length * s.heads * s.key * s.value * (s.reads + s.batch)
    if "erase" in s.parts:
        flops += 2 * s.heads * s.key**3 * s.length.bit_length()
        return _cost(s, flops=flops, floats=transforms / 2 + 4 * powers, launches=20 + 10 * s.length.bit_length())
    return _cost(s, flops=flops, floats=transforms / 2 + 12 * powers, launches=60)


def _windows(s: Structure, algorithm: str) -> float:
    return max(1.0, s.length / _window(s, algorithm))


Refuse = Callable[[Structure], str | None]
ALGORITHMS: dict[str, tuple[Refuse, Callable[[Structure], Cost]]] = {
    "sequential": (_refuse_sequential, _cost_sequential),
    "chunked": (_refuse_chunked, _cost_chunked),
    "elementwise": (_refuse_elementwise, _cost_elementwise),
    "delta": (_refuse_delta, _cost_delta),
    "fft": (_refuse_fft, _cost_fft),
}
#: Every backend with why it cannot run, or None.
BACKENDS: dict[str, str | None] = {
    "torch": None,
    "triton": "the Triton kernels are not part of this version; use backend='torch'",
}
