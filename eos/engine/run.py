"""Running a record: :func:`scan` over a sequence, :func:`step` for one token of decoding."""

from typing import Any, Literal, TypeAlias, overload

from torch import Tensor

from eos.engine.algorithm import AbstractAlgorithm
from eos.engine.chunked import Chunked
from eos.engine.delta import Delta
from eos.engine.elementwise import Elementwise
from eos.engine.fft import convolve, run_invariant
from eos.engine.plan import Plan, plan
from eos.engine.sequential import sequential
from eos.engine.state import output_dtype
from eos.engine.windows import run_windows
from eos.errors import RecordError
from eos.record import Convolution, Memory, Recurrence
from eos.stage import full_precision

#: A tensor, or a tuple of them where the record has a tuple of reads.
Reads: TypeAlias = Any


@overload
def scan(record: Recurrence, *, backend: str = "auto", algorithm: str = "auto") -> tuple[Reads, Memory]: ...
@overload
def scan(
    record: Recurrence, *, backend: str = "auto", algorithm: str = "auto", trace: Literal[True]
) -> tuple[Reads, Memory, Tensor]: ...
@overload
def scan(record: Recurrence, *, backend: str = "auto", algorithm: str = "auto", trace: bool) -> tuple[Any, ...]: ...
@overload
def scan(record: Convolution, *, backend: str = "auto", algorithm: str = "auto") -> tuple[Tensor, None]: ...
def scan(
    record: Recurrence | Convolution, *, backend: str = "auto", algorithm: str = "auto", trace: bool = False
) -> tuple[Any, ...]:
    """Run a record over its whole length.

        m_t = o_t ∘ R(phase_t) m_{t-1} + a_t (b_tᵀ m_{t-1}) + (gate_t ∘ e_t) i_tᵀ ;  y_t = m_tᵀ s_t

    Arguments:
        record: what to run.
        backend: "auto", "torch" or "triton".
        algorithm: "auto" lets :func:`eos.plan` choose; or sequential, chunked, elementwise, delta, fft.
        trace: also return the normaliser M at every step, where the transition has a log_gate.

    Returns:
        y [B,T,H,V] in the dtype of the activations (a tuple where shrink is one); the memory after the last step,
        float32 or wider, None for a convolution; with ``trace``, M [B,T,H,K|1].

    Raises:
        PlanError: when the algorithm or backend asked for cannot run this record.
        RecordError: when a trace is asked of a record without log_gate.
    """
    chosen = plan(record, backend=backend, algorithm=algorithm)
    with full_precision(record.input if isinstance(record, Convolution) else record.expand):
        if isinstance(record, Convolution):
            return convolve(record), None
        if trace and record.transition.log_gate is None:
            raise RecordError("trace returns the running normaliser M: the transition has no log_gate")
        ys, memory, scales = run_planned(record, chosen, trace=trace)
    y = ys if isinstance(record.shrink, tuple) else ys[0]
    if trace:
        assert scales is not None
        return y, memory, scales
    return y, memory


def step(record: Recurrence) -> tuple[Reads, Memory]:
    """Run one token of decoding: a record with T = 1, whose ``memory`` is what the last step returned.

    Raises:
        RecordError: when T is not 1.
    """
    if record.sizes["T"] != 1:
        raise RecordError(f"step takes one token, T = 1, got T = {record.sizes['T']}; use eos.scan")
    with full_precision(record.expand):
        ys, memory, _ = sequential(record)
        ys = _as_activations(ys, record)
    return (ys if isinstance(record.shrink, tuple) else ys[0]), memory


def run_planned(record: Recurrence, chosen: Plan, *, trace: bool) -> tuple[tuple[Tensor, ...], Memory, Tensor | None]:
    """Run a recurrence as a plan says: the reads, the memory after the last step, M at every step if asked for."""
    if chosen.algorithm == "sequential":
        ys, memory, scales = sequential(record)
        return _as_activations(ys, record), memory, scales
    if chosen.algorithm == "fft":
        return *run_invariant(record), None
    return run_windows(record, _algorithm(chosen), length=chosen.window, trace=trace)


def _algorithm(chosen: Plan) -> AbstractAlgorithm:
    if chosen.backend == "triton":
        from eos.engine.triton import algorithm_of  # imports triton, which only a GPU needs

        return algorithm_of(chosen.algorithm, chosen.structure)
    if chosen.algorithm == "chunked":
        return Chunked(size=chosen.chunk)
    return Delta(size=chosen.chunk) if chosen.algorithm == "delta" else Elementwise(size=chosen.chunk)


def _as_activations(ys: tuple[Tensor, ...], record: Recurrence) -> tuple[Tensor, ...]:
    dtype = output_dtype(record)
    return tuple(y.to(dtype) for y in ys)
