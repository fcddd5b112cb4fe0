"""Running a record: :func:`scan` over a sequence, :func:`step` for one token of decoding."""

from typing import Any, Literal, TypeAlias, overload

import torch
from torch import Tensor

from eos.engine.fft import convolve
from eos.engine.operator import scan_as_operator
from eos.engine.plan import BACKENDS, plan
from eos.engine.planned import as_activations, run_planned
from eos.engine.sequential import sequential
from eos.engine.triton.support import device_of, refuse_step
from eos.errors import PlanError, RecordError, unknown
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
    if isinstance(record, Convolution):
        # a plan of it has nothing to choose, and torch.compile cannot trace one
        if not (torch.compiler.is_compiling() and (backend, algorithm) == ("auto", "auto")):
            plan(record, backend=backend, algorithm=algorithm)
        with full_precision(record.input):
            return convolve(record), None
    if trace and record.transition.log_gate is None:
        raise RecordError("trace returns the running normaliser M: the transition has no log_gate")
    with full_precision(record.expand):
        if torch.compiler.is_compiling():
            ys, memory, scales = scan_as_operator(record, backend=backend, algorithm=algorithm, trace=trace)
        else:
            chosen = plan(record, backend=backend, algorithm=algorithm)
            ys, memories, scales = run_planned(record, chosen, trace=trace)
            memory = memories[-1]
    y = ys if isinstance(record.shrink, tuple) else ys[0]
    if trace:
        assert scales is not None
        return y, memory, scales
    return y, memory


def step(record: Recurrence, *, backend: str = "auto") -> tuple[Reads, Memory]:
    """Run one token of decoding: a record with T = 1, whose ``memory`` is what the last step returned.

    Arguments:
        backend: "auto", "torch" or "triton". "auto" takes the kernel on a GPU, where it can run the record.

    Raises:
        RecordError: when T is not 1.
        PlanError: when the backend asked for cannot run this record.
    """
    if record.sizes["T"] != 1:
        raise RecordError(f"step takes one token, T = 1, got T = {record.sizes['T']}; use eos.scan")
    if backend not in ("auto", *BACKENDS):
        raise PlanError(unknown("backend", backend, ["auto", *BACKENDS]))
    with full_precision(record.expand):
        if _steps_by_kernel(record, backend):
            from eos.engine.triton.step import step as by_kernel  # imports triton, which only a GPU needs

            with device_of(record.expand):
                ys, memory = by_kernel(record)
        else:
            ys, memory, _ = sequential(record)
            ys = as_activations(ys, record)
    return (ys if isinstance(record.shrink, tuple) else ys[0]), memory


def _steps_by_kernel(record: Recurrence, backend: str) -> bool:
    if backend == "torch" or (backend == "auto" and (torch.compiler.is_compiling() or not record.expand.is_cuda)):
        return False
    why = refuse_step(record)
    if why is not None and backend == "triton":
        raise PlanError(f"backend 'triton' cannot run this step: {why}")
    return why is None
