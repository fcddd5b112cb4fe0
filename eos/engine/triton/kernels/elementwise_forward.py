"""The kernel that scans every entry of the memory and reads it."""

import triton.language as tl

from eos.engine.triton.kernels.access import kernel
from eos.engine.triton.kernels.intervals import FLOOR, exp
from eos.engine.triton.kernels.scans import forget, gate_of, log_decay, scanned, store_tile, tile_of


@kernel
def elementwise_forward(
    inputs,
    expand,
    first,
    second,
    over_key,
    over_value,
    over_both,
    step,
    rate,
    bias,
    first_out,
    second_out,
    reset,
    memories,
    inputs_batch,
    expand_batch,
    first_batch,
    second_batch,
    key_batch,
    value_batch,
    both_batch,
    step_batch,
    outputs_batch,
    T,
    H,
    K,
    V: tl.constexpr,
    C: tl.constexpr,
    BV: tl.constexpr,
    READS: tl.constexpr,
    EXPAND_V: tl.constexpr,
    READ_V: tl.constexpr,
    KEY: tl.constexpr,
    VALUE: tl.constexpr,
    BOTH: tl.constexpr,
    RATE: tl.constexpr,
    STEP_V: tl.constexpr,
    LINK: tl.constexpr,
    TAU: tl.constexpr,
    BEFORE: tl.constexpr,
    RESET: tl.constexpr,
    MADE: tl.constexpr,
    MADE_TAU: tl.constexpr,
    GATE: tl.constexpr,
):
    """Up to two reads, and the memory that every chunk finds and the last leaves, ``memories`` [B·H, N + 1, K, V].

    ``memories`` hold the memory before the first chunk when it starts. MADE: the only decay, or the step, comes as a
    pre-activation with a ``bias``; GATE: the complement of that decay, or that step, gates what is written.
    """
    tiles: tl.constexpr = (V + BV - 1) // BV
    head = (tl.program_id(0) // tiles).to(tl.int64)
    b, h = head // H, head % H
    chunks = (T + C - 1) // C
    v = (tl.program_id(0) % tiles) * BV + tl.arange(0, BV)
    c = tl.arange(0, C)
    for turn in range(chunks):
        n = turn
        rest = T - n * C
        i = tile_of(inputs, inputs_batch, b, h, 0, n, rest, v, V, C, 0, True)
        y = tl.zeros([C, BV], tl.float32)
        z = tl.zeros([C, BV], tl.float32)
        for row in range(K):
            k = row
            log_o, _, made_of = log_decay(
                over_key, over_value, over_both, step, rate, bias, key_batch, value_batch, both_batch, step_batch,
                b, h, k, n, rest, v, V, C, 0, KEY, VALUE, BOTH, RATE, STEP_V, LINK, TAU, MADE, MADE_TAU,
            )  # fmt: skip
            o = forget(exp(tl.maximum(log_o, FLOOR)), reset, b, n, T, C, 0, RESET)
            u = tile_of(expand, expand_batch, b, h, k, n, rest, v, V, C, 0, EXPAND_V) * i
            if GATE:
                u = u * gate_of(log_o, made_of, RATE)
            at = memories + ((head * (chunks + 1) + n) * K + k) * V + v
            m = scanned(o, u, tl.load(at, mask=v < V, other=0.0), C, BV, False)
            tl.store(at + K * V, tl.sum(tl.where((c == C - 1)[:, None], m, 0.0), 0), mask=v < V)
            if READS > 0:
                y += tile_of(first, first_batch, b, h, k, n, rest, v, V, C, BEFORE, READ_V) * m
            if READS > 1:
                z += tile_of(second, second_batch, b, h, k, n, rest, v, V, C, BEFORE, READ_V) * m
        if READS > 0:
            store_tile(first_out, outputs_batch, b, h, 0, n, rest, v, V, C, BEFORE, y)
        if READS > 1:
            store_tile(second_out, outputs_batch, b, h, 0, n, rest, v, V, C, BEFORE, z)
        tl.debug_barrier()  # the next chunk loads what other threads may have stored
