"""What the memory is made of: its dtype, its empty value, and when a number counts as zero."""

import torch

from eos.record import Memory, Recurrence, parts

#: M of an empty memory: low enough that nothing is left of it after the first write, far from −inf (whose
#: differences are NaN).
EMPTY_LOG_SCALE = -1e30


def state_dtype(record: Recurrence) -> torch.dtype:
    """float32, or float64 where any part of the record is float64: memory is never narrower than float32."""
    double = any(tensor.dtype == torch.float64 for _, _, tensor in parts(record))
    return torch.float64 if double else torch.float32


def empty_memory(record: Recurrence) -> Memory:
    """The memory before the first step of a record that gives none."""
    sizes, dtype, device = record.sizes, state_dtype(record), record.expand.device
    value = torch.zeros(sizes["B"], sizes["H"], sizes["K"], sizes["V"], dtype=dtype, device=device)
    transition = record.transition
    if transition.log_gate is None:
        return Memory(value=value)
    entries = max(transition.log_gate.shape[3], 1 if transition.key is None else transition.key.shape[3])
    scale = torch.full((sizes["B"], sizes["H"], entries), EMPTY_LOG_SCALE, dtype=dtype, device=device)
    return Memory(value=value, log_scale=scale)


def output_dtype(record: Recurrence) -> torch.dtype:
    """The dtype of y: that of the activations i, e and s, so bfloat16 activations give a bfloat16 y."""
    dtype = record.expand.dtype
    for tensor in (record.input, *record.reads):
        dtype = dtype if tensor is None else torch.promote_types(dtype, tensor.dtype)
    return dtype
