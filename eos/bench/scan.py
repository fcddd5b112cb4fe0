"""The kernels on a GPU against others' kernels, what is predicted, and the least time that bytes and operations take.

Without a GPU nothing is timed: every row says "not measured" beside its prediction.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from eos import engine
from eos.bench.check import Check
from eos.bench.gpu_clock import Measure, Rates, gpu_clock, measure_rates
from eos.bench.peers import PEERS, Peer
from eos.bench.scan_cases import CASES, Case, Held, draw, moved, operations, plan_of, record
from eos.bench.scan_rows import NOT_MEASURED, Against, Row
from eos.compose.cost import PASSES
from eos.errors import EOSError

Found = TypeVar("Found")
#: y, and backward the gradients of what takes one, in the order of the names.
Run = Callable[[], list[Tensor | None]]

#: Two results in bfloat16, each within 1e-2 of the exact one, differ by less; a gradient sums some thousand of such.
TOLERANCE, GRADIENT_TOLERANCE = 2e-2, 5e-2


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Where rows are timed, by what, and the rates of that device."""

    device: str
    measure: Measure
    rates: Rates


def timing() -> Timing:
    """That of the current GPU.

    Raises:
        EOSError: when there is none.
    """
    if not torch.cuda.is_available():
        raise EOSError("torch sees no CUDA device to time on; without one `eos bench scan` prints what is predicted")
    clock = gpu_clock()
    return Timing(device="cuda", measure=clock, rates=measure_rates(clock, device="cuda"))


def checks() -> Iterator[Check]:
    """What is predicted, and which figures want a GPU."""
    for row in rows(None):
        yield from row.checks()


def rows(on: Timing | None, cases: Sequence[Case] = CASES) -> Iterator[Row]:
    """Every case, forward and then with its backward pass; timed where there is something to time on."""
    for case in cases:
        for backward in (False, True):
            yield _predicted(case, backward=backward) if on is None else _timed(case, on, backward=backward)


def _predicted(case: Case, *, backward: bool) -> Row:
    plan, s = plan_of(case), case.shape
    return Row(
        name=f"{case.name} bfloat16, {'forward + backward' if backward else 'forward'}",
        kind=case.kind,
        sizes=(s.batch, s.length, s.heads, s.key, s.value),
        backward=backward,
        dtype="bfloat16",
        plan=f"{plan.algorithm} on {plan.backend}",
        moved=moved(case, backward=backward),
        operations=operations(case, backward=backward),
        predicted=plan.cost.seconds * (PASSES if backward else 1),
        goal=None if backward else case.floor,
        peers=tuple(Against(peer=name, goal=goal, note=NOT_MEASURED) for name, goal in case.peers.items()),
    )


def _timed(case: Case, on: Timing, *, backward: bool) -> Row:
    """A row whose peers met ours and were then timed in turns with it."""
    row, things = _predicted(case, backward=backward), dict[str, Run]()

    def first() -> list[Against]:
        held = draw(case, device=on.device)
        like, generator = held["input"], torch.Generator(on.device).manual_seed(1)
        direction = torch.randn(like.shape, generator=generator, device=on.device, dtype=like.dtype)
        things["eos"] = _runner(lambda x: engine.scan(record(case.kind, x))[0], held, direction, backward=backward)
        ours = things["eos"]()
        met = [_meet(it, held, direction, ours, backward=backward) for it in row.peers]
        things.update({it.peer: run for it, run in met if run is not None})
        return [it for it, _ in met]

    met = _attempt(first)
    if isinstance(met, str):
        return replace(row, failure=met)
    seconds = _attempt(lambda: on.measure(things))
    if isinstance(seconds, str):
        return replace(row, failure=seconds)
    peers = [
        replace(it, seconds=seconds[it.peer], ratio=seconds[it.peer] / seconds["eos"]) if it.peer in seconds else it
        for it in met
    ]
    floor = on.rates.floor(moved=row.moved, operations=row.operations)
    return replace(row, seconds=seconds["eos"], floor=floor, peers=tuple(peers))


def _runner(compute: Callable[[Held], Tensor], held: Held, direction: Tensor, *, backward: bool) -> Run:
    leaves = [x for x in held.values() if x.requires_grad]

    def run() -> list[Tensor | None]:
        with torch.set_grad_enabled(backward):
            y = compute(held)
        gradients = torch.autograd.grad(y, leaves, direction, allow_unused=True) if backward else ()
        return [y.detach(), *gradients]

    return run


def _meet(
    it: Against, held: Held, direction: Tensor, ours: list[Tensor | None], *, backward: bool
) -> tuple[Against, Run | None]:
    """What a peer makes of the same numbers, compared with ours; how to run it, where it is worth timing."""
    peer: Peer = PEERS[it.peer]

    def first() -> tuple[Run, list[float]]:
        function = peer.load()
        stored = {name: peer.stored(x) for name, x in held.items()}
        run = _runner(lambda x: peer.call(function, x), stored, peer.stored(direction), backward=backward)
        theirs = run()
        return run, [_difference(*pair) for pair in zip(ours, theirs, strict=True)] if peer.same else []

    made = _attempt(first)
    if isinstance(made, str):
        return replace(it, note=made), None
    run, differences = made
    if not peer.same:
        return replace(it, note="another function"), run
    y, *gradients = differences
    largest = max(differences)
    if y <= TOLERANCE and all(gradient <= GRADIENT_TOLERANCE for gradient in gradients):
        return replace(it, difference=largest, note=""), run
    return replace(it, difference=largest if math.isfinite(largest) else None, note="differs, not compared"), None


def _difference(ours: Tensor | None, theirs: Tensor | None) -> float:
    """‖ours − theirs‖ / ‖theirs‖; infinite where one is missing or not finite."""
    if ours is None or theirs is None or ours.shape != theirs.shape:
        return math.inf
    difference = ((ours.float() - theirs.float()).norm() / theirs.float().norm()).item()
    return difference if math.isfinite(difference) else math.inf


def _attempt(run: Callable[[], Found]) -> Found | str:
    """What a run returns, or in words why it could not; one row that fails does not end the others."""
    try:
        return run()
    except torch.OutOfMemoryError:
        why = "out of memory"
        torch.cuda.empty_cache()
    except Exception as error:  # noqa: BLE001 - whatever a kernel or its compiler raises is a word in its row
        why = str(error) if isinstance(error, EOSError) else f"{type(error).__name__}: {error}"
        why = why.partition("\n")[0]
    return why
