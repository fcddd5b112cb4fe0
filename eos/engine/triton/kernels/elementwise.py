"""The elementwise algorithm: every entry of the memory is a recurrence of its own, scanned over the steps of a chunk.

    m_t = o_t ∘ m_{t-1} + e_t ∘ i_t     λ_t = Σ s_t ∘ dy_t + o_{t+1} ∘ λ_{t+1}     d log o_t = λ_t ∘ (m_t − e_t ∘ i_t)

One program takes a head and a tile of V, chunk after chunk; in a chunk it scans the rows of K one by one, as tiles
[C, BV] with time first. What passes from chunk to chunk lies in memory. Reads before their step are those after the
step before: they are loaded, and their outputs stored, one step on.

``Entries`` says where a tensor [B, T, H, K, V] lies; a shared axis has stride 0. OVER_K and OVER_V of a decay or step
say which axes it has; without V it is loaded as [C, 1].
"""

from collections import namedtuple

import triton
import triton.language as tl

from eos.engine.triton.kernels.intervals import FLOOR, exp

#: A tensor [B, T, H, K, V]: its first entry, its strides over time, heads, K and V, and the unit of that over batch.
Entries = namedtuple("Entries", ["pointer", "time", "head", "key", "value", "unit"])
#: What grows with T, which no kernel is compiled for.
GROWING = [
    "T",
    "both_batch",
    "dboth_batch",
    "dexpand_batch",
    "dinputs_batch",
    "dkey_batch",
    "dreads_batch",
    "dstep_batch",
    "dvalue_batch",
    "expand_batch",
    "first_batch",
    "first_dy_batch",
    "inputs_batch",
    "key_batch",
    "outputs_batch",
    "second_batch",
    "second_dy_batch",
    "step_batch",
    "value_batch",
]


@triton.jit(do_not_specialize=GROWING)
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
):
    """Up to two reads, and the memory that every chunk finds and the last leaves, ``memories`` [B·H, N + 1, K, V].

    ``memories`` hold the memory before the first chunk when it starts.
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
        i = _tile(inputs, inputs_batch, b, h, 0, n, rest, v, V, C, 0, True)
        y = tl.zeros([C, BV], tl.float32)
        z = tl.zeros([C, BV], tl.float32)
        for row in range(K):
            k = row
            log_o, _ = _log_decay(
                over_key, over_value, over_both, step, rate, key_batch, value_batch, both_batch, step_batch,
                b, h, k, n, rest, v, V, C, 0, KEY, VALUE, BOTH, RATE, STEP_V, LINK, TAU,
            )  # fmt: skip
            o = _forget(exp(tl.maximum(log_o, FLOOR)), reset, b, n, T, C, 0, RESET)
            u = _tile(expand, expand_batch, b, h, k, n, rest, v, V, C, 0, EXPAND_V) * i
            at = memories + ((head * (chunks + 1) + n) * K + k) * V + v
            m = _scanned(o, u, tl.load(at, mask=v < V, other=0.0), C, BV, False)
            tl.store(at + K * V, tl.sum(tl.where((c == C - 1)[:, None], m, 0.0), 0), mask=v < V)
            if READS > 0:
                y += _tile(first, first_batch, b, h, k, n, rest, v, V, C, BEFORE, READ_V) * m
            if READS > 1:
                z += _tile(second, second_batch, b, h, k, n, rest, v, V, C, BEFORE, READ_V) * m
        if READS > 0:
            _store(first_out, outputs_batch, b, h, 0, n, rest, v, V, C, BEFORE, y)
        if READS > 1:
            _store(second_out, outputs_batch, b, h, 0, n, rest, v, V, C, BEFORE, z)
        tl.debug_barrier()  # the next chunk loads what other threads may have stored


@triton.jit(do_not_specialize=GROWING)
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
        i = _tile(inputs, inputs_batch, b, h, 0, n, rest, v, V, C, 0, True)
        dy = tl.zeros([C, BV], tl.float32)
        dz = tl.zeros([C, BV], tl.float32)
        if READS > 0:
            dy = _tile(first_dy, first_dy_batch, b, h, 0, n, rest, v, V, C, BEFORE, True)
        if READS > 1:
            dz = _tile(second_dy, second_dy_batch, b, h, 0, n, rest, v, V, C, BEFORE, True)
        di = tl.zeros([C, BV], tl.float32)
        all_log = tl.zeros([C, BV], tl.float32)
        all_step = tl.zeros([C, BV], tl.float32)
        for row in range(K):
            k = row
            log_o, product = _log_decay(
                over_key, over_value, over_both, step, rate, key_batch, value_batch, both_batch, step_batch,
                b, h, k, n, rest, v, V, C, 0, KEY, VALUE, BOTH, RATE, STEP_V, LINK, TAU,
            )  # fmt: skip
            o = _forget(exp(tl.maximum(log_o, FLOOR)), reset, b, n, T, C, 0, RESET)
            next_log, _ = _log_decay(
                over_key, over_value, over_both, step, rate, key_batch, value_batch, both_batch, step_batch,
                b, h, k, n, rest, v, V, C, 1, KEY, VALUE, BOTH, RATE, STEP_V, LINK, TAU,
            )  # fmt: skip
            later = _forget(exp(tl.maximum(next_log, FLOOR)), reset, b, n, T, C, 1, RESET)
            later = tl.where((c == C - 1)[:, None], 1.0, later)
            e = _tile(expand, expand_batch, b, h, k, n, rest, v, V, C, 0, EXPAND_V)
            u = e * i
            place = ((head * (chunks + 1) + n) * K + k) * V + v
            m = _scanned(o, u, tl.load(memories + place, mask=v < V, other=0.0), C, BV, False)
            seed = tl.zeros([C, BV], tl.float32)
            if READS > 0:
                seed += _tile(first, first_batch, b, h, k, n, rest, v, V, C, BEFORE, READ_V) * dy
                _gather(
                    dfirst, dreads_batch, b, share if not READ_V else h, k, n, rest, v, V, C, BEFORE, READ_V, m * dy
                )
            if READS > 1:
                seed += _tile(second, second_batch, b, h, k, n, rest, v, V, C, BEFORE, READ_V) * dz
                _gather(
                    dsecond, dreads_batch, b, share if not READ_V else h, k, n, rest, v, V, C, BEFORE, READ_V, m * dz
                )
            at = adjoint + (head * K + k) * V + v
            grow = _scanned(later, seed, tl.load(at, mask=v < V, other=0.0), C, BV, True)
            tl.store(at, tl.sum(tl.where((c == 0)[:, None], o * grow, 0.0), 0), mask=v < V)
            di += grow * e
            _gather(dexpand, dexpand_batch, b, share if not EXPAND_V else h, k, n, rest, v, V, C, 0, EXPAND_V, grow * i)
            if DKEY or DVALUE or DBOTH or DRATE:
                dlog = tl.where(log_o < FLOOR, 0.0, grow * (m - u))
                if (DKEY and not KEY_EVERY) or DVALUE:
                    all_log += dlog
                if DKEY and KEY_EVERY:
                    _gather(dkey, dkey_batch, b, share, k, n, rest, v, V, C, 0, False, dlog)
                if DBOTH:
                    _gather(dboth, dboth_batch, b, h, k, n, rest, v, V, C, 0, True, dlog)
                if DRATE:
                    if LINK:
                        dlog = dlog * (1.0 / TAU) / (1.0 + exp(product))
                    factor = tl.load(
                        rate.pointer + h * rate.head + k * rate.key + v * rate.value, mask=v < V, other=0.0
                    )
                    if STEP_K:
                        at_head = h if STEP_V else share
                        change = dlog * factor[None, :]
                        _gather(dstep, dstep_batch, b, at_head, k, n, rest, v, V, C, 0, STEP_V, change)
                    else:
                        all_step += dlog * factor[None, :]
                    steps = _tile(step, step_batch, b, h, k, n, rest, v, V, C, 0, STEP_V)
                    at = drate + (head * K + k) * V + v
                    summed = tl.load(at, mask=v < V, other=0.0) + tl.sum(dlog * steps, 0)
                    tl.store(at, summed, mask=v < V)
        _store(dinputs, dinputs_batch, b, h, 0, n, rest, v, V, C, 0, di)
        if DKEY and not KEY_EVERY:
            _gather(dkey, dkey_batch, b, share, 0, n, rest, v, V, C, 0, False, all_log)
        if DVALUE:
            at_head = h if VALUE_EVERY else share
            _gather(dvalue, dvalue_batch, b, at_head, 0, n, rest, v, V, C, 0, VALUE_EVERY, all_log)
        if DRATE and not STEP_K:
            at_head = h if STEP_V else share
            _gather(dstep, dstep_batch, b, at_head, 0, n, rest, v, V, C, 0, STEP_V, all_step)
        tl.debug_barrier()


@triton.jit
def _combined(o1, u1, o2, u2):
    return o1 * o2, o2 * u1 + u2


@triton.jit
def _scanned(o, u, start, C: tl.constexpr, BV: tl.constexpr, REVERSE: tl.constexpr):
    """x_t = o_t x_{t-1} + u_t over a chunk [C, BV] from ``start`` [BV]; in reverse x_t = o_t x_{t+1} + u_t."""
    o = tl.broadcast_to(o, [C, BV])
    decay, total = tl.associative_scan((o, u), 0, _combined, reverse=REVERSE)
    return total + decay * start[None, :]


@triton.jit
def _log_decay(
    over_key,
    over_value,
    over_both,
    step,
    rate,
    key_batch,
    value_batch,
    both_batch,
    step_batch,
    b,
    h,
    k,
    n,
    rest,
    v,
    V: tl.constexpr,
    C: tl.constexpr,
    SHIFT: tl.constexpr,
    KEY: tl.constexpr,
    VALUE: tl.constexpr,
    BOTH: tl.constexpr,
    RATE: tl.constexpr,
    STEP_V: tl.constexpr,
    LINK: tl.constexpr,
    TAU: tl.constexpr,
):
    """The log-decay of row k [C, BV|1] in nats, not floored, zero past the end; and rate × step."""
    total = tl.zeros([C, 1], tl.float32)
    product = total
    if KEY:
        total = total + _tile(over_key, key_batch, b, h, k, n, rest, v, V, C, SHIFT, False)
    if VALUE:
        total = total + _tile(over_value, value_batch, b, h, 0, n, rest, v, V, C, SHIFT, True)
    if BOTH:
        total = total + _tile(over_both, both_batch, b, h, k, n, rest, v, V, C, SHIFT, True)
    if RATE:
        factor = tl.load(rate.pointer + h * rate.head + k * rate.key + v * rate.value, mask=v < V, other=0.0)
        product = _tile(step, step_batch, b, h, k, n, rest, v, V, C, SHIFT, STEP_V) * factor.to(tl.float32)[None, :]
        linked = product
        if LINK:
            linked = (tl.minimum(product, 0.0) - tl.log(1.0 + exp(-tl.abs(product)))) * (1.0 / TAU)
        total = total + tl.where((tl.arange(0, C) + SHIFT < rest)[:, None], linked, 0.0)
    return total, product


@triton.jit
def _forget(o, reset, b, n, T, C: tl.constexpr, SHIFT: tl.constexpr, RESET: tl.constexpr):
    """Zero where a document begins; ``reset`` is [B, T] bytes."""
    if RESET:
        t = n * C + tl.arange(0, C) + SHIFT
        o = tl.where((tl.load(reset + b * T + t, mask=t < T, other=0) > 0)[:, None], 0.0, o)
    return o


@triton.jit
def _tile(
    role, batch, b, h, k, n, rest, v, V: tl.constexpr, C: tl.constexpr, SHIFT: tl.constexpr, OVER_V: tl.constexpr
):
    """Row k of a tensor in a chunk moved on by SHIFT steps, [C, BV] or without V [C, 1]; zero past the end."""
    t = tl.arange(0, C) + SHIFT
    base = (
        role.pointer
        + b * batch * role.unit
        + h.to(tl.int64) * role.head
        + n.to(tl.int64) * C * role.time
        + k * role.key
    )
    if OVER_V:
        inside = (t < rest)[:, None] & (v < V)[None, :]
        x = tl.load(base + t[:, None] * role.time + v[None, :] * role.value, mask=inside, other=0.0)
    else:
        x = tl.load(base + t * role.time, mask=t < rest, other=0.0)[:, None]
    return x.to(tl.float32)


@triton.jit
def _store(role, batch, b, h, k, n, rest, v, V: tl.constexpr, C: tl.constexpr, SHIFT: tl.constexpr, x):
    t = tl.arange(0, C) + SHIFT
    base = (
        role.pointer
        + b * batch * role.unit
        + h.to(tl.int64) * role.head
        + n.to(tl.int64) * C * role.time
        + k * role.key
    )
    inside = (t < rest)[:, None] & (v < V)[None, :]
    tl.store(base + t[:, None] * role.time + v[None, :] * role.value, x.to(role.pointer.dtype.element_ty), mask=inside)


@triton.jit
def _gather(
    role, batch, b, h, k, n, rest, v, V: tl.constexpr, C: tl.constexpr, SHIFT: tl.constexpr, OVER_V: tl.constexpr, x
):
    """Store [C, BV], or its sum over this tile of V where the tensor has none."""
    if OVER_V:
        _store(role, batch, b, h, k, n, rest, v, V, C, SHIFT, x)
    else:
        t = tl.arange(0, C) + SHIFT
        base = (
            role.pointer
            + b * batch * role.unit
            + h.to(tl.int64) * role.head
            + n.to(tl.int64) * C * role.time
            + k * role.key
        )
        tl.store(base + t * role.time, tl.sum(x, 1).to(role.pointer.dtype.element_ty), mask=t < rest)
