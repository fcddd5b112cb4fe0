"""The kernel that solves for the inputs of an erase, all chunks at once."""

import triton.language as tl

from eos.engine.triton.kernels.access import kernel, load, store, where
from eos.engine.triton.kernels.intervals import levels, meeting, product


@kernel
def delta_solve(
    erase_scores,
    scores,
    rows,
    inputs,
    solved,
    solved_inputs,
    rows_batch,
    inputs_batch,
    solved_batch,
    solved_inputs_batch,
    T,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    C: tl.constexpr,
    BK: tl.constexpr,
    BV: tl.constexpr,
    READS: tl.constexpr,
    ADJOINT: tl.constexpr,
    PRECISION: tl.constexpr,
    EXACT: tl.constexpr,
    DOT: tl.constexpr,
):
    """What an erase writes, w = ``solved`` m + ``solved_inputs``, for the memory m that a chunk finds.

        (I − A) w = b m + B i               T = (I − A)⁻¹,   solved = T b,   solved_inputs = T B i
        (I − Aᵀ) ω = a λ + Σ Sᵀ dy          ADJOINT: of w, from the gradient λ of the memory after the chunk

    A [B·H, N, C, C] = ``erase_scores`` are the products of b with a, below the diagonal; ``scores`` B = b · e, or every
    read's S = s · a; ``rows`` are b or a, decayed from or to the chunk's edge; ``inputs`` i or every dy. T comes from
    blocks that double: a block of 2h has T₂₂ A₂₁ T₁₁ below its two blocks of h. One program a chunk.
    """
    chunks = (T + C - 1) // C
    heads = tl.num_programs(0) // chunks
    n = tl.program_id(0) % chunks
    head = (tl.program_id(0) // chunks).to(tl.int64)
    b, h = head // H, head % H
    rest = T - n * C
    c = tl.arange(0, C)
    # loaded as its transpose: some versions of Triton transpose what came out of a product wrongly
    square = c[None, :] * C + c[:, None] if ADJOINT else c[:, None] * C + c[None, :]
    a = tl.load(erase_scores + (head * chunks + n) * (C * C) + square).to(tl.float32)
    t = tl.where(c[:, None] == c[None, :], 1.0, 0.0)
    for level in tl.range(0, levels(C), num_stages=1):
        meets = tl.trans(meeting(level, C)) if ADJOINT else meeting(level, C)
        t += product(product(t, tl.where(meets, a, 0.0), EXACT), t, EXACT)
    t = t.to(DOT)
    for start in tl.range(0, K, BK, num_stages=1):
        k = start + tl.arange(0, BK)
        row = load(where(rows, rows_batch, b, h, n, C), rows, rest, k, K, C)
        at = where(solved, solved_batch, b, h, n, C)
        store(at, solved, product(t, row.to(DOT), PRECISION), rest, k, K, C)
    for start in tl.range(0, V, BV, num_stages=1):
        v = start + tl.arange(0, BV)
        met = tl.zeros([C, BV], tl.float32)
        for read in tl.static_range(READS):
            s = tl.load(scores + ((read * heads + head) * chunks + n) * (C * C) + square)
            i = load(where(inputs, inputs_batch, b, read * H + h, n, C), inputs, rest, v, V, C)
            met += product(s.to(DOT), i.to(DOT), PRECISION)
        at = where(solved_inputs, solved_inputs_batch, b, h, n, C)
        store(at, solved_inputs, product(t, met.to(DOT), PRECISION), rest, v, V, C)
