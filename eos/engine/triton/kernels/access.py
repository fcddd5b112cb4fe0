"""Device functions: where the tensors of a chunk lie, and what resets leave of decays."""

import inspect
from collections import namedtuple

import triton
import triton.language as tl

from eos.engine.triton.kernels.edges import activated, complement, log_sigmoid
from eos.engine.triton.kernels.intervals import FLOOR, document

#: A tensor [B, T, H, X]: its first entry, its strides over time, heads and features, and the unit of that over batch:
#: 16 tells the compiler that rows are aligned, whatever T is.
Role = namedtuple("Role", ["pointer", "time", "head", "feature", "unit"])


def kernel(function):
    """What a host launches. Not compiled for T and the batch strides, which grow with it."""
    names = [name for name in inspect.signature(function).parameters if name == "T" or name.endswith("_batch")]
    return triton.jit(function, do_not_specialize=names)


@triton.jit
def where(role, batch, b, h, n, C: tl.constexpr):
    """Where a role's chunk begins."""
    return role.pointer + b * batch * role.unit + h.to(tl.int64) * role.head + n.to(tl.int64) * C * role.time


@triton.jit
def load(at, role, rest, x, X: tl.constexpr, C: tl.constexpr):
    """[C, X] from the chunk's start; zero past the end of the sequence or the axis."""
    c = tl.arange(0, C)
    inside = (c[:, None] < rest) & (x[None, :] < X)
    return tl.load(at + c[:, None] * role.time + x[None, :] * role.feature, mask=inside, other=0.0)


@triton.jit
def load_transposed(at, role, rest, x, X: tl.constexpr, C: tl.constexpr):
    """[X, C]."""
    c = tl.arange(0, C)
    inside = (c[None, :] < rest) & (x[:, None] < X)
    return tl.load(at + c[None, :] * role.time + x[:, None] * role.feature, mask=inside, other=0.0)


@triton.jit
def load_bias(bias, h, x, X: tl.constexpr):
    """Of a head [X], from [H, X]."""
    return tl.load(bias + h * X + x, mask=x < X, other=0.0)


@triton.jit
def load_decay(at, role, bias, h, rest, x, X: tl.constexpr, C: tl.constexpr, LINK: tl.constexpr, TAU: tl.constexpr):
    """A log-decay of every entry [C, X], floored; with LINK that of a pre-activation."""
    g = load(at, role, rest, x, X, C).to(tl.float32)
    if LINK:
        inside = (tl.arange(0, C)[:, None] < rest) & (x[None, :] < X)
        g = tl.where(inside, log_sigmoid(g + load_bias(bias, h, x, X)[None, :], TAU), 0.0)
    return tl.maximum(g, FLOOR)


@triton.jit
def as_written(column, g, SILU: tl.constexpr, GATE: tl.constexpr):
    """Columns in float32 as they are written: through a silu and by the complement of their decay, where asked."""
    column = activated(column, SILU)
    if GATE:
        column = column * complement(g)
    return column


@triton.jit
def load_head_decay(at, role, rest, C: tl.constexpr):
    """A log-decay of one number a head [C], floored."""
    c = tl.arange(0, C)
    return tl.maximum(tl.load(at + c * role.time, mask=c < rest, other=0.0).to(tl.float32), FLOOR)


@triton.jit
def load_reset(reset, b, n, T, C: tl.constexpr):
    """1 where a document begins [C]; ``reset`` is [B, T] bytes."""
    t = n * C + tl.arange(0, C)
    return tl.load(reset + b * T + t, mask=t < T, other=0).to(tl.int32)


@triton.jit
def opened(right, reset, b, n, T, C: tl.constexpr, RESET: tl.constexpr):
    """Zero in rows of documents that begin inside the chunk: they see nothing of what came before it."""
    if RESET:
        number, _ = document(load_reset(reset, b, n, T, C), C)
        right = tl.where((number == 0)[:, None], right, 0.0)
    return right


@triton.jit
def outlives(left, reset, b, n, T, C: tl.constexpr, RESET: tl.constexpr):
    """Zero in columns of documents that end inside the chunk."""
    if RESET:
        number, _ = document(load_reset(reset, b, n, T, C), C)
        left = tl.where((number == tl.max(number, 0))[:, None], left, 0.0)
    return left


@triton.jit
def unbroken(total, reset, b, n, T, C: tl.constexpr, RESET: tl.constexpr):
    """Zero where a document begins inside the chunk."""
    if RESET:
        total = tl.where(tl.max(load_reset(reset, b, n, T, C), 0) == 0, total, 0.0)
    return total


@triton.jit
def store(at, role, y, rest, x, X: tl.constexpr, C: tl.constexpr):
    """Store [C, X], within the sequence and the axis."""
    c = tl.arange(0, C)
    inside = (c[:, None] < rest) & (x[None, :] < X)
    tl.store(at + c[:, None] * role.time + x[None, :] * role.feature, y.to(role.pointer.dtype.element_ty), mask=inside)
