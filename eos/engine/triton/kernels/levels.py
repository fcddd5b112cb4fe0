"""Device functions: rows meet columns through a decay of every entry, level by level."""

import triton
import triton.language as tl

from eos.engine.triton.kernels.intervals import levels, load_mask, meeting, product, summed_decay


@triton.jit
def met(
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
    total = diagonal(a, C)[:, None] * columns
    for level in tl.range(0, levels(C), num_stages=1):
        factor = summed_decay(load_mask(masks, level, C), first, second)
        met = tl.where(meeting(level, C), a, 0.0)
        total += factor * product(met.to(DOT), (columns * factor).to(DOT), PRECISION)
    return total


@triton.jit
def met_both(
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
    for_rows = diagonal(a, C)[:, None] * columns
    for_columns = diagonal(at, C)[:, None] * rows
    for level in tl.range(0, levels(C), num_stages=1):
        factor = summed_decay(load_mask(masks, level, C), first, second)
        if ROWS:
            scores = tl.where(meeting(level, C), a, 0.0).to(DOT)
            for_rows += factor * product(scores, (columns * factor).to(DOT), PRECISION)
        scores = tl.where(tl.trans(meeting(level, C)), at, 0.0).to(DOT)
        for_columns += factor * product(scores, (rows * factor).to(DOT), PRECISION)
    return for_rows, for_columns


@triton.jit
def diagonal(a, C: tl.constexpr):
    """The diagonal of a [C, C], as [C]."""
    c = tl.arange(0, C)
    return tl.sum(tl.where(c[:, None] == c[None, :], a.to(tl.float32), 0.0), 1)
