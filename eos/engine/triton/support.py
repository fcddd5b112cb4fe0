"""What the Triton backend runs, and why not what it does not. Imports triton only when it is asked."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from eos.engine.state import state_dtype
from eos.engine.structure import Structure
from eos.record import Recurrence, parts

#: The algorithms that have kernels.
ALGORITHMS = ("chunked", "elementwise", "delta")
#: What a tile of a pass over T holds of K or V at most, and what the kernel of one token holds of K.
WIDEST, WIDEST_STEP = 256, 512


def refuse(s: Structure, algorithm: str) -> str | None:
    """Why the kernels cannot run an algorithm on a record, or None."""
    if s.device != "cuda" and not _interpreted():
        return f"the record is on {s.device} and the kernels run on a GPU; backend='torch' runs it here"
    if "64" in s.dtype:
        return "the kernels keep a float32 memory; backend='torch' runs float64"
    if algorithm not in ALGORITHMS:
        return f"there is no kernel of the {algorithm} algorithm in this version; backend='torch' runs it"
    if algorithm != "elementwise" and max(s.key, s.value) > WIDEST:
        return f"a tile holds at most {WIDEST} entries of K or V, got K = {s.key}, V = {s.value}"
    return None


def refuse_step(record: Recurrence) -> str | None:
    """Why the kernel of decoding cannot run a record of one token, or None."""
    if not record.expand.is_cuda and not _interpreted():
        return f"the record is on {record.expand.device.type} and the kernels run on a GPU"
    if state_dtype(record) == torch.float64:
        return "the kernels keep a float32 memory"
    if torch.compiler.is_compiling():
        return "torch.compile does not trace its launch; call eos.step uncompiled"
    if record.sizes["K"] > WIDEST_STEP:
        return f"a program holds at most {WIDEST_STEP} entries of K, got K = {record.sizes['K']}"
    if torch.is_grad_enabled() and any(tensor.requires_grad for _, _, tensor in parts(record)):
        return "the kernel of one step has no gradient; call it under torch.no_grad(), or eos.scan"
    return None


def misfit(error: Exception) -> bool:
    """Whether an error says that a kernel's tiles do not compile, or ask for more than this GPU has."""
    from triton.errors import TritonError

    # what fails inside the compiler has no class of its own
    return isinstance(error, TritonError | torch.OutOfMemoryError) or "PassManager" in str(error)


def device_of(x: Tensor) -> AbstractContextManager[object]:
    """Inside it kernels are launched on the GPU that a tensor is on, whichever is the current one."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def _interpreted() -> bool:
    """Whether Triton interprets its kernels, as the tests do on a machine without a GPU."""
    from triton import knobs

    return bool(knobs.runtime.interpret)
