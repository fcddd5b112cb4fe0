"""The kernel that carries the memory from chunk to chunk and reads it."""

import triton.language as tl

from eos.engine.triton.kernels.access import as_written, kernel, load, load_decay, load_transposed, store, where
from eos.engine.triton.kernels.intervals import (
    VECTORS,
    levels,
    load_left,
    load_mask,
    load_pairs,
    load_right,
    pieces,
    product,
    summed_decay,
)
from eos.engine.triton.kernels.levels import met


@kernel
def chunked_forward(
    reads,
    columns,
    inputs,
    read_inputs,
    over_value,
    value_bias,
    outputs,
    erase_columns,
    solved,
    solved_inputs,
    erased,
    masks,
    scores,
    erase_scores,
    key_intervals,
    key_totals,
    value_intervals,
    value_totals,
    before,
    memories,
    after,
    reads_batch,
    columns_batch,
    inputs_batch,
    read_inputs_batch,
    value_batch,
    outputs_batch,
    erase_columns_batch,
    solved_batch,
    solved_inputs_batch,
    erased_batch,
    T,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    C: tl.constexpr,
    BK: tl.constexpr,
    BV: tl.constexpr,
    READS: tl.constexpr,
    WRITES: tl.constexpr,
    KEY: tl.constexpr,
    VALUE: tl.constexpr,
    BEFORE: tl.constexpr,
    ERASE: tl.constexpr,
    RESET: tl.constexpr,
    STORE: tl.constexpr,
    REVERSE: tl.constexpr,
    LINK: tl.constexpr,
    TAU: tl.constexpr,
    GATE: tl.constexpr,
    PRECISION: tl.constexpr,
    DOT: tl.constexpr,
):
    """Carry the memory [BK, BV] of a head from chunk to chunk in registers, and read it.

    One program a head and tile of V; all of K is in it. READS = 0 reads nothing. STORE keeps what every chunk finds,
    ``memories`` [B·H, N, K, V]. REVERSE runs the adjoint: ``memories`` then hold the gradient of the memory after each
    chunk, ``before`` that after the last and ``after`` that before the first.

    What :func:`chunked_scores` decays comes decayed: reads and columns where KEY = 2, inputs (but not those that the
    reads of the same chunk see, ``read_inputs``) where VALUE = 2.

    ERASE adds a write whose inputs follow from the memory, w = ``solved`` m + ``solved_inputs`` of :func:`delta_solve`,
    and stores them as ``erased``.

    LINK, TAU and ``value_bias`` [H, V] are of a decay over V that comes as a pre-activation, whose complement gates
    ``read_inputs`` with GATE.
    """
    tiles: tl.constexpr = (V + BV - 1) // BV
    head = (tl.program_id(0) // tiles).to(tl.int64)
    b, h = head // H, head % H
    chunks = (T + C - 1) // C
    k = tl.arange(0, BK)
    v = (tl.program_id(0) % tiles) * BV + tl.arange(0, BV)
    c = tl.arange(0, C)
    kv = k[:, None] * V + v[None, :]
    inside = (k[:, None] < K) & (v[None, :] < V)
    m = tl.load(before + head * (K * V) + kv, mask=inside, other=0.0)
    for turn in range(chunks):
        n = chunks - 1 - turn if REVERSE else turn
        rest = T - n * C
        if STORE:
            place = memories + (head * chunks + n) * (K * V)
            tl.store(place + kv, m.to(memories.dtype.element_ty), mask=inside)
        if KEY == 1:
            key_table = key_intervals + (head * chunks + n) * (VECTORS * C)
        if VALUE == 1:
            value_table = value_intervals + (head * chunks + n) * (VECTORS * C)
        if VALUE == 2:
            gv = load_decay(
                where(over_value, value_batch, b, h, n, C), over_value, value_bias, h, rest, v, V, C, LINK, TAU
            )
            first, second = pieces(gv)
        if ERASE:
            u = load(where(solved, solved_batch, b, h, n, C), solved, rest, k, K, C)
            w = product(u.to(DOT), m.to(DOT), PRECISION)
            own = where(solved_inputs, solved_inputs_batch, b, h, n, C)
            w += load(own, solved_inputs, rest, v, V, C).to(tl.float32)
            store(where(erased, erased_batch, b, h, n, C), erased, w, rest, v, V, C)
        for read in tl.static_range(READS):
            i = load(where(read_inputs, read_inputs_batch, b, h, n, C), read_inputs, rest, v, V, C)
            if GATE:
                i = as_written(i, gv, False, True).to(read_inputs.pointer.dtype.element_ty)
            s = load(where(reads, reads_batch, b, read * H + h, n, C), reads, rest, k, K, C)
            if KEY == 2:
                place = ((read * (tl.num_programs(0) // tiles) + head) * chunks + n) * C * C
                a = tl.load(scores + place + c[:, None] * C + c[None, :])
            else:
                e = load(where(columns, columns_batch, b, h, n, C), columns, rest, k, K, C)
                a = product(s.to(DOT), tl.trans(e.to(DOT)), PRECISION)
            y = product(s.to(DOT), m.to(DOT), PRECISION)
            if KEY == 0:
                a = tl.where(c[:, None] - BEFORE >= c[None, :], a, 0.0)
            if KEY == 1:
                a = a * load_pairs(key_table, C, BEFORE, RESET, False)
                y = y * load_right(key_table, C)[:, None]
            if VALUE == 1:
                a = a * load_pairs(value_table, C, BEFORE, False, False)
                y = y * load_right(value_table, C)[:, None]
            if VALUE == 2:
                y = y * summed_decay(load_mask(masks, levels(C), C), first, second)
                y += met(a, i, first, second, masks, C, PRECISION, DOT)
            else:
                y += product(a.to(DOT), i.to(DOT), PRECISION)
            if ERASE:
                a = tl.load(erase_scores + place + c[:, None] * C + c[None, :])
                y += product(a.to(DOT), w.to(DOT), PRECISION)
            store(where(outputs, outputs_batch, b, read * H + h, n, C), outputs, y, rest, v, V, C)

        if KEY == 2:
            m = m * tl.load(key_totals + (head * chunks + n) * K + k, mask=k < K, other=0.0)[:, None]
        if VALUE == 2:
            m = m * tl.load(value_totals + (head * chunks + n) * V + v, mask=v < V, other=0.0)[None, :]
        if KEY == 1:
            m = m * tl.load(key_totals + head * chunks + n)
        if VALUE == 1:
            m = m * tl.load(value_totals + head * chunks + n)
        for write in tl.static_range(WRITES):
            # loaded as its transpose: some versions of Triton transpose what came out of a product wrongly
            x = load_transposed(where(columns, columns_batch, b, write * H + h, n, C), columns, rest, k, K, C)
            z = load(where(inputs, inputs_batch, b, write * H + h, n, C), inputs, rest, v, V, C)
            if KEY == 1:
                x = x * (load_right(key_table, C) if REVERSE else load_left(key_table, C))[None, :]
            if VALUE == 1:
                x = x * (load_right(value_table, C) if REVERSE else load_left(value_table, C))[None, :]
            m += product(x.to(DOT), z.to(DOT), PRECISION)
        if ERASE:
            at = where(erase_columns, erase_columns_batch, b, h, n, C)
            x = load_transposed(at, erase_columns, rest, k, K, C)
            m += product(x.to(DOT), w.to(DOT), PRECISION)
    tl.store(after + head * (K * V) + kv, m, mask=inside)
