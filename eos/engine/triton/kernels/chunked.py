"""The chunked algorithm: three kernels for every record with writes of rank one and decays over K, over V or both.

Inside a chunk of C steps, with D the products of decays over intervals and m the memory before it,

    A_rj = Σ_k s_rk D_rjk e_jk          B_rj = Σ_v dy_rv D_rjv i_jv                 the scores
    y_r  = Σ_j A_rj D_rj ∘ i_j + D_r ∘ (s_r ∘ D_r) m                                  rows of V
    ds_r = Σ_j B_rj D_rj ∘ e_j + D_r ∘ (dy_r ∘ D_r) mᵀ                                rows of K
    di_j = Σ_r A_rj D_rj ∘ dy_r + D_j ∘ (e_j ∘ D_j) λ                                 columns of V
    de_j = Σ_r B_rj D_rj ∘ s_r + D_j ∘ (i_j ∘ D_j) λᵀ                                 columns of K

with λ the gradient of the memory after the chunk. K and V stand in these formulas alike, so one backward kernel makes
the gradients of either axis; y are the rows of V. Memories are carried by one loop over the chunks, forward for m and
in reverse for λ, whose writes are (s, dy).

A decay is of kind 0 (none), 1 (one number a head) or 2 (one of every entry of its axis). ``Role`` says where a tensor
lies; its batch stride stands apart, in units of ``unit`` entries, because it grows with T.
"""

from collections import namedtuple

import triton
import triton.language as tl

from eos.engine.triton.kernels.intervals import (
    FLOOR,
    VECTORS,
    document,
    exact_sum,
    exp,
    load_left,
    load_mask,
    load_pairs,
    load_right,
    meeting,
    pieces,
    product,
    store_intervals,
    summed_decay,
)

#: A tensor [B, T, H, X]: its first entry, its strides over time, heads and features, and the unit of that over batch:
#: 16 tells the compiler that rows are aligned, whatever T is.
Role = namedtuple("Role", ["pointer", "time", "head", "feature", "unit"])
#: What grows with T, which no kernel is compiled for.
GROWING = [
    "T",
    "columns_batch",
    "dcolumns_batch",
    "ddecay_batch",
    "decay_batch",
    "decayed_columns_batch",
    "decayed_rows_batch",
    "drows_batch",
    "far_columns_batch",
    "far_rows_batch",
    "inputs_batch",
    "outputs_batch",
    "read_inputs_batch",
    "reads_batch",
    "rows_batch",
    "value_batch",
]


@triton.jit(do_not_specialize=GROWING)
def chunked_scores(
    rows,
    columns,
    decay,
    decayed_rows,
    decayed_columns,
    reset,
    masks,
    scores,
    intervals,
    totals,
    rows_batch,
    columns_batch,
    decay_batch,
    decayed_rows_batch,
    decayed_columns_batch,
    T,
    H,
    X: tl.constexpr,
    C: tl.constexpr,
    BX: tl.constexpr,
    READS: tl.constexpr,
    KIND: tl.constexpr,
    BEFORE: tl.constexpr,
    RESET: tl.constexpr,
    PRECISION: tl.constexpr,
    DOT: tl.constexpr,
):
    """All that the decay of one axis X asks for before anything is carried from chunk to chunk. One program a chunk.

    KIND 1: the table ``intervals`` [B·H, N, 7, C] of :func:`store_intervals`, and the decays of whole chunks,
    ``totals`` [B·H, N]. KIND 2: scores Σ_x row_rx D_rjx column_jx [READS, B·H, N, C, C]; rows decayed from the chunk's
    start and columns to its end, in the shapes of rows and columns; ``totals`` [B·H, N, X].
    """
    chunks = (T + C - 1) // C
    heads = tl.num_programs(0) // chunks
    n = tl.program_id(0) % chunks
    head = (tl.program_id(0) // chunks).to(tl.int64)
    b, h = head // H, head % H
    rest = T - n * C
    c = tl.arange(0, C)
    if KIND == 1:
        g = _head_decay(_at(decay, decay_batch, b, h, n, C), decay, rest, C)
        begins = _load_reset(reset, b, n, T, C) if RESET else tl.zeros([C], tl.int32)
        place = head * chunks + n
        tl.store(totals + place, store_intervals(intervals + place * (VECTORS * C), g, begins, C, BEFORE))
    else:
        for start in tl.range(0, X, BX, num_stages=1):
            x = start + tl.arange(0, BX)
            column = _tile(_at(columns, columns_batch, b, h, n, C), columns, rest, x, X, C).to(tl.float32)
            g = _decay(_at(decay, decay_batch, b, h, n, C), decay, rest, x, X, C)
            first, second = pieces(g)
            left = summed_decay(load_mask(masks, _levels(C) + 1, C), first, second)
            left = _outlives(left, reset, b, n, T, C, RESET)
            _store(
                _at(decayed_columns, decayed_columns_batch, b, h, n, C), decayed_columns, column * left, rest, x, X, C
            )
            total = _whole(exp(tl.sum(g, 0)), reset, b, n, T, C, RESET)
            tl.store(totals + (head * chunks + n) * X + x, total, mask=x < X)
        for read in tl.static_range(READS):
            pairs = tl.zeros([C, C], tl.float32)
            for start in tl.range(0, X, BX, num_stages=1):
                x = start + tl.arange(0, BX)
                row = _tile(_at(rows, rows_batch, b, read * H + h, n, C), rows, rest, x, X, C).to(tl.float32)
                column = _tile(_at(columns, columns_batch, b, h, n, C), columns, rest, x, X, C).to(tl.float32)
                g = _decay(_at(decay, decay_batch, b, h, n, C), decay, rest, x, X, C)
                first, second = pieces(g)
                right = summed_decay(load_mask(masks, _levels(C), C), first, second)
                right = _opened(right, reset, b, n, T, C, RESET)
                at = _at(decayed_rows, decayed_rows_batch, b, read * H + h, n, C)
                _store(at, decayed_rows, row * right, rest, x, X, C)
                if not BEFORE:
                    own = tl.sum(row * column, 1)
                    pairs += tl.where(c[:, None] == c[None, :], own[:, None], 0.0)
                for level in tl.range(0, _levels(C), num_stages=1):
                    factor = summed_decay(load_mask(masks, level, C), first, second)
                    met = product((row * factor).to(DOT), tl.trans((column * factor).to(DOT)), PRECISION)
                    pairs += tl.where(meeting(level, C), met, 0.0)
            if RESET:
                pairs = tl.where(document(_load_reset(reset, b, n, T, C), C)[1], pairs, 0.0)
            at = scores + ((read * heads + head) * chunks + n) * (C * C)
            tl.store(at + c[:, None] * C + c[None, :], pairs.to(scores.dtype.element_ty))


@triton.jit(do_not_specialize=GROWING)
def chunked_forward(
    reads,
    columns,
    inputs,
    read_inputs,
    over_value,
    outputs,
    masks,
    scores,
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
    RESET: tl.constexpr,
    INITIAL: tl.constexpr,
    STORE: tl.constexpr,
    REVERSE: tl.constexpr,
    PRECISION: tl.constexpr,
    DOT: tl.constexpr,
):
    """Carry the memory [BK, BV] of a head from chunk to chunk in registers, and read it.

    One program a head and tile of V; all of K is in it. READS = 0 reads nothing. STORE keeps what every chunk finds,
    ``memories`` [B·H, N, K, V]. REVERSE runs the adjoint: ``memories`` then hold the gradient of the memory after each
    chunk, ``before`` that after the last and ``after`` that before the first.

    What :func:`chunked_scores` decays comes decayed: reads and columns where KEY = 2, inputs (but not those that the
    reads of the same chunk see, ``read_inputs``) where VALUE = 2.
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
    m = tl.zeros([BK, BV], tl.float32)
    if INITIAL:
        m = tl.load(before + head * (K * V) + kv, mask=inside, other=0.0).to(tl.float32)
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
            gv = _decay(_at(over_value, value_batch, b, h, n, C), over_value, rest, v, V, C)
            first, second = pieces(gv)
        for read in tl.static_range(READS):
            i = _tile(_at(read_inputs, read_inputs_batch, b, h, n, C), read_inputs, rest, v, V, C)
            s = _tile(_at(reads, reads_batch, b, read * H + h, n, C), reads, rest, k, K, C)
            if KEY == 2:
                place = ((read * (tl.num_programs(0) // tiles) + head) * chunks + n) * C * C
                a = tl.load(scores + place + c[:, None] * C + c[None, :])
            else:
                e = _tile(_at(columns, columns_batch, b, h, n, C), columns, rest, k, K, C)
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
                y = y * summed_decay(load_mask(masks, _levels(C), C), first, second)
                y += _met(a, i, first, second, masks, C, PRECISION, DOT)
            else:
                y += product(a.to(DOT), i.to(DOT), PRECISION)
            _store(_at(outputs, outputs_batch, b, read * H + h, n, C), outputs, y, rest, v, V, C)

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
            x = _transposed(_at(columns, columns_batch, b, write * H + h, n, C), columns, rest, k, K, C)
            z = _tile(_at(inputs, inputs_batch, b, write * H + h, n, C), inputs, rest, v, V, C)
            if KEY == 1:
                x = x * (load_right(key_table, C) if REVERSE else load_left(key_table, C))[None, :]
            if VALUE == 1:
                x = x * (load_right(value_table, C) if REVERSE else load_left(value_table, C))[None, :]
            m += product(x.to(DOT), z.to(DOT), PRECISION)
    tl.store(after + head * (K * V) + kv, m, mask=inside)


@triton.jit(do_not_specialize=GROWING)
def chunked_backward(
    rows,
    columns,
    far_rows,
    far_columns,
    decay,
    drows,
    dcolumns,
    ddecay,
    reset,
    masks,
    scores,
    near_intervals,
    near_totals,
    far_intervals,
    far_totals,
    memories,
    adjoints,
    rows_batch,
    columns_batch,
    far_rows_batch,
    far_columns_batch,
    decay_batch,
    drows_batch,
    dcolumns_batch,
    ddecay_batch,
    memory_x,
    memory_z,
    T,
    H,
    X: tl.constexpr,
    Z: tl.constexpr,
    C: tl.constexpr,
    BX: tl.constexpr,
    BZ: tl.constexpr,
    READS: tl.constexpr,
    NEAR: tl.constexpr,
    FAR: tl.constexpr,
    BEFORE: tl.constexpr,
    RESET: tl.constexpr,
    ROWS: tl.constexpr,
    DECAY: tl.constexpr,
    SPLIT: tl.constexpr,
    PRECISION: tl.constexpr,
    DOT: tl.constexpr,
):
    """The gradients along one axis X of the memory (K or V) in one chunk, from all of the other axis Z.

    One program a chunk, head and tile of X. ``memories`` and ``adjoints`` [B·H, N, K, V] are what
    :func:`chunked_forward` stored; ``scores`` are those over Z, where Z decays entry by entry (FAR = 2). ROWS stores
    the rows' gradient. DECAY makes that of the log-decay: with NEAR = 1 the share of this tile of X, for a sum outside.
    """
    tiles: tl.constexpr = (X + BX - 1) // BX
    chunks = (T + C - 1) // C
    tile = tl.program_id(0) % tiles
    n = (tl.program_id(0) // tiles) % chunks
    head = (tl.program_id(0) // (tiles * chunks)).to(tl.int64)
    heads = tl.num_programs(0) // (tiles * chunks)
    b, h = head // H, head % H
    rest = T - n * C
    x = tile * BX + tl.arange(0, BX)
    c = tl.arange(0, C)
    place = (head * chunks + n) * (X * Z)
    near_table = near_intervals + (head * chunks + n) * (VECTORS * C)
    far_table = far_intervals + (head * chunks + n) * (VECTORS * C)
    if NEAR == 2:
        g = _decay(_at(decay, decay_batch, b, h, n, C), decay, rest, x, X, C)
        first, second = pieces(g)
    column = _tile(_at(columns, columns_batch, b, h, n, C), columns, rest, x, X, C)
    dcolumn = tl.zeros([C, BX], tl.float32)
    ends = tl.zeros([BX], tl.float32)
    for start in tl.range(0, Z, BZ, num_stages=1):
        z = start + tl.arange(0, BZ)
        inside = (z[:, None] < Z) & (x[None, :] < X)
        zx = z[:, None] * memory_z + x[None, :] * memory_x
        adjoint = tl.load(adjoints + place + zx, mask=inside, other=0.0)
        far = _tile(_at(far_columns, far_columns_batch, b, h, n, C), far_columns, rest, z, Z, C)
        dcolumn += product(far.to(DOT), adjoint.to(DOT), PRECISION)
        if DECAY:
            kept = tl.load(memories + place + zx, mask=inside, other=0.0).to(tl.float32) * adjoint.to(tl.float32)
            if FAR == 2:
                kept = kept * tl.load(far_totals + (head * chunks + n) * Z + z, mask=z < Z, other=0.0)[:, None]
            ends += tl.sum(kept, 0)
    if NEAR == 1:
        dcolumn = dcolumn * load_left(near_table, C)[:, None]
        ends = ends * tl.load(near_totals + head * chunks + n)
    elif NEAR == 2:
        left = summed_decay(load_mask(masks, _levels(C) + 1, C), first, second)
        dcolumn = dcolumn * _outlives(left, reset, b, n, T, C, RESET)
        ends = ends * _whole(exp(tl.sum(g, 0)), reset, b, n, T, C, RESET)
    if FAR == 1:
        dcolumn = dcolumn * load_left(far_table, C)[:, None]
        ends = ends * tl.load(far_totals + head * chunks + n)
    if DECAY:
        ends += tl.sum(column.to(tl.float32) * dcolumn, 0)
    passed = tl.zeros([C, BX], tl.float32)

    for read in tl.static_range(READS):
        row = _tile(_at(rows, rows_batch, b, read * H + h, n, C), rows, rest, x, X, C)
        far_row_at = _at(far_rows, far_rows_batch, b, read * H + h, n, C)
        far_column_at = _at(far_columns, far_columns_batch, b, h, n, C)
        drow = tl.zeros([C, BX], tl.float32)
        if FAR == 2:
            square = scores + ((read * heads + head) * chunks + n) * (C * C)
            a = tl.load(square + c[:, None] * C + c[None, :]).to(tl.float32)
            at = tl.load(square + c[None, :] * C + c[:, None]).to(tl.float32)
        else:
            a = tl.zeros([C, C], tl.float32)
            at = tl.zeros([C, C], tl.float32)
        for start in tl.range(0, Z, BZ, num_stages=1):
            z = start + tl.arange(0, BZ)
            far = _tile(far_row_at, far_rows, rest, z, Z, C)
            if FAR != 2:
                other = _tile(far_column_at, far_columns, rest, z, Z, C)
                if ROWS or DECAY:
                    a += product(far.to(DOT), tl.trans(other.to(DOT)), PRECISION)
                at += product(other.to(DOT), tl.trans(far.to(DOT)), PRECISION)
            if ROWS or DECAY:
                inside = (z[:, None] < Z) & (x[None, :] < X)
                zx = z[:, None] * memory_z + x[None, :] * memory_x
                memory = tl.load(memories + place + zx, mask=inside, other=0.0)
                drow += product(far.to(DOT), memory.to(DOT), PRECISION)
        if NEAR == 1:
            a = a * load_pairs(near_table, C, BEFORE, RESET, False)
            at = at * load_pairs(near_table, C, BEFORE, RESET, True)
        if FAR == 1:
            a = a * load_pairs(far_table, C, BEFORE, RESET, False)
            at = at * load_pairs(far_table, C, BEFORE, RESET, True)
        if NEAR != 1 and FAR == 0:
            meets = c[:, None] - BEFORE >= c[None, :]
            if RESET:
                meets = meets & document(_load_reset(reset, b, n, T, C), C)[1]
            a = tl.where(meets, a, 0.0)
            at = tl.where(tl.trans(meets), at, 0.0)
        a, at = a.to(DOT), at.to(DOT)
        if NEAR == 2:
            met_row, met_column = _met_both(a, at, row, column, first, second, masks, C, ROWS or DECAY, PRECISION, DOT)
            dcolumn += met_column
        else:
            dcolumn += product(at.to(DOT), row.to(DOT), PRECISION)
        if ROWS or DECAY:
            if NEAR == 1:
                drow = drow * load_right(near_table, C)[:, None]
            elif NEAR == 2:
                right = summed_decay(load_mask(masks, _levels(C), C), first, second)
                drow = drow * _opened(right, reset, b, n, T, C, RESET)
            if FAR == 1:
                drow = drow * load_right(far_table, C)[:, None]
            if NEAR == 2:
                drow += met_row
            else:
                drow += product(a.to(DOT), column.to(DOT), PRECISION)
            passed += row.to(tl.float32) * drow
        if ROWS:
            _store(_at(drows, drows_batch, b, read * H + h, n, C), drows, drow, rest, x, X, C)
    _store(_at(dcolumns, dcolumns_batch, b, h, n, C), dcolumns, dcolumn, rest, x, X, C)

    if DECAY:
        # d log o_t = Σ_{r ≥ t} (row_r ∘ drow_r − column_r ∘ dcolumn_r) + m ∘ λ at the chunk's end, in one document
        written = column.to(tl.float32) * dcolumn
        if RESET:
            number, same = document(_load_reset(reset, b, n, T, C), C)
            closes = number == tl.max(number, 0)
        if NEAR == 2:
            later, seen_later = load_mask(masks, _levels(C) + 2, C), load_mask(masks, _levels(C) + 3, C)
            if RESET:
                later, seen_later = later * same.to(later.dtype), seen_later * same.to(later.dtype)
            d = exact_sum(seen_later, passed if BEFORE else passed - written, SPLIT)
            if BEFORE:
                d -= exact_sum(later, written, SPLIT)
            if RESET:
                d += tl.where(closes[:, None], ends[None, :], 0.0)
                d = tl.where((_load_reset(reset, b, n, T, C) > 0)[:, None], 0.0, d)
            else:
                d += ends[None, :]
            raw = _tile(_at(decay, decay_batch, b, h, n, C), decay, rest, x, X, C).to(tl.float32)
            d = tl.where(raw < FLOOR, 0.0, d)
            _store(_at(ddecay, ddecay_batch, b, h, n, C), ddecay, d, rest, x, X, C)
        else:
            later, seen_later = c[None, :] >= c[:, None], c[None, :] - BEFORE >= c[:, None]
            gained, lost, end = tl.sum(passed, 1), tl.sum(written, 1), tl.sum(ends, 0)
            d = tl.where(seen_later, gained[None, :], 0.0) - tl.where(later, lost[None, :], 0.0)
            if RESET:
                d = tl.sum(tl.where(same, d, 0.0), 1) + tl.where(closes, end, 0.0)
                d = tl.where(_load_reset(reset, b, n, T, C) > 0, 0.0, d)
            else:
                d = tl.sum(d, 1) + end
            raw = tl.load(_at(decay, decay_batch, b, h, n, C) + c * decay.time, mask=c < rest, other=0.0)
            d = tl.where(raw.to(tl.float32) < FLOOR, 0.0, d)
            at = _at(ddecay, ddecay_batch, b, tile * H + h, n, C)
            tl.store(at + c * ddecay.time, d.to(ddecay.pointer.dtype.element_ty), mask=c < rest)


@triton.jit
def _met(
    a,
    columns,
    first,
    second,
    masks,
    C: tl.constexpr,
    PRECISION: tl.constexpr,
    DOT: tl.constexpr,
):
    """Σ_j a_rj D_rjx column_jx [C, X] for a decay of every entry, level by level."""
    columns = columns.to(tl.float32)
    total = _diagonal(a, C)[:, None] * columns
    for level in tl.range(0, _levels(C), num_stages=1):
        factor = summed_decay(load_mask(masks, level, C), first, second)
        met = tl.where(meeting(level, C), a, 0.0)
        total += factor * product(met.to(DOT), (columns * factor).to(DOT), PRECISION)
    return total


@triton.jit
def _met_both(
    a,
    at,
    rows,
    columns,
    first,
    second,
    masks,
    C: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
    DOT: tl.constexpr,
):
    """Σ_j a_rj D_rjx column_jx for every row (if ROWS), and Σ_r a_rj D_rjx row_rx for every column; ``at`` is aᵀ."""
    rows, columns = rows.to(tl.float32), columns.to(tl.float32)
    for_rows = _diagonal(a, C)[:, None] * columns
    for_columns = _diagonal(at, C)[:, None] * rows
    for level in tl.range(0, _levels(C), num_stages=1):
        factor = summed_decay(load_mask(masks, level, C), first, second)
        if ROWS:
            scores = tl.where(meeting(level, C), a, 0.0).to(DOT)
            for_rows += factor * product(scores, (columns * factor).to(DOT), PRECISION)
        scores = tl.where(tl.trans(meeting(level, C)), at, 0.0).to(DOT)
        for_columns += factor * product(scores, (rows * factor).to(DOT), PRECISION)
    return for_rows, for_columns


@triton.jit
def _diagonal(a, C: tl.constexpr):
    c = tl.arange(0, C)
    return tl.sum(tl.where(c[:, None] == c[None, :], a.to(tl.float32), 0.0), 1)


@triton.jit
def _at(role, batch, b, h, n, C: tl.constexpr):
    """Where a role's chunk begins."""
    return role.pointer + b * batch * role.unit + h.to(tl.int64) * role.head + n.to(tl.int64) * C * role.time


@triton.jit
def _tile(at, role, rest, x, X: tl.constexpr, C: tl.constexpr):
    """[C, X] from the chunk's start; zero past the end of the sequence or the axis."""
    c = tl.arange(0, C)
    inside = (c[:, None] < rest) & (x[None, :] < X)
    return tl.load(at + c[:, None] * role.time + x[None, :] * role.feature, mask=inside, other=0.0)


@triton.jit
def _transposed(at, role, rest, x, X: tl.constexpr, C: tl.constexpr):
    """[X, C]."""
    c = tl.arange(0, C)
    inside = (c[None, :] < rest) & (x[:, None] < X)
    return tl.load(at + c[None, :] * role.time + x[:, None] * role.feature, mask=inside, other=0.0)


@triton.jit
def _decay(at, role, rest, x, X: tl.constexpr, C: tl.constexpr):
    """A log-decay of every entry [C, X], floored."""
    return tl.maximum(_tile(at, role, rest, x, X, C).to(tl.float32), FLOOR)


@triton.jit
def _head_decay(at, role, rest, C: tl.constexpr):
    """A log-decay of one number a head [C], floored."""
    c = tl.arange(0, C)
    return tl.maximum(tl.load(at + c * role.time, mask=c < rest, other=0.0).to(tl.float32), FLOOR)


@triton.jit
def _load_reset(reset, b, n, T, C: tl.constexpr):
    """1 where a document begins [C]; ``reset`` is [B, T] bytes."""
    t = n * C + tl.arange(0, C)
    return tl.load(reset + b * T + t, mask=t < T, other=0).to(tl.int32)


@triton.jit
def _opened(right, reset, b, n, T, C: tl.constexpr, RESET: tl.constexpr):
    """Zero in rows of documents that begin inside the chunk: they see nothing of what came before it."""
    if RESET:
        number, _ = document(_load_reset(reset, b, n, T, C), C)
        right = tl.where((number == 0)[:, None], right, 0.0)
    return right


@triton.jit
def _outlives(left, reset, b, n, T, C: tl.constexpr, RESET: tl.constexpr):
    """Zero in columns of documents that end inside the chunk."""
    if RESET:
        number, _ = document(_load_reset(reset, b, n, T, C), C)
        left = tl.where((number == tl.max(number, 0))[:, None], left, 0.0)
    return left


@triton.jit
def _whole(total, reset, b, n, T, C: tl.constexpr, RESET: tl.constexpr):
    """Zero where a document begins inside the chunk."""
    if RESET:
        total = tl.where(tl.max(_load_reset(reset, b, n, T, C), 0) == 0, total, 0.0)
    return total


@triton.jit
def _store(at, role, y, rest, x, X: tl.constexpr, C: tl.constexpr):
    c = tl.arange(0, C)
    inside = (c[:, None] < rest) & (x[None, :] < X)
    tl.store(at + c[:, None] * role.time + x[None, :] * role.feature, y.to(role.pointer.dtype.element_ty), mask=inside)


@triton.constexpr_function
def _levels(C):
    return C.bit_length() - 1
