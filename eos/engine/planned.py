"""Running a recurrence as its plan says."""

from torch import Tensor

from eos.engine.algorithm import AbstractAlgorithm
from eos.engine.chunked import Chunked
from eos.engine.delta import Delta
from eos.engine.edges import with_edges
from eos.engine.elementwise import Elementwise
from eos.engine.fft import run_invariant
from eos.engine.plan import Plan
from eos.engine.sequential import sequential
from eos.engine.state import output_dtype
from eos.engine.triton.support import device_of
from eos.engine.windows import run_windows
from eos.record import Memory, Recurrence


def run_planned(
    record: Recurrence, chosen: Plan, *, trace: bool, kept: tuple[Memory, ...] = ()
) -> tuple[tuple[Tensor, ...], tuple[Memory, ...], Tensor | None]:
    """Run a recurrence by the algorithm, backend and sizes of a plan.

    Arguments:
        kept: the memories of an earlier call, as in :func:`eos.engine.windows.run_windows`; for an algorithm without
            windows they change nothing.

    Returns:
        The reads; the memory after every window, the last of them after the last step; M at every step if asked for.
    """
    edges = chosen.edges
    if chosen.algorithm in ("sequential", "fft"):
        record = with_edges(record, edges)
    if chosen.algorithm == "sequential":
        ys, memory, scales = sequential(record)
        return as_activations(ys, record), (memory,), scales
    if chosen.algorithm == "fft":
        ys, memory = run_invariant(record)
        return ys, (memory,), None
    with device_of(record.expand):
        return run_windows(record, _algorithm(chosen), length=chosen.window, trace=trace, kept=kept, edges=edges)


def as_activations(ys: tuple[Tensor, ...], record: Recurrence) -> tuple[Tensor, ...]:
    """Reads in the dtype of the record's activations."""
    dtype = output_dtype(record)
    return tuple(y.to(dtype) for y in ys)


def _algorithm(chosen: Plan) -> AbstractAlgorithm:
    if chosen.tiles is not None:
        from eos.engine.triton import algorithm_of  # imports triton, which only a GPU needs

        return algorithm_of(chosen.algorithm, chosen.tiles.tiles, chosen.segments)
    if chosen.algorithm == "chunked":
        return Chunked(size=chosen.chunk)
    return Delta(size=chosen.chunk) if chosen.algorithm == "delta" else Elementwise(size=chosen.chunk)
