"""Launches the kernel of decoding, for one token of any record."""

import torch
from torch import Tensor

from eos.engine.edges import with_edges
from eos.engine.lower import lower
from eos.engine.state import memory_before, output_dtype
from eos.engine.triton.kernels.step_forward import step_forward
from eos.engine.triton.role import batch_stride, entries, heads_in_a_row, rate_entries
from eos.record import Memory, Recurrence

#: Entries of the memory that a program holds, and columns of them.
ENTRIES, NARROWEST, WIDEST = 4096, 8, 128


def step(record: Recurrence) -> tuple[tuple[Tensor, ...], Memory]:
    """One token, without gradients: the reads [B,1,H,V] in the dtype of the activations, and the memory after it."""
    record = with_edges(record, frozenset())  # a launch a function is little beside a graph of a token
    dtype, n = output_dtype(record), record.substeps
    before = memory_before(record)
    # what was gated or turned keeps its digits; a decay's floor is the kernel's
    x = lower(record, before.log_scale, torch.float32, activations=torch.float32)
    batch, steps, heads, value = x.input.shape
    key, count = x.expand.shape[3], len(x.reads)
    memory = before.value.contiguous()
    after = torch.empty_like(memory)
    outputs = x.input.new_empty(batch, steps, count * heads, value, dtype=dtype)
    read_v = any(s.dim() == 5 for s in x.reads)
    s = heads_in_a_row(
        tuple(s if s.dim() == 5 or not read_v else s[..., None].expand(*s.shape, value) for s in x.reads)
    )
    over_key, over_value, over_both, angle = (
        x.input if t is None else t
        for t in (x.over_key, x.over_value, x.over_both, None if x.turn is None else x.turn[:, None])
    )
    angle = angle if x.turn is None or angle.dim() == 5 else angle[..., None]
    rate, rated = x.rate if x.rate is not None else (x.input, x.input)
    a, b = x.erase if x.erase is not None else (x.input, x.input)
    rows = 1 << (key - 1).bit_length()
    tile = min(max(NARROWEST, min(WIDEST, ENTRIES // rows)), 1 << (value - 1).bit_length())
    varying = (x.input, x.expand, s, over_key, over_value, over_both, rated)
    step_forward[(-(-value // tile) * batch * heads,)](
        *(entries(t) for t in varying),
        rate_entries(rate),
        entries(a),
        entries(b),
        entries(angle),
        x.input if x.reset is None else x.reset.contiguous().view(torch.uint8),
        memory,
        after,
        outputs,
        *(batch_stride(t) for t in (*varying, a, b, angle)),
        steps,
        heads,
        K=key,
        V=value,
        BK=rows,
        BV=tile,
        READS=count,
        EXPAND_V=x.expand.dim() == 5,
        READ_V=read_v,
        KEY=x.over_key is not None,
        VALUE=x.over_value is not None,
        BOTH=x.over_both is not None,
        RATE=x.rate is not None,
        LINK=x.link == "log_sigmoid",
        TAU=x.tau,
        ERASE=x.erase is not None,
        TURN=x.turn is not None,
        BEFORE=x.before,
        RESET=x.reset is not None,
    )
    taken = outputs[:, 0 if x.before else n - 1 :: n].unflatten(2, (count, heads))
    return taken.unbind(2), Memory(value=after, log_scale=x.log_scale)
