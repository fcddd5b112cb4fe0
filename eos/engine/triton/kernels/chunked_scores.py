"""The kernel before a pass over chunks (eos.engine.triton.kernels): what decays inside chunks ask for."""

import triton.language as tl

from eos.engine.triton.kernels.access import (
    as_written,
    kernel,
    load,
    load_decay,
    load_head_decay,
    load_reset,
    opened,
    outlives,
    store,
    unbroken,
    where,
)
from eos.engine.triton.kernels.edges import activated
from eos.engine.triton.kernels.intervals import (
    VECTORS,
    document,
    early,
    erasing,
    exp,
    levels,
    load_left,
    load_mask,
    load_pairs,
    load_right,
    masks_of,
    meeting,
    pieces,
    product,
    store_intervals,
    summed_decay,
)


@kernel
def chunked_scores(
    rows,
    columns,
    decay,
    bias,
    decayed_rows,
    decayed_columns,
    reset,
    masks,
    scores,
    last_scores,
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
    ERASE: tl.constexpr,
    RESET: tl.constexpr,
    LINK: tl.constexpr,
    TAU: tl.constexpr,
    GATE: tl.constexpr,
    ROWS_SILU: tl.constexpr,
    COLUMNS_SILU: tl.constexpr,
    PRECISION: tl.constexpr,
    DOT: tl.constexpr,
):
    """All that the decay of one axis X asks for before anything is carried from chunk to chunk. One program a chunk.

    KIND 1: the table ``intervals`` [B·H, N, 7, C] of :func:`store_intervals`, and the decays of whole chunks,
    ``totals`` [B·H, N]. KIND 2: scores Σ_x row_rx D_rjx column_jx [READS, B·H, N, C, C]; rows decayed from the chunk's
    start and columns to its end, in the shapes of rows and columns; ``totals`` [B·H, N, X]. With ERASE both make all of
    this, and the last rows read before their step, whatever the others do, and have their scores in ``last_scores``
    [B·H, N, C, C], in float32, besides.

    With KIND 2 the decay may come as a pre-activation (LINK, TAU and ``bias`` [H, X]), columns may be gated by its
    complement (GATE), and rows and columns go through a silu.
    """
    chunks = (T + C - 1) // C
    heads = tl.num_programs(0) // chunks
    n = tl.program_id(0) % chunks
    head = (tl.program_id(0) // chunks).to(tl.int64)
    b, h = head // H, head % H
    rest = T - n * C
    c = tl.arange(0, C)
    square = c[:, None] * C + c[None, :]
    place = head * chunks + n
    if KIND == 1:
        table = intervals + place * (VECTORS * C)
        g = load_head_decay(where(decay, decay_batch, b, h, n, C), decay, rest, C)
        begins = load_reset(reset, b, n, T, C) if RESET else tl.zeros([C], tl.int32)
        whole = store_intervals(table, g, begins, C, BEFORE)
        if not ERASE:
            tl.store(totals + place, whole)
        else:
            tl.debug_barrier()  # the table is read by other threads than wrote it
            left = load_left(table, C)[:, None]
            for start in tl.range(0, X, BX, num_stages=1):
                x = start + tl.arange(0, BX)
                column = load(where(columns, columns_batch, b, h, n, C), columns, rest, x, X, C).to(tl.float32)
                at = where(decayed_columns, decayed_columns_batch, b, h, n, C)
                store(at, decayed_columns, column * left, rest, x, X, C)
                tl.store(totals + place * X + x, tl.zeros([BX], tl.float32) + whole, mask=x < X)
            for read in tl.static_range(READS):
                right = load_right(table, C, erasing(BEFORE, ERASE, read, READS))[:, None]
                pairs = tl.zeros([C, C], tl.float32)
                for start in tl.range(0, X, BX, num_stages=1):
                    x = start + tl.arange(0, BX)
                    row = load(where(rows, rows_batch, b, read * H + h, n, C), rows, rest, x, X, C)
                    column = load(where(columns, columns_batch, b, h, n, C), columns, rest, x, X, C)
                    at = where(decayed_rows, decayed_rows_batch, b, read * H + h, n, C)
                    store(at, decayed_rows, row.to(tl.float32) * right, rest, x, X, C)
                    pairs += product(row.to(DOT), tl.trans(column.to(DOT)), PRECISION)
                pairs = pairs * load_pairs(table, C, BEFORE, RESET, False, erasing(BEFORE, ERASE, read, READS))
                tl.store(scores + (read * heads * chunks + place) * (C * C) + square, pairs.to(scores.dtype.element_ty))
                if read == READS - 1:
                    tl.store(last_scores + place * (C * C) + square, pairs)
    else:
        for start in tl.range(0, X, BX, num_stages=1):
            x = start + tl.arange(0, BX)
            column = load(where(columns, columns_batch, b, h, n, C), columns, rest, x, X, C)
            g = load_decay(where(decay, decay_batch, b, h, n, C), decay, bias, h, rest, x, X, C, LINK, TAU)
            column = as_written(column, g, COLUMNS_SILU, GATE)
            first, second = pieces(g)
            left = summed_decay(load_mask(masks, levels(C) + 1, C), first, second)
            left = outlives(left, reset, b, n, T, C, RESET)
            store(
                where(decayed_columns, decayed_columns_batch, b, h, n, C), decayed_columns, column * left, rest, x, X, C
            )
            total = unbroken(exp(tl.sum(g, 0)), reset, b, n, T, C, RESET)
            tl.store(totals + place * X + x, total, mask=x < X)
        for read in tl.static_range(READS):
            table = masks_of(masks, read, READS, ERASE, C)
            pairs = tl.zeros([C, C], tl.float32)
            for start in tl.range(0, X, BX, num_stages=1):
                x = start + tl.arange(0, BX)
                row = load(where(rows, rows_batch, b, read * H + h, n, C), rows, rest, x, X, C)
                row = activated(row, ROWS_SILU)
                column = load(where(columns, columns_batch, b, h, n, C), columns, rest, x, X, C)
                g = load_decay(where(decay, decay_batch, b, h, n, C), decay, bias, h, rest, x, X, C, LINK, TAU)
                column = as_written(column, g, COLUMNS_SILU, GATE)
                first, second = pieces(g)
                right = summed_decay(load_mask(table, levels(C), C), first, second)
                right = opened(right, reset, b, n, T, C, RESET)
                at = where(decayed_rows, decayed_rows_batch, b, read * H + h, n, C)
                store(at, decayed_rows, row * right, rest, x, X, C)
                if not early(BEFORE, ERASE, read, READS):
                    own = tl.sum(row * column, 1)
                    pairs += tl.where(c[:, None] == c[None, :], own[:, None], 0.0)
                for level in tl.range(0, levels(C), num_stages=1):
                    factor = summed_decay(load_mask(table, level, C), first, second)
                    met = product((row * factor).to(DOT), tl.trans((column * factor).to(DOT)), PRECISION)
                    pairs += tl.where(meeting(level, C), met, 0.0)
            if RESET:
                pairs = tl.where(document(load_reset(reset, b, n, T, C), C)[1], pairs, 0.0)
            tl.store(scores + (read * heads * chunks + place) * (C * C) + square, pairs.to(scores.dtype.element_ty))
            if ERASE and read == READS - 1:
                tl.store(last_scores + place * (C * C) + square, pairs)
