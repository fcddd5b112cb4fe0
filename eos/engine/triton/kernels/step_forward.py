"""The kernel of decoding: one token, all of a head's memory in registers, read once and written once.

    m_t = o_t ∘ m_{t-1} + a_t (b_tᵀ m_{t-1}) + e_t i_tᵀ        y_t = m_tᵀ s_t

One program takes a head and a tile of V. A turned memory needs the row K/2 away beside its own: the program makes both,
which costs a second load from cache and no second kernel.
"""

import triton
import triton.language as tl

from eos.engine.triton.kernels.access import kernel
from eos.engine.triton.kernels.intervals import FLOOR, exp
from eos.engine.triton.kernels.scans import linked


@kernel
def step_forward(
    inputs,
    expand,
    reads,
    over_key,
    over_value,
    over_both,
    step,
    rate,
    erase,
    erased,
    angle,
    reset,
    memory,
    after,
    outputs,
    inputs_batch,
    expand_batch,
    reads_batch,
    key_batch,
    value_batch,
    both_batch,
    step_batch,
    erase_batch,
    erased_batch,
    angle_batch,
    S,
    H,
    K: tl.constexpr,
    V: tl.constexpr,
    BK: tl.constexpr,
    BV: tl.constexpr,
    READS: tl.constexpr,
    EXPAND_V: tl.constexpr,
    READ_V: tl.constexpr,
    KEY: tl.constexpr,
    VALUE: tl.constexpr,
    BOTH: tl.constexpr,
    RATE: tl.constexpr,
    LINK: tl.constexpr,
    TAU: tl.constexpr,
    ERASE: tl.constexpr,
    TURN: tl.constexpr,
    BEFORE: tl.constexpr,
    RESET: tl.constexpr,
):
    """S micro-steps. ``memory`` and ``after`` are [B·H, K, V], ``outputs`` [B, S, READS·H, V], and ``angle`` [B, 1, H,
    K/2|1, V|1] is by how much the frame has turned at the end. The reads of one head lie H heads apart.
    """
    tiles: tl.constexpr = (V + BV - 1) // BV
    head = (tl.program_id(0) // tiles).to(tl.int64)
    b, h = head // H, head % H
    v = (tl.program_id(0) % tiles) * BV + tl.arange(0, BV)
    k = tl.arange(0, BK)
    m = advanced(
        inputs, expand, reads, over_key, over_value, over_both, step, rate, erase, erased, reset, memory, outputs,
        inputs_batch, expand_batch, reads_batch, key_batch, value_batch, both_batch, step_batch, erase_batch,
        erased_batch, b, h, k, v, S, H, K, V, BK, BV, READS, EXPAND_V, READ_V, KEY, VALUE, BOTH, RATE, LINK, TAU, ERASE,
        BEFORE, RESET,
    )  # fmt: skip
    if TURN:
        first = k < K // 2
        other = tl.where(first, k + K // 2, tl.where(k < K, k - K // 2, k))
        partner = advanced(
            inputs, expand, reads, over_key, over_value, over_both, step, rate, erase, erased, reset, memory, outputs,
            inputs_batch, expand_batch, reads_batch, key_batch, value_batch, both_batch, step_batch, erase_batch,
            erased_batch, b, h, other, v, S, H, K, V, BK, BV, 0, EXPAND_V, READ_V, KEY, VALUE, BOTH, RATE, LINK, TAU,
            ERASE, BEFORE, RESET,
        )  # fmt: skip
        turned = at_step(angle, angle_batch, b, h, 0, tl.where(first, k, other), v, K, V, True, True)
        m = tl.cos(turned) * m + tl.where(first[:, None], -1.0, 1.0) * tl.sin(turned) * partner
    inside = (k < K)[:, None] & (v < V)[None, :]
    tl.store(after + (head * K + k[:, None]) * V + v[None, :], m, mask=inside)


@triton.jit
def advanced(
    inputs, expand, reads, over_key, over_value, over_both, step, rate, erase, erased, reset, memory, outputs,
    inputs_batch, expand_batch, reads_batch, key_batch, value_batch, both_batch, step_batch, erase_batch, erased_batch,
    b, h, k, v, S, H,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, READS: tl.constexpr, EXPAND_V: tl.constexpr,
    READ_V: tl.constexpr, KEY: tl.constexpr, VALUE: tl.constexpr, BOTH: tl.constexpr, RATE: tl.constexpr,
    LINK: tl.constexpr, TAU: tl.constexpr, ERASE: tl.constexpr, BEFORE: tl.constexpr, RESET: tl.constexpr,
):  # fmt: skip
    """Rows k of the memory after S micro-steps [BK, BV]; with READS, every read of every micro-step is stored."""
    inside = (k < K)[:, None] & (v < V)[None, :]
    m = tl.load(memory + ((b * H + h) * K + k[:, None]) * V + v[None, :], mask=inside, other=0.0)
    for t in range(S):
        if RESET:
            m = tl.where(tl.load(reset + b * S + t) > 0, 0.0, m)
        found = m
        log_o = tl.zeros([BK, BV], tl.float32)
        if KEY:
            log_o += at_step(over_key, key_batch, b, h, t, k, v, K, V, True, False)
        if VALUE:
            log_o += at_step(over_value, value_batch, b, h, t, k, v, K, V, False, True)
        if BOTH:
            log_o += at_step(over_both, both_batch, b, h, t, k, v, K, V, True, True)
        if RATE:
            product = at_step(step, step_batch, b, h, t, k, v, K, V, True, True)
            log_o += linked(product * at_step(rate, 0, 0, h, 0, k, v, K, V, True, True), LINK, TAU)
        if KEY or VALUE or BOTH or RATE:
            m = m * exp(tl.maximum(log_o, FLOOR))
        if ERASE:
            w = tl.sum(at_step(erased, erased_batch, b, h, t, k, v, K, V, True, False) * found, 0)
            m += at_step(erase, erase_batch, b, h, t, k, v, K, V, True, False) * w[None, :]
        write = at_step(expand, expand_batch, b, h, t, k, v, K, V, True, EXPAND_V)
        m += write * at_step(inputs, inputs_batch, b, h, t, k, v, K, V, False, True)
        seen = found if BEFORE else m
        for read in tl.static_range(READS):
            s = at_step(reads, reads_batch, b, h + read * H, t, k, v, K, V, True, READ_V)
            y = tl.sum(s * seen, 0)
            at = outputs + (((b * S + t) * READS + read) * H + h) * V + v
            tl.store(at, y.to(outputs.dtype.element_ty), mask=v < V)
    return m


@triton.jit
def at_step(role, batch, b, h, t, k, v, K: tl.constexpr, V: tl.constexpr, OVER_K: tl.constexpr, OVER_V: tl.constexpr):
    """What a tensor has at one step for rows k and columns v, [BK|1, BV|1], in float32; zero outside."""
    at = role.pointer + b * batch * role.unit + h * role.head + t * role.time
    if OVER_K and OVER_V:
        inside = (k < K)[:, None] & (v < V)[None, :]
        x = tl.load(at + k[:, None] * role.key + v[None, :] * role.value, mask=inside, other=0.0)
    elif OVER_K:
        x = tl.load(at + k * role.key, mask=k < K, other=0.0)[:, None]
    else:
        x = tl.load(at + v * role.value, mask=v < V, other=0.0)[None, :]
    return x.to(tl.float32)
