"""The search for the tiles that run a kind of record the fastest on this machine's GPU."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from functools import partial
from typing import Any

import torch
from torch import Tensor

from eos import engine
from eos.bench.records import Sample, sample
from eos.engine.algorithm import AbstractAlgorithm
from eos.engine.triton import algorithm_of
from eos.engine.triton.support import misfit
from eos.engine.triton.table import Measured, own_path, read, written
from eos.engine.triton.tiles import SHIPPED, SIZES, Row, Served
from eos.engine.windows import run_windows
from eos.record import map_parts
from eos.training.files import write_json

#: Fields that only one pass depends on; of the others, both passes count together.
PASSES = {"near": "backward", "backward_warps": "backward", "backward": "backward", "forward": "forward"}
#: A candidate must take less than this share of the best one's time: medians of one thing differ by less.
MARGIN = 0.98
#: The records that are run and timed, by :func:`eos.bench.records.sample`, with their reads: a second one takes more
#: shared memory.
KINDS = {
    "chunked": (("none", 2), ("head", 1), ("key", 1), ("key", 2)),
    "delta": (("delta", 1), ("delta", 2)),
    "elementwise": (("elementwise", 1),),
}
#: Their sizes: enough programs for the largest GPU, memories of a few GB. And steps of those that are checked.
BATCH, LENGTH, WIDTH, CHECKED_LENGTH = 8, 4096, 2048, 129
#: How far outputs and gradients may lie from those of float64, max |got − want| / max |want|: a few roundings of the
#: activations, of 2⁻⁹ and 2⁻¹²; in float32, of sums of products in three pieces.
TOLERANCES = {torch.bfloat16: 2e-2, torch.float16: 2.5e-3, torch.float32: 1e-5}


@dataclass(frozen=True, kw_only=True)
class Times:
    """Milliseconds of a pass forward and of one backward."""

    forward: float
    backward: float

    @property
    def both(self) -> float:
        """Those of a step of training."""
        return self.forward + self.backward

    def of(self, field: str) -> float:
        """Those that a field of tiles has an influence on."""
        return float(getattr(self, PASSES.get(field, "both")))


#: The times of tiles; None where they do not run, or run wrong.
Measure = Callable[[Row], Times | None]


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What a search came to: the best tiles; ``before`` are the times of those shipped, None where they do not run."""

    served: Served
    tiles: Row
    before: Times | None
    after: Times


def candidates(served: Served) -> Iterator[tuple[str, int]]:
    """Every field of a row with every size that it may be set to, no tile wider than what it holds."""
    for field in fields(SHIPPED[served]):
        widest = max(SIZES[field.name])
        if field.name == "value":
            widest = served.value
        elif field.name in ("scores", "near", "far"):
            widest = max(served.key, served.value)
        yield from ((field.name, size) for size in SIZES[field.name] if size <= widest)


def search(served: Served, measure: Measure, *, over: Callable[[], bool] = lambda: False) -> Tuned | None:
    """The best tiles, found from those shipped by changing one field at a time until no change is faster.

    Arguments:
        over: asked before each measurement but the first; once true, the best so far is what was found.

    Returns:
        What was found, or None where no tiles run.
    """
    best = SHIPPED[served]
    before = times = measure(best)
    if times is None:  # what takes the least registers and shared memory may run
        best = _changed(best, {field.name: min(SIZES[field.name]) for field in fields(best)})
        times = measure(best)
    if times is None:
        return None
    seen, start = {SHIPPED[served], best}, None
    while start != best:
        start = best
        for field, size in candidates(served):
            changed = _changed(best, {field: size})
            if changed in seen or over():
                continue
            seen.add(changed)
            found = measure(changed)
            if found is not None and found.of(field) < MARGIN * times.of(field):
                best, times = changed, found
    return Tuned(served=served, tiles=best, before=before, after=times)


def _changed(tiles: Row, sizes: dict[str, Any]) -> Row:
    return replace(tiles, **sizes)


def tune(
    asked: Sequence[Served],
    measuring: Callable[[Served], Measure],
    *,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[tuple[Served, Tuned | None]]:
    """Search for one after another, each in an even share of the time that is left; what no time is left for, is not.

    Arguments:
        seconds: the time for all of them; the last measurement may go beyond it.
    """
    end = clock() + seconds
    for place, served in enumerate(asked):
        now = clock()
        if now >= end:
            return
        share = now + (end - now) / (len(asked) - place)
        yield served, search(served, measuring(served), over=partial(_passed, clock, share))


def _passed(clock: Callable[[], float], end: float) -> bool:
    return clock() >= end


def keep(found: Tuned, *, gpu: str) -> Measured:
    """Write what was found into the user's table, in the place of an earlier row for the same GPU and records.

    Raises:
        TilesError: the table that is there cannot be used.
    """
    row = Measured(served=found.served, gpu=gpu, measured=date.today().isoformat(), tiles=found.tiles)
    path = own_path()
    table = read(path) | {(gpu, found.served): row}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, written(table.values()))
    return row


def gpu_milliseconds(run: Callable[[], object], *, rounds: int = 15) -> float:
    """The median milliseconds that the GPU works on something, from the second run on."""
    run()
    ahead = torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
    times: list[float] = []
    for _ in range(rounds):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        for _ in range(32):  # 8 GB of writes, while which all of a short run is queued: else it is timed waiting for it
            ahead.zero_()
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def on_device(
    served: Served,
    *,
    dtype: torch.dtype,
    device: str = "cuda",
    milliseconds: Callable[[Callable[[], object]], float] = gpu_milliseconds,
) -> Measure:
    """What measures tiles: checks them against torch in float64 on short records, then times long ones.

    Arguments:
        dtype: of the activations.
        milliseconds: what times one function.
    """

    def samples(length: int, batch: int) -> list[Sample]:
        sizes = (batch, max(1, WIDTH // max(served.key, served.value)), served.key, served.value)
        kinds = KINDS[served.algorithm]
        return [sample(kind, length, reads=reads, sizes=sizes, dtype=dtype, device=device) for kind, reads in kinds]

    checked = [(it, _exact(it)) for it in samples(CHECKED_LENGTH, 1)]
    timed = samples(LENGTH, BATCH)

    def measure(tiles: Row) -> Times | None:
        algorithm = algorithm_of(served.algorithm, tiles)
        try:
            if any(_error(_outcome(it, algorithm), want) > TOLERANCES[dtype] for it, want in checked):
                return None
            forward, backward = zip(*(_passes(it, algorithm, milliseconds) for it in timed), strict=True)
        except Exception as error:
            if not misfit(error):
                raise
            return None
        return Times(forward=sum(forward), backward=sum(backward))

    return measure


def _run(it: Sample, algorithm: AbstractAlgorithm) -> tuple[Tensor, ...]:
    ys, _, _ = run_windows(it.record, algorithm, length=it.record.sizes["T"], trace=False)
    return ys


def _passes(
    it: Sample, algorithm: AbstractAlgorithm, milliseconds: Callable[[Callable[[], object]], float]
) -> tuple[float, float]:
    with torch.no_grad():
        forward = milliseconds(lambda: _run(it, algorithm))
    ys = _run(it, algorithm)
    directions = [it.direction for _ in ys]
    return forward, milliseconds(lambda: torch.autograd.grad(ys, it.leaves, directions, retain_graph=True))


def _outcome(it: Sample, algorithm: AbstractAlgorithm) -> list[Tensor]:
    """Every read, and the gradient of every leaf."""
    ys = _run(it, algorithm)
    gradients = torch.autograd.grad(ys, it.leaves, [it.direction for _ in ys])
    return [*(y.detach() for y in ys), *gradients]


def _exact(it: Sample) -> list[Tensor]:
    """As :func:`_outcome`, of the same numbers, by torch in float64."""
    wide = {id(leaf): leaf.detach().double().requires_grad_() for leaf in it.leaves}
    record = map_parts(it.record, lambda name, axes, tensor: wide[id(tensor)])
    y, _ = engine.scan(record, backend="torch")
    ys = y if isinstance(y, tuple) else (y,)
    gradients = torch.autograd.grad(ys, list(wide.values()), [it.direction.double() for _ in ys])
    return [*(y.detach() for y in ys), *gradients]


def _error(got: list[Tensor], want: list[Tensor]) -> float:
    """The largest of max |got − want| / max |want|; infinite where something is not finite."""
    errors = [(g - w).abs().max() / w.abs().max() for g, w in zip(got, want, strict=True)]
    return float(torch.stack(errors).nan_to_num(nan=torch.inf).max())
