"""Choosing how a record runs: from its structure alone, by an analytic cost model, with the reasons kept."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from eos.engine.cost import COSTS, Cost, chunk, segments, window
from eos.engine.edges import made_in_kernels
from eos.engine.structure import Structure, structure_of
from eos.engine.triton.support import refuse as refuse_triton
from eos.engine.triton.table import Chosen, choose
from eos.errors import PlanError, unknown
from eos.record import Convolution, Recurrence


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a record runs and why.

    Arguments:
        structure: what was looked at.
        algorithm, backend: what was chosen.
        window: steps lowered and run at once.
        chunk: steps of a chunk inside a window, which are taken together; 1 where each is taken by itself.
        segments: how many pieces of a window run at once; 1 but where a GPU would have programs without work.
        tiles: what programs of the Triton kernels take, and the table it comes from; None on torch.
        edges: names of what the kernels make of pre-activations themselves (eos.engine.edges).
        cost: the estimate for the forward pass.
        state_bytes: bytes of the memory m that decoding carries, without a normaliser.
        reasons: for every algorithm and backend, why it was or was not chosen.
    """

    structure: Structure
    algorithm: str
    backend: str
    window: int
    chunk: int
    segments: int
    tiles: Chosen | None
    edges: frozenset[str]
    cost: Cost
    state_bytes: int
    reasons: tuple[tuple[str, str], ...]

    def windows(self, length: int) -> int:
        """How many windows ``length`` steps are."""
        whole = self.algorithm in ("sequential", "fft") or self.window >= self.structure.length
        return 1 if whole else -(-length // self.window)

    def __str__(self) -> str:
        s = self.structure
        head = f"{self.algorithm} on {self.backend} ({s.device}, {s.dtype.removeprefix('torch.')})"
        sizes = f"B={s.batch} T≤{s.length} H={s.heads} K={s.key} V={s.value}, parts: {', '.join(sorted(s.parts))}"
        steps = f"window {self.window} steps, chunk {self.chunk}, memory {self.state_bytes} bytes"
        steps += "" if self.segments == 1 else f", {self.segments} segments at once"
        steps += "" if self.tiles is None else f", tiles: {self.tiles.table}"
        steps += "" if not self.edges else f", made inside: {', '.join(sorted(self.edges))}"
        width = max(len(name) for name, _ in self.reasons)
        return "\n".join([head, sizes, steps, *(f"  {name:<{width}}  {why}" for name, why in self.reasons)])


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
    refusals = {name: refuse(structure) for name, refuse in ALGORITHMS.items()}
    if algorithm != "auto" and (why := refusals[algorithm]):
        raise PlanError(f"algorithm {algorithm!r} cannot run this record: {why}")
    candidates = _candidates(structure, refusals, backend)
    if algorithm != "auto":
        candidates = {pair: held for pair, held in candidates.items() if pair[0] == algorithm}
    costs = {pair: cost for pair, cost in candidates.items() if isinstance(cost, Cost)}
    if not costs:  # the reason that counts is that of what torch would run
        name = min(candidates, key=lambda pair: COSTS["torch"][pair[0]](structure).seconds)
        raise PlanError(f"backend {backend!r} cannot run this record: {candidates[name]}")
    chosen, on = min(costs, key=lambda pair: costs[pair].seconds)
    best = {name: min(_of(costs, name), key=lambda cost: cost.seconds) for name in ALGORITHMS if _of(costs, name)}
    no = {name: why for (name, _), why in candidates.items() if isinstance(why, str)} | {
        name: why for name, why in refusals.items() if why
    }
    reasons = [
        (name, _reason(name, no.get(name), best.get(name), chosen, asked=algorithm != "auto")) for name in ALGORITHMS
    ]
    reasons += [(name, "chosen" if name == on else _not_on(structure, chosen, name, backend)) for name in BACKENDS]
    return Plan(
        structure=structure,
        algorithm=chosen,
        backend=on,
        window=window(structure, chosen, on),
        chunk=chunk(structure, chosen, on),
        segments=segments(structure, chosen, on),
        tiles=choose(structure, chosen) if on == "triton" else None,
        edges=made_in_kernels(structure, chosen) if on == "triton" else frozenset(),
        cost=costs[chosen, on],
        state_bytes=_state_bytes(structure),
        reasons=tuple(reasons),
    )


def _candidates(
    structure: Structure, refusals: dict[str, str | None], backend: str
) -> dict[tuple[str, str], Cost | str]:
    """The cost of every algorithm on every backend that was not ruled out by the asker, or why it cannot run there."""
    found: dict[tuple[str, str], Cost | str] = {}
    for name, refusal in refusals.items():
        for on in BACKENDS:
            if refusal is not None or backend not in ("auto", on):
                continue
            if on == "triton" and (backend == "triton" or structure.device == "cuda"):
                why = refuse_triton(structure, name)
                found[name, on] = COSTS[on][name](structure) if why is None else why
            elif on == "torch":
                found[name, on] = COSTS[on][name](structure)
    return found


def _of(costs: dict[tuple[str, str], Cost], algorithm: str) -> list[Cost]:
    return [cost for (name, _), cost in costs.items() if name == algorithm]


def _not_on(structure: Structure, algorithm: str, backend: str, asked: str) -> str:
    """Why a plan does not run on a backend."""
    if asked != "auto":
        return f"not chosen: {asked} was asked for"
    if backend == "torch":
        return "not chosen: the kernel is cheaper"
    if structure.device != "cuda":
        return f"no: the record is on {structure.device}, the kernels run on a GPU"
    return f"no: {refuse_triton(structure, algorithm) or 'torch is cheaper'}"


def _reason(name: str, refusal: str | None, cost: Cost | None, chosen: str, *, asked: bool) -> str:
    if cost is None:
        return f"no: {refusal}" if refusal else "not chosen: another was asked for"
    estimate = f"{cost.seconds * 1e3:.3g} ms estimated ({cost.flops:.2g} flop, {cost.bytes:.2g} bytes)"
    if name == chosen:
        return f"chosen: {'asked for' if asked else 'cheapest'}, {estimate}"
    return f"not chosen: {estimate}"


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


Refuse = Callable[[Structure], str | None]
#: What every algorithm cannot run, and why.
ALGORITHMS: dict[str, Refuse] = {
    "sequential": _refuse_sequential,
    "chunked": _refuse_chunked,
    "elementwise": _refuse_elementwise,
    "delta": _refuse_delta,
    "fft": _refuse_fft,
}
BACKENDS = ("torch", "triton")
