"""Fits of scaling laws: power laws of one or more sizes, with or without a loss that nothing gets below.

    L(x) = E + Σ_j a_j x_j^(−b_j)

fitted to log L under Huber's loss, which a diverged run cannot carry off, from many starts; the intervals are those of
fits to runs drawn with replacement.

Source: arXiv:2203.15556, section 3.3 and appendix D.3
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from eos.errors import RunError

Numbers = NDArray[np.float64]

#: Beyond so many nats of log L a residual counts by its size, not its square.
DELTA = 1e-3
#: Steeper than this no loss is known to fall; fits to few runs would run off.
STEEPEST = 2.0
#: What the logarithms of coefficients and of the loss that nothing gets below are looked for between.
_COEFFICIENT, _FLOOR = (-60.0, 120.0), (-20.0, 20.0)
#: Exponents, coefficients and irreducible losses (in nats of their logarithm) that fits start from: the nearest of all.
_STARTS = 16
_EXPONENTS, _COEFFICIENTS, _FLOORS = (0.1, 0.3, 0.6), (0.0, 5.0, 10.0), (-1.0, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Law:
    """A fitted law.

    Arguments:
        floor: E, nats; 0 where the law has none.
        coefficients: a_j.
        exponents: b_j, 0 ≤ b_j ≤ 2.
        residual: root mean square of what is left of log L.
    """

    floor: float
    coefficients: tuple[float, ...]
    exponents: tuple[float, ...]
    residual: float

    def __call__(self, *sizes: float) -> float:
        """The loss at these sizes, one for each term."""
        terms = zip(self.coefficients, sizes, self.exponents, strict=True)
        return self.floor + math.fsum(a * float(x) ** -b for a, x, b in terms)


def fit(sizes: Sequence[Sequence[float]], losses: Sequence[float], *, floor: bool) -> Law:
    """The law of some runs.

    Arguments:
        sizes: of each run as many as the law has terms, > 0: its compute, or its parameters and its tokens.
        losses: of each run, > 0, in nats.
        floor: whether there is a loss that nothing gets below.

    Raises:
        RunError: fewer runs than the law has numbers, sizes that do not differ, or what is not positive and finite.
    """
    x, y = np.atleast_2d(np.asarray(sizes, dtype=float)), np.asarray(losses, dtype=float)
    if not (np.isfinite(x).all() and np.isfinite(y).all() and (x > 0).all() and (y > 0).all()):
        raise RunError("a scaling law is of sizes and losses that are positive and finite")
    terms, wanted = x.shape[1], 2 * x.shape[1] + floor
    if len(y) < wanted:
        raise RunError(f"a law of {wanted} numbers needs at least as many runs, got {len(y)}")
    if any(len(np.unique(column)) < 2 for column in x.T):
        raise RunError("runs of one size alone say nothing of how losses fall with it")
    grid = itertools.product(*[_COEFFICIENTS, _EXPONENTS] * terms, _FLOORS if floor else (-math.inf,))
    starts = sorted(map(np.array, grid), key=lambda start: float(np.abs(_left(start, x, y)).sum()))
    found = min((_descend(start, x, y) for start in starts[:_STARTS]), key=lambda each: each[0])
    return _law(found[1], x, y)


def bootstrap(
    law: Law, sizes: Sequence[Sequence[float]], losses: Sequence[float], *, draws: int = 200, seed: int = 0
) -> list[Law]:
    """Laws of as many runs drawn with replacement, each found from the law of all.

    Draws in which too few runs differ to fit anything are drawn again.
    """
    x, y = np.atleast_2d(np.asarray(sizes, dtype=float)), np.asarray(losses, dtype=float)
    draw, start = np.random.default_rng(seed), _numbers(law)
    found: list[Law] = []
    while len(found) < draws:
        chosen = draw.integers(len(y), size=len(y))
        if len(np.unique(chosen)) >= np.isfinite(start).sum():
            found.append(_law(_descend(start, x[chosen], y[chosen])[1], x[chosen], y[chosen]))
    return found


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Where 95 % of bootstrapped values lie."""
    low, high = np.percentile(np.asarray(values), [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """How a budget of compute is best spent, by a law of parameters N and tokens D with C = k N D.

    Arguments:
        parameters, tokens: N and D.
        loss: that the law expects then, nats.
    """

    parameters: float
    tokens: float
    loss: float


def optimum(law: Law, compute: float, *, each: float = 6.0) -> Optimum:
    """The best N and D of a budget.

    Arguments:
        law: of parameters and tokens.
        compute: C, FLOPs.
        each: k, FLOPs of training a parameter and token.
    """
    (a, b), (alpha, beta) = law.coefficients, law.exponents
    product = compute / each
    balance = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
    parameters = balance * product ** (beta / (alpha + beta))
    tokens = product / parameters
    return Optimum(parameters=parameters, tokens=tokens, loss=law(parameters, tokens))


def _parts(numbers: Numbers, x: Numbers) -> Numbers:
    """The logarithm of every term and of the floor, [runs, terms + 1]."""
    log_a, b, log_floor = numbers[0:-1:2], numbers[1:-1:2], numbers[-1]
    return np.column_stack([log_a - b * np.log(x), np.full(len(x), log_floor)])


def _left(numbers: Numbers, x: Numbers, y: Numbers) -> Numbers:
    """What a law leaves of log L, [runs]."""
    return _summed(_parts(numbers, x))[0] - np.log(y)


def _summed(parts: Numbers) -> tuple[Numbers, Numbers]:
    """The logarithm of the sum of what parts [runs, terms + 1] are logarithms of, and their shares of it."""
    most = parts.max(axis=1, keepdims=True)
    sizes = np.exp(parts - most)
    whole = sizes.sum(axis=1, keepdims=True)
    return (most + np.log(whole))[:, 0], sizes / whole


def _descend(start: Numbers, x: Numbers, y: Numbers) -> tuple[float, Numbers]:
    """The sum of Huber losses at the end of a descent, and the numbers there."""
    log_x, log_y, has_floor = np.log(x), np.log(y), np.isfinite(start[-1])

    def whole(free: Numbers) -> Numbers:
        return free if has_floor else np.append(free, -math.inf)

    def loss(free: Numbers) -> tuple[float, Numbers]:
        log_sum, shares = _summed(_parts(whole(free), x))
        left = log_sum - log_y
        small = np.abs(left) <= DELTA
        value = np.where(small, left**2 / 2, DELTA * (np.abs(left) - DELTA / 2)).sum()
        slope = np.clip(left, -DELTA, DELTA)[:, None] * shares
        gradient = np.empty(len(start))
        gradient[0:-1:2], gradient[1:-1:2] = slope[:, :-1].sum(0), -(slope[:, :-1] * log_x).sum(0)
        gradient[-1] = slope[:, -1].sum()
        return float(value), gradient if has_floor else gradient[:-1]

    terms = len(start) // 2
    bounds = [_COEFFICIENT, (0.0, STEEPEST)] * terms + ([_FLOOR] if has_floor else [])
    free = np.clip(start if has_floor else start[:-1], *np.array(bounds).T)
    # DELTA² is the size of what is summed: a descent that stops at the usual 1e-9 would stop at once
    # matrices of a few numbers: threads would wait for each other a hundred times as long as they compute
    with threadpool_limits(1):
        scaled = minimize(
            lambda z: tuple(each / DELTA**2 for each in loss(z)),
            free,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 2000, "ftol": 1e-14, "gtol": 1e-8},
        )
    return float(scaled.fun), whole(scaled.x)


def _numbers(law: Law) -> Numbers:
    pairs = [number for a, b in zip(law.coefficients, law.exponents, strict=True) for number in (math.log(a), b)]
    return np.array([*pairs, math.log(law.floor) if law.floor > 0 else -math.inf])


def _law(numbers: Numbers, x: Numbers, y: Numbers) -> Law:
    return Law(
        floor=float(np.exp(numbers[-1])),
        coefficients=tuple(float(a) for a in np.exp(numbers[0:-1:2])),
        exponents=tuple(float(b) for b in numbers[1:-1:2]),
        residual=float(np.sqrt(np.mean(_left(numbers, x, y) ** 2))),
    )
