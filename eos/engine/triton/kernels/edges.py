"""Device functions: what kernels make of pre-activations as they load them (eos.engine.edges), and its slopes."""

import triton
import triton.language as tl

from eos.engine.triton.kernels.intervals import exp


@triton.jit
def softplus(u):
    """log(1 + e^u), to the last digits of small ones."""
    x = exp(-tl.abs(u))
    # log(1 + x) has the digits of 1; what rounding took from 1 + x is given back
    w = 1.0 + x
    return tl.maximum(u, 0.0) + tl.where(w == 1.0, x, tl.log(w) * (x / tl.where(w == 1.0, 1.0, w - 1.0)))


@triton.jit
def sigmoid(u):
    """1 / (1 + e^−u), the slope of a softplus."""
    return 1.0 / (1.0 + exp(-u))


@triton.jit
def log_sigmoid(u, TAU: tl.constexpr):
    """log_sigmoid(u) / TAU."""
    return softplus(-u) * (-1.0 / TAU)


@triton.jit
def log_sigmoid_slope(u, TAU: tl.constexpr):
    """Its derivative."""
    return sigmoid(-u) * (1.0 / TAU)


@triton.jit
def complement(log_decay):
    """1 − e^g of g ≤ 0, to the last digits of small ones: by its series near zero."""
    g = log_decay
    near = -g * (1 + g / 2 * (1 + g / 3 * (1 + g / 4 * (1 + g / 5 * (1 + g / 6)))))
    return tl.where(g > -0.25, near, 1.0 - exp(g))


@triton.jit
def activated(x, SILU: tl.constexpr):
    """x in float32, through a silu where asked."""
    x = x.to(tl.float32)
    if SILU:
        x = x * sigmoid(x)
    return x


@triton.jit
def silu_slope(x):
    """The derivative of a silu."""
    x = x.to(tl.float32)
    share = sigmoid(x)
    return share * (1.0 + x * (1.0 - share))
