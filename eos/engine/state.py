"""What the memory is made of: its dtype, its empty value, and when a number counts as zero."""

from collections.abc import Iterable

import torch
from torch import Tensor

from eos.record import Memory, Recurrence, parts

#: M of an empty memory: low enough that nothing is left of it after the first write, far from −inf (whose
#: differences are NaN).
EMPTY_LOG_SCALE = -1e30


def state_dtype(record: Recurrence) -> torch.dtype:
    """float32, or float64 where any part of the record is float64: memory is never narrower than float32."""
    return dtype_over(tensor for _, _, tensor in parts(record))


def dtype_over(tensors: Iterable[Tensor]) -> torch.dtype:
    """The same of all tensors of a record."""
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def memory_before(record: Recurrence) -> Memory:
    """The memory before the first step, every axis in full: the record's own, or an empty one."""
    sizes, dtype, device = record.sizes, state_dtype(record), record.expand.device
    held, transition = record.memory, record.transition
    shape = (sizes["B"], sizes["H"], sizes["K"], sizes["V"])
    value = torch.zeros(shape, dtype=dtype, device=device) if held is None else held.value.to(dtype).expand(shape)
    if transition.log_gate is None:
        return Memory(value=value)
    entries = scale_entries(record)
    if held is None or held.log_scale is None:
        scale = torch.full((*shape[:2], entries), EMPTY_LOG_SCALE, dtype=dtype, device=device)
    else:
        scale = held.log_scale.to(dtype).expand(*shape[:2], entries)
    return Memory(value=value, log_scale=scale)


def scale_entries(record: Recurrence) -> int:
    """Entries of the normaliser M a head, where there is a log_gate: as many as decay or are gated by themselves."""
    t, held = record.transition, None if record.memory is None else record.memory.log_scale
    return max(1 if x is None else x.shape[-1] for x in (t.log_gate, t.key, held))


def output_dtype(record: Recurrence) -> torch.dtype:
    """The dtype of y: that of the activations i, e and s, so bfloat16 activations give a bfloat16 y."""
    dtype = record.expand.dtype
    for tensor in (record.input, *record.reads):
        dtype = dtype if tensor is None else torch.promote_types(dtype, tensor.dtype)
    return dtype
