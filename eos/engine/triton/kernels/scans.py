"""Device functions of the elementwise algorithm: every entry of the memory is a recurrence of its own.

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

from eos.engine.triton.kernels.edges import complement, log_sigmoid, softplus
from eos.engine.triton.kernels.intervals import exp

#: A tensor [B, T, H, K, V]: its first entry, its strides over time, heads, K and V, and the unit of that over batch.
Entries = namedtuple("Entries", ["pointer", "time", "head", "key", "value", "unit"])


@triton.jit
def combined(o1, u1, o2, u2):
    """x → o₂ (o₁ x + u₁) + u₂, as one decay and one write."""
    return o1 * o2, o2 * u1 + u2


@triton.jit
def scanned(o, u, start, C: tl.constexpr, BV: tl.constexpr, REVERSE: tl.constexpr):
    """x_t = o_t x_{t-1} + u_t over a chunk [C, BV] from ``start`` [BV]; in reverse x_t = o_t x_{t+1} + u_t."""
    o = tl.broadcast_to(o, [C, BV])
    decay, total = tl.associative_scan((o, u), 0, combined, reverse=REVERSE)
    return total + decay * start[None, :]


@triton.jit
def log_decay(
    over_key,
    over_value,
    over_both,
    step,
    rate,
    bias,
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
    MADE: tl.constexpr,
    MADE_TAU: tl.constexpr,
):
    """The log-decay of row k [C, BV|1] in nats, not floored, zero past the end; rate × step; and what it is made of.

    MADE: that is a pre-activation with its bias, of the log-decay over K or V, or of the step over V.
    """
    total = tl.zeros([C, 1], tl.float32)
    product, u = total, total
    if KEY:
        u = tile_of(over_key, key_batch, b, h, k, n, rest, v, V, C, SHIFT, False)
        if MADE:
            u += tl.load(bias.pointer + h * bias.head + k * bias.key)
            total = log_sigmoid(u, MADE_TAU)
        else:
            total = total + u
    if VALUE:
        u = tile_of(over_value, value_batch, b, h, 0, n, rest, v, V, C, SHIFT, True)
        if MADE:
            u += tl.load(bias.pointer + h * bias.head + v * bias.value, mask=v < V, other=0.0)[None, :]
            total = log_sigmoid(u, MADE_TAU)
        else:
            total = total + u
    if BOTH:
        total = total + tile_of(over_both, both_batch, b, h, k, n, rest, v, V, C, SHIFT, True)
    if RATE:
        factor = tl.load(rate.pointer + h * rate.head + k * rate.key + v * rate.value, mask=v < V, other=0.0)
        u = tile_of(step, step_batch, b, h, k, n, rest, v, V, C, SHIFT, STEP_V)
        steps = u
        if MADE:
            u += tl.load(bias.pointer + h * bias.head + v * bias.value, mask=v < V, other=0.0)[None, :]
            steps = softplus(u)
        product = steps * factor.to(tl.float32)[None, :]
        total = total + linked(product, LINK, TAU)
    if MADE or RATE:
        total = tl.where((tl.arange(0, C) + SHIFT < rest)[:, None], total, 0.0)
    return total, product, u


@triton.jit
def linked(product, LINK: tl.constexpr, TAU: tl.constexpr):
    """rate × step as a log-decay: itself, or with LINK log_sigmoid(rate × step) / TAU."""
    if LINK:
        product = (tl.minimum(product, 0.0) - tl.log(1.0 + exp(-tl.abs(product)))) * (1.0 / TAU)
    return product


@triton.jit
def gate_of(log_decay, u, STEP: tl.constexpr):
    """What multiplies the write: the complement of its decay, or with STEP the step that ``u`` makes."""
    return softplus(u) if STEP else complement(log_decay)


@triton.jit
def forget(o, reset, b, n, T, C: tl.constexpr, SHIFT: tl.constexpr, RESET: tl.constexpr):
    """Zero where a document begins; ``reset`` is [B, T] bytes."""
    if RESET:
        t = n * C + tl.arange(0, C) + SHIFT
        o = tl.where((tl.load(reset + b * T + t, mask=t < T, other=0) > 0)[:, None], 0.0, o)
    return o


@triton.jit
def tile_of(
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
def store_tile(role, batch, b, h, k, n, rest, v, V: tl.constexpr, C: tl.constexpr, SHIFT: tl.constexpr, x):
    """Store [C, BV], moved on by SHIFT steps."""
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
def gather(
    role, batch, b, h, k, n, rest, v, V: tl.constexpr, C: tl.constexpr, SHIFT: tl.constexpr, OVER_V: tl.constexpr, x
):
    """Store [C, BV], or its sum over this tile of V where the tensor has none."""
    if OVER_V:
        store_tile(role, batch, b, h, k, n, rest, v, V, C, SHIFT, x)
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
