"""The kernel that makes all gradients of the elementwise algorithm, chunks in reverse."""

import triton.language as tl

from eos.engine.triton.kernels.access import kernel
from eos.engine.triton.kernels.edges import log_sigmoid_slope, sigmoid, softplus
from eos.engine.triton.kernels.intervals import FLOOR, exp
from eos.engine.triton.kernels.scans import forget, gate_of, gather, log_decay, scanned, store_tile, tile_of


@kernel
def elementwise_backward(
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
    first_dy,
    second_dy,
    reset,
    memories,
    adjoint,
    dinputs,
    dexpand,
    dfirst,
    dsecond,
    dkey,
    dvalue,
    dboth,
    dstep,
    drate,
    inputs_batch,
    expand_batch,
    first_batch,
    second_batch,
    key_batch,
    value_batch,
    both_batch,
    step_batch,
    first_dy_batch,
    second_dy_batch,
    dinputs_batch,
    dexpand_batch,
    dreads_batch,
    dkey_batch,
    dvalue_batch,
    dboth_batch,
    dstep_batch,
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
    STEP_K: tl.constexpr,
    STEP_V: tl.constexpr,
    LINK: tl.constexpr,
    TAU: tl.constexpr,
    BEFORE: tl.constexpr,
    RESET: tl.constexpr,
    MADE: tl.constexpr,
    MADE_TAU: tl.constexpr,
    GATE: tl.constexpr,
    KEY_EVERY: tl.constexpr,
    VALUE_EVERY: tl.constexpr,
    DKEY: tl.constexpr,
    DVALUE: tl.constexpr,
    DBOTH: tl.constexpr,
    DRATE: tl.constexpr,
):
    """All gradients, chunks in reverse; ``adjoint`` [B·H, K, V] is the memory's, after the last step and then before
    the first. What a tile of V has a share of (dexpand, dreads, dkey, dstep where they have no V) is stored by tile,
    the tiles on the axis of heads. ``drate`` [B·H, K, V] is summed over time, from zero.

    MADE and GATE are as in :func:`elementwise_forward`; gradients are those of the pre-activation.
    """
    tiles: tl.constexpr = (V + BV - 1) // BV
    tile = tl.program_id(0) % tiles
    head = (tl.program_id(0) // tiles).to(tl.int64)
    b, h = head // H, head % H
    share = tile * H + h
    chunks = (T + C - 1) // C
    v = tile * BV + tl.arange(0, BV)
    c = tl.arange(0, C)
    for turn in range(chunks):
        n = chunks - 1 - turn
        rest = T - n * C
        i = tile_of(inputs, inputs_batch, b, h, 0, n, rest, v, V, C, 0, True)
        dy = tl.zeros([C, BV], tl.float32)
        dz = tl.zeros([C, BV], tl.float32)
        if READS > 0:
            dy = tile_of(first_dy, first_dy_batch, b, h, 0, n, rest, v, V, C, BEFORE, True)
        if READS > 1:
            dz = tile_of(second_dy, second_dy_batch, b, h, 0, n, rest, v, V, C, BEFORE, True)
        di = tl.zeros([C, BV], tl.float32)
        all_log = tl.zeros([C, BV], tl.float32)
        all_step = tl.zeros([C, BV], tl.float32)
        for row in range(K):
            k = row
            log_o, product, made_of = log_decay(
                over_key, over_value, over_both, step, rate, bias, key_batch, value_batch, both_batch, step_batch,
                b, h, k, n, rest, v, V, C, 0, KEY, VALUE, BOTH, RATE, STEP_V, LINK, TAU, MADE, MADE_TAU,
            )  # fmt: skip
            o = forget(exp(tl.maximum(log_o, FLOOR)), reset, b, n, T, C, 0, RESET)
            next_log, _, _ = log_decay(
                over_key, over_value, over_both, step, rate, bias, key_batch, value_batch, both_batch, step_batch,
                b, h, k, n, rest, v, V, C, 1, KEY, VALUE, BOTH, RATE, STEP_V, LINK, TAU, MADE, MADE_TAU,
            )  # fmt: skip
            later = forget(exp(tl.maximum(next_log, FLOOR)), reset, b, n, T, C, 1, RESET)
            later = tl.where((c == C - 1)[:, None], 1.0, later)
            e = tile_of(expand, expand_batch, b, h, k, n, rest, v, V, C, 0, EXPAND_V)
            gate = 1.0
            if GATE:
                gate = gate_of(log_o, made_of, RATE)
            u = e * i * gate
            place = ((head * (chunks + 1) + n) * K + k) * V + v
            m = scanned(o, u, tl.load(memories + place, mask=v < V, other=0.0), C, BV, False)
            seed = tl.zeros([C, BV], tl.float32)
            if READS > 0:
                seed += tile_of(first, first_batch, b, h, k, n, rest, v, V, C, BEFORE, READ_V) * dy
                gather(dfirst, dreads_batch, b, share if not READ_V else h, k, n, rest, v, V, C, BEFORE, READ_V, m * dy)
            if READS > 1:
                seed += tile_of(second, second_batch, b, h, k, n, rest, v, V, C, BEFORE, READ_V) * dz
                gather(
                    dsecond, dreads_batch, b, share if not READ_V else h, k, n, rest, v, V, C, BEFORE, READ_V, m * dz
                )
            at = adjoint + (head * K + k) * V + v
            grow = scanned(later, seed, tl.load(at, mask=v < V, other=0.0), C, BV, True)
            tl.store(at, tl.sum(tl.where((c == 0)[:, None], o * grow, 0.0), 0), mask=v < V)
            di += grow * e * gate
            gather(
                dexpand,
                dexpand_batch,
                b,
                share if not EXPAND_V else h,
                k,
                n,
                rest,
                v,
                V,
                C,
                0,
                EXPAND_V,
                grow * i * gate,
            )
            if DKEY or DVALUE or DBOTH or DRATE:
                dlog = grow * (m - u)
                if GATE and not RATE:
                    dlog -= exp(log_o) * (grow * e * i)
                dlog = tl.where(log_o < FLOOR, 0.0, dlog)
                if MADE and not RATE:
                    dlog = dlog * log_sigmoid_slope(made_of, MADE_TAU)
                if (DKEY and not KEY_EVERY) or DVALUE:
                    all_log += dlog
                if DKEY and KEY_EVERY:
                    gather(dkey, dkey_batch, b, share, k, n, rest, v, V, C, 0, False, dlog)
                if DBOTH:
                    gather(dboth, dboth_batch, b, h, k, n, rest, v, V, C, 0, True, dlog)
                if DRATE:
                    if LINK:
                        dlog = dlog * (1.0 / TAU) / (1.0 + exp(product))
                    factor = tl.load(
                        rate.pointer + h * rate.head + k * rate.key + v * rate.value, mask=v < V, other=0.0
                    )
                    if STEP_K:
                        at_head = h if STEP_V else share
                        change = dlog * factor[None, :]
                        gather(dstep, dstep_batch, b, at_head, k, n, rest, v, V, C, 0, STEP_V, change)
                    else:
                        change = dlog * factor[None, :]
                        if GATE:
                            change += grow * e * i
                        all_step += change * sigmoid(made_of) if MADE else change
                    steps = tile_of(step, step_batch, b, h, k, n, rest, v, V, C, 0, STEP_V)
                    if MADE:
                        steps = tl.where((c < rest)[:, None], softplus(made_of), 0.0)
                    at = drate + (head * K + k) * V + v
                    summed = tl.load(at, mask=v < V, other=0.0) + tl.sum(dlog * steps, 0)
                    tl.store(at, summed, mask=v < V)
        store_tile(dinputs, dinputs_batch, b, h, 0, n, rest, v, V, C, 0, di)
        if DKEY and not KEY_EVERY:
            gather(dkey, dkey_batch, b, share, 0, n, rest, v, V, C, 0, False, all_log)
        if DVALUE:
            at_head = h if VALUE_EVERY else share
            gather(dvalue, dvalue_batch, b, at_head, 0, n, rest, v, V, C, 0, VALUE_EVERY, all_log)
        if DRATE and not STEP_K:
            at_head = h if STEP_V else share
            gather(dstep, dstep_batch, b, at_head, 0, n, rest, v, V, C, 0, STEP_V, all_step)
        tl.debug_barrier()
