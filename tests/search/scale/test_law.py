"""Scaling laws are found again from the losses that they make."""

import itertools

import numpy as np
import pytest
from scipy.optimize import curve_fit, minimize_scalar

from eos.errors import RunError
from search.scale.law import Law, bootstrap, fit, interval, optimum

#: As published (arXiv:2203.15556, section 3.3).
PUBLISHED = Law(floor=1.69, coefficients=(406.4, 410.7), exponents=(0.34, 0.28), residual=0.0)
GRID = [(n, d) for n in (7e7, 1.6e8, 4e8, 1e9, 3e9) for d in (1e9, 5e9, 2e10, 1e11)]


def noisy(law: Law, sizes: list[tuple[float, ...]], spread: float, seed: int = 0) -> list[float]:
    draw = np.random.default_rng(seed)
    return [law(*size) * float(np.exp(spread * draw.normal())) for size in sizes]


def test_the_published_law_is_found_again() -> None:
    found = fit(GRID, [PUBLISHED(*size) for size in GRID], floor=True)
    assert found.floor == pytest.approx(1.69, rel=1e-3)
    assert found.exponents == pytest.approx((0.34, 0.28), rel=1e-3)
    assert found.coefficients == pytest.approx((406.4, 410.7), rel=0.02)
    assert found.residual < 1e-6


@pytest.mark.parametrize("floor", [False, True])
def test_a_power_law_of_compute_is_found_as_least_squares_finds_it(floor: bool) -> None:
    sizes = [(c,) for c in np.logspace(15, 20, 8)]
    truth = Law(floor=2.0 if floor else 0.0, coefficients=(90.0,), exponents=(0.12,), residual=0.0)
    losses = [truth(*size) for size in sizes]
    found = fit(sizes, losses, floor=floor)
    x = np.array([size[0] for size in sizes])

    def curve(x: np.ndarray, log_a: float, b: float, e: float = 0.0) -> np.ndarray:
        return np.log(np.exp(log_a) * x**-b + (e if floor else 0.0))

    start = (4.0, 0.1, 1.5) if floor else (4.0, 0.1)
    other, _ = curve_fit(curve, x, np.log(losses), p0=start, maxfev=20000)
    assert found.exponents[0] == pytest.approx(other[1], rel=1e-3)
    assert found.exponents[0] == pytest.approx(0.12, rel=1e-3)
    assert found.floor == pytest.approx(truth.floor, rel=1e-2, abs=1e-9)


def test_one_diverged_run_does_not_carry_the_law_off() -> None:
    sizes = [(c,) for c in np.logspace(15, 20, 12)]
    truth = Law(floor=0.0, coefficients=(60.0,), exponents=(0.08,), residual=0.0)
    losses = [truth(*size) for size in sizes]
    losses[5] *= 3
    assert fit(sizes, losses, floor=False).exponents[0] == pytest.approx(0.08, abs=2e-3)


def test_bootstrap_intervals_hold_the_truth_and_narrow_with_runs() -> None:
    truth = Law(floor=0.0, coefficients=(60.0,), exponents=(0.08,), residual=0.0)
    widths = {8: 0.0, 64: 0.0}
    for count, seed in itertools.product(widths, range(4)):
        sizes = [(float(c),) for c in np.logspace(15, 20, count)]
        losses = noisy(truth, sizes, 0.01, seed)
        laws = bootstrap(fit(sizes, losses, floor=False), sizes, losses, draws=100)
        low, high = interval([each.exponents[0] for each in laws])
        assert low - 1e-3 < 0.08 < high + 1e-3
        widths[count] += high - low
    assert widths[64] < widths[8] / 1.5


def test_the_optimum_is_the_least_that_a_budget_buys() -> None:
    compute = 5.76e23
    found = optimum(PUBLISHED, compute)
    assert 6 * found.parameters * found.tokens == pytest.approx(compute)
    least = minimize_scalar(lambda log_n: PUBLISHED(np.exp(log_n), compute / 6 / np.exp(log_n)), bounds=(15, 30))
    assert found.loss == pytest.approx(least.fun, rel=1e-6)
    assert found.parameters == pytest.approx(np.exp(least.x), rel=1e-2)


@pytest.mark.parametrize(
    ("sizes", "losses", "said"),
    [
        ([(1.0,), (2.0,)], [3.0, 2.0], "a law of 3 numbers needs at least as many runs, got 2"),
        ([(1.0,)] * 4, [3.0] * 4, "runs of one size alone"),
        ([(1.0,), (2.0,), (3.0,)], [3.0, float("nan"), 1.0], "positive and finite"),
        ([(0.0,), (2.0,), (3.0,)], [3.0, 2.0, 1.0], "positive and finite"),
    ],
)
def test_what_makes_no_law_is_refused(sizes: list[tuple[float]], losses: list[float], said: str) -> None:
    with pytest.raises(RunError, match=said):
        fit(sizes, losses, floor=True)
