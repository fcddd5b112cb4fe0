"""The kernel that makes the gradients of one axis of the memory, all chunks at once."""

import triton.language as tl

from eos.engine.triton.kernels.access import (
    as_written,
    kernel,
    load,
    load_bias,
    load_decay,
    load_reset,
    opened,
    outlives,
    store,
    unbroken,
    where,
)
from eos.engine.triton.kernels.edges import (
    activated,
    complement,
    log_sigmoid,
    log_sigmoid_slope,
    silu_slope,
)
from eos.engine.triton.kernels.intervals import (
    FLOOR,
    VECTORS,
    document,
    early,
    erasing,
    exact_sum,
    exp,
    levels,
    load_left,
    load_mask,
    load_pairs,
    load_right,
    masks_of,
    pieces,
    product,
    summed_decay,
)
from eos.engine.triton.kernels.levels import met_both


@kernel
def chunked_backward(
    rows,
    columns,
    far_rows,
    far_columns,
    decay,
    bias,
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
    ERASE: tl.constexpr,
    ADD: tl.constexpr,
    RESET: tl.constexpr,
    ROWS: tl.constexpr,
    DECAY: tl.constexpr,
    SPLIT: tl.constexpr,
    LINK: tl.constexpr,
    TAU: tl.constexpr,
    GATE: tl.constexpr,
    ROWS_SILU: tl.constexpr,
    COLUMNS_SILU: tl.constexpr,
    PRECISION: tl.constexpr,
    DOT: tl.constexpr,
):
    """The gradients along one axis X of the memory (K or V) in one chunk, from all of the other axis Z.

    One program a chunk, head and tile of X. ``memories`` and ``adjoints`` [B·H, N, K, V] are what
    :func:`chunked_forward` stored; ``scores`` are those over Z, where Z decays entry by entry (FAR = 2). ROWS stores
    the rows' gradient. DECAY makes that of the log-decay: with NEAR = 1 the share of this tile of X, for a sum outside.

    With ERASE the last rows read before their step. Of several columns each is a launch: ADD adds what these columns
    give to the gradients of rows and log-decay that the launch before made, which have the memory's share already.

    LINK, TAU, ``bias`` [H, X], GATE and the silus of rows and columns are as in :func:`chunked_scores`; gradients are
    those of what comes in.
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
        g = load_decay(where(decay, decay_batch, b, h, n, C), decay, bias, h, rest, x, X, C, LINK, TAU)
        first, second = pieces(g)
    column = load(where(columns, columns_batch, b, h, n, C), columns, rest, x, X, C)
    if GATE:
        column = as_written(column, g, COLUMNS_SILU, True).to(columns.pointer.dtype.element_ty)
    elif COLUMNS_SILU:
        column = activated(column, True).to(columns.pointer.dtype.element_ty)
    dcolumn = tl.zeros([C, BX], tl.float32)
    ends = tl.zeros([BX], tl.float32)
    for start in tl.range(0, Z, BZ, num_stages=1):
        z = start + tl.arange(0, BZ)
        inside = (z[:, None] < Z) & (x[None, :] < X)
        zx = z[:, None] * memory_z + x[None, :] * memory_x
        adjoint = tl.load(adjoints + place + zx, mask=inside, other=0.0)
        far = load(where(far_columns, far_columns_batch, b, h, n, C), far_columns, rest, z, Z, C)
        dcolumn += product(far.to(DOT), adjoint.to(DOT), PRECISION)
        if DECAY and not ADD:
            kept = tl.load(memories + place + zx, mask=inside, other=0.0).to(tl.float32) * adjoint.to(tl.float32)
            if FAR == 2:
                kept = kept * tl.load(far_totals + (head * chunks + n) * Z + z, mask=z < Z, other=0.0)[:, None]
            ends += tl.sum(kept, 0)
    if NEAR == 1:
        dcolumn = dcolumn * load_left(near_table, C)[:, None]
        ends = ends * tl.load(near_totals + head * chunks + n)
    elif NEAR == 2:
        left = summed_decay(load_mask(masks, levels(C) + 1, C), first, second)
        dcolumn = dcolumn * outlives(left, reset, b, n, T, C, RESET)
        ends = ends * unbroken(exp(tl.sum(g, 0)), reset, b, n, T, C, RESET)
    if FAR == 1:
        dcolumn = dcolumn * load_left(far_table, C)[:, None]
        ends = ends * tl.load(far_totals + head * chunks + n)
    if DECAY:
        ends += tl.sum(column.to(tl.float32) * dcolumn, 0)
    passed = tl.zeros([C, BX], tl.float32)
    passed_early = tl.zeros([C, BX], tl.float32)

    for read in tl.static_range(READS):
        table = masks_of(masks, read, READS, ERASE, C)
        row = load(where(rows, rows_batch, b, read * H + h, n, C), rows, rest, x, X, C)
        if ROWS_SILU:
            row = activated(row, True).to(rows.pointer.dtype.element_ty)
        far_row_at = where(far_rows, far_rows_batch, b, read * H + h, n, C)
        far_column_at = where(far_columns, far_columns_batch, b, h, n, C)
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
            far = load(far_row_at, far_rows, rest, z, Z, C)
            if FAR != 2:
                other = load(far_column_at, far_columns, rest, z, Z, C)
                if ROWS or DECAY:
                    a += product(far.to(DOT), tl.trans(other.to(DOT)), PRECISION)
                at += product(other.to(DOT), tl.trans(far.to(DOT)), PRECISION)
            if (ROWS or DECAY) and not ADD:
                inside = (z[:, None] < Z) & (x[None, :] < X)
                zx = z[:, None] * memory_z + x[None, :] * memory_x
                memory = tl.load(memories + place + zx, mask=inside, other=0.0)
                drow += product(far.to(DOT), memory.to(DOT), PRECISION)
        if NEAR == 1:
            a = a * load_pairs(near_table, C, BEFORE, RESET, False, erasing(BEFORE, ERASE, read, READS))
            at = at * load_pairs(near_table, C, BEFORE, RESET, True, erasing(BEFORE, ERASE, read, READS))
        if FAR == 1:
            a = a * load_pairs(far_table, C, BEFORE, RESET, False)
            at = at * load_pairs(far_table, C, BEFORE, RESET, True)
        if NEAR != 1 and FAR == 0:
            meets = c[:, None] - early(BEFORE, ERASE, read, READS) >= c[None, :]
            if RESET:
                meets = meets & document(load_reset(reset, b, n, T, C), C)[1]
            a = tl.where(meets, a, 0.0)
            at = tl.where(tl.trans(meets), at, 0.0)
        a, at = a.to(DOT), at.to(DOT)
        if NEAR == 2:
            met_row, met_column = met_both(a, at, row, column, first, second, table, C, ROWS or DECAY, PRECISION, DOT)
            dcolumn += met_column
        else:
            dcolumn += product(at.to(DOT), row.to(DOT), PRECISION)
        if ROWS or DECAY:
            if NEAR == 1:
                drow = drow * load_right(near_table, C, erasing(BEFORE, ERASE, read, READS))[:, None]
            elif NEAR == 2:
                right = summed_decay(load_mask(table, levels(C), C), first, second)
                drow = drow * opened(right, reset, b, n, T, C, RESET)
            if FAR == 1:
                drow = drow * load_right(far_table, C)[:, None]
            if NEAR == 2:
                drow += met_row
            else:
                drow += product(a.to(DOT), column.to(DOT), PRECISION)
            if ERASE and read == READS - 1:
                passed_early += row.to(tl.float32) * drow
            else:
                passed += row.to(tl.float32) * drow
        if ROWS:
            if ROWS_SILU:
                row = load(where(rows, rows_batch, b, read * H + h, n, C), rows, rest, x, X, C)
                drow = drow * silu_slope(row)
            to = where(drows, drows_batch, b, read * H + h, n, C)
            if ADD:
                drow += load(to, drows, rest, x, X, C).to(tl.float32)
            store(to, drows, drow, rest, x, X, C)
    dmade = dcolumn
    if GATE:  # made anew, which holds fewer registers until here than keeping it; the barrier keeps loads apart
        tl.debug_barrier()
        g = load_decay(where(decay, decay_batch, b, h, n, C), decay, bias, h, rest, x, X, C, LINK, TAU)
        dmade = dmade * complement(g)
    if COLUMNS_SILU:
        made = load(where(columns, columns_batch, b, h, n, C), columns, rest, x, X, C)
        dmade = dmade * silu_slope(made)
    store(where(dcolumns, dcolumns_batch, b, h, n, C), dcolumns, dmade, rest, x, X, C)

    if DECAY:
        # d log o_t = Σ_{r ≥ t} (row_r ∘ drow_r − column_r ∘ dcolumn_r) + m ∘ λ at the chunk's end, in one document
        written = column.to(tl.float32) * dcolumn
        if RESET:
            number, same = document(load_reset(reset, b, n, T, C), C)
            closes = number == tl.max(number, 0)
        if NEAR == 2:
            later, seen_later = load_mask(masks, levels(C) + 2, C), load_mask(masks, levels(C) + 3, C)
            if RESET:
                later, seen_later = later * same.to(later.dtype), seen_later * same.to(later.dtype)
            d = exact_sum(seen_later, passed if BEFORE else passed - written, SPLIT)
            if BEFORE:
                d -= exact_sum(later, written, SPLIT)
            if ERASE:
                seen_later = load_mask(masks_of(masks, 0, 1, True, C), levels(C) + 3, C)
                if RESET:
                    seen_later = seen_later * same.to(later.dtype)
                d += exact_sum(seen_later, passed_early, SPLIT)
            if RESET:
                d += tl.where(closes[:, None], ends[None, :], 0.0)
                d = tl.where((load_reset(reset, b, n, T, C) > 0)[:, None], 0.0, d)
            else:
                d += ends[None, :]
            if GATE:
                made = load(where(columns, columns_batch, b, h, n, C), columns, rest, x, X, C)
                d -= exp(g) * activated(made, COLUMNS_SILU) * dcolumn
            raw = load(where(decay, decay_batch, b, h, n, C), decay, rest, x, X, C).to(tl.float32)
            if LINK:
                raw += load_bias(bias, h, x, X)[None, :]
                d = tl.where(log_sigmoid(raw, TAU) < FLOOR, 0.0, d * log_sigmoid_slope(raw, TAU))
            else:
                d = tl.where(raw < FLOOR, 0.0, d)
            at = where(ddecay, ddecay_batch, b, h, n, C)
            if ADD:
                d += load(at, ddecay, rest, x, X, C)
            store(at, ddecay, d, rest, x, X, C)
        else:
            later, seen_later = c[None, :] >= c[:, None], c[None, :] - BEFORE >= c[:, None]
            gained, lost, end = tl.sum(passed, 1), tl.sum(written, 1), tl.sum(ends, 0)
            d = tl.where(seen_later, gained[None, :], 0.0) - tl.where(later, lost[None, :], 0.0)
            if ERASE:
                d += tl.where(c[None, :] > c[:, None], tl.sum(passed_early, 1)[None, :], 0.0)
            if RESET:
                d = tl.sum(tl.where(same, d, 0.0), 1) + tl.where(closes, end, 0.0)
                d = tl.where(load_reset(reset, b, n, T, C) > 0, 0.0, d)
            else:
                d = tl.sum(d, 1) + end
            raw = tl.load(where(decay, decay_batch, b, h, n, C) + c * decay.time, mask=c < rest, other=0.0)
            d = tl.where(raw.to(tl.float32) < FLOOR, 0.0, d)
            at = where(ddecay, ddecay_batch, b, tile * H + h, n, C)
            if ADD:
                d += tl.load(at + c * ddecay.time, mask=c < rest, other=0.0)
            tl.store(at + c * ddecay.time, d.to(ddecay.pointer.dtype.element_ty), mask=c < rest)
