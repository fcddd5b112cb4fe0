"""The statistics of the page, run by V8, against SciPy and statsmodels."""

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from py_mini_racer import MiniRacer
from scipy import stats
from statsmodels.stats.multitest import multipletests

RELATIVE = 1e-9
Seeds = dict[int, float]


class Page:
    """Calls the functions of the page's scripts."""

    def __init__(self, *names: str) -> None:
        self._engine = MiniRacer()
        assets = files("eos.dashboard").joinpath("assets")
        for name in names:
            self._engine.eval(assets.joinpath(name).read_text(encoding="utf-8") + "\n;0")

    def __call__(self, expression: str, **values: Any) -> Any:
        """The value of an expression in which the given names stand for the given JSON values."""
        given = "".join(f"const {name} = {json.dumps(value)};" for name, value in values.items())
        return json.loads(self._engine.eval(f"(() => {{ {given} return JSON.stringify({expression}); }})()"))


@pytest.fixture(scope="module")
def page() -> Page:
    return Page("stats.js", "effects.js")


def _close(got: float | None, wanted: float) -> None:
    assert got == pytest.approx(wanted, rel=RELATIVE, abs=1e-300)


@pytest.mark.parametrize("df", [1, 2, 3, 4, 9, 29, 2.37, 7.9, 100, 1000])
def test_p_values_equal_scipy(page: Page, df: float) -> None:
    points = [0.0, 1e-3, 0.01, 0.3, 1.0, 2.0, 4.3, 12.7, 63.0, 1e4]
    got = page("points.map(t => tTwoSided(t, df))", points=points, df=df)
    np.testing.assert_allclose(got, 2 * stats.t.sf(points, df), rtol=1e-11)


@pytest.mark.parametrize("df", [1, 2, 3, 4, 9, 29, 2.37, 7.9, 100, 1000])
def test_critical_values_equal_scipy(page: Page, df: float) -> None:
    levels = [0.5, 0.1, 0.05, 0.01, 0.05 / 20, 1e-5]
    got = page("levels.map(alpha => tCritical(alpha, df))", levels=levels, df=df)
    np.testing.assert_allclose(got, stats.t.isf(np.array(levels) / 2, df), rtol=1e-12)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 37])
def test_intervals_equal_scipy(page: Page, n: int) -> None:
    values = np.random.default_rng(n).normal(0.9, 0.02, n)
    got = page("summarize(values)", values=values.tolist())
    low, high = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
    for key, wanted in {"mean": values.mean(), "sd": values.std(ddof=1), "low": low, "high": high}.items():
        _close(got[key], wanted)


def test_one_value_has_no_interval(page: Page) -> None:
    assert page("summarize([0.7])") == {"n": 1, "mean": 0.7, "sd": None, "half": None, "low": None, "high": None}
    assert page("summarize([])")["mean"] is None


def _compare(page: Page, a: Seeds, b: Seeds) -> Any:
    return page("compareSeeds(new Map(a), new Map(b))", a=list(a.items()), b=list(b.items()))


@pytest.mark.parametrize("seed", range(20))
def test_paired_differences_equal_scipy(page: Page, seed: int) -> None:
    """Missing seeds on either side are left out of the pairs."""
    numbers = np.random.default_rng(seed)
    a, b = (_seeds(numbers, 8, keep=0.8) for _ in range(2))
    shared = sorted(a.keys() & b.keys())
    got = _compare(page, a, b)
    assert got["pairs"] == len(shared)
    if len(shared) < 2:
        assert got["p"] is None
        return
    wanted = stats.ttest_rel([a[s] for s in shared], [b[s] for s in shared])
    _close(got["p"], wanted.pvalue)
    _close(got["t"], wanted.statistic)
    interval = wanted.confidence_interval()
    _close(got["low"], interval.low)
    _close(got["high"], interval.high)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 5), (10, 4)])
def test_unpaired_differences_equal_scipy(page: Page, n: int, m: int) -> None:
    numbers = np.random.default_rng(n * m)
    a = {seed: float(numbers.normal(0.8, 0.03)) for seed in range(n)}
    b = {100 + seed: float(numbers.normal(0.75, 0.01)) for seed in range(m)}
    got = _compare(page, a, b)
    wanted = stats.ttest_ind(list(a.values()), list(b.values()), equal_var=False)
    assert not got["paired"]
    _close(got["p"], wanted.pvalue)
    _close(got["df"], wanted.df)
    _close(got["low"], wanted.confidence_interval().low)


def test_equal_differences_are_not_tested(page: Page) -> None:
    """0.1 is no double: the differences are equal but for rounding."""
    a = {seed: 0.7 + 0.01 * seed + 0.1 for seed in range(5)}
    b = {seed: 0.7 + 0.01 * seed for seed in range(5)}
    got = _compare(page, a, b)
    assert got["p"] is None
    assert got["note"] == "no variance, no test"
    assert got["mean"] == pytest.approx(0.1)


@pytest.mark.parametrize("seed", range(10))
def test_holm_equals_statsmodels(page: Page, seed: int) -> None:
    numbers = np.random.default_rng(seed)
    # Ties on purpose.
    p = np.round(numbers.uniform(0, 0.1, int(numbers.integers(1, 30))), 3)
    np.testing.assert_allclose(page("holm(p)", p=p.tolist()), multipletests(p, method="holm")[1], rtol=RELATIVE)


def test_what_was_not_tested_does_not_count_in_holm(page: Page) -> None:
    assert page("holm([0.01, null, 0.04])") == [0.02, None, 0.04]


@pytest.mark.parametrize("seed", range(20))
def test_marginal_effects_equal_scipy(page: Page, seed: int) -> None:
    """Unbalanced designs with missing seeds: contexts have equal weight, levels are compared inside contexts only."""
    numbers = np.random.default_rng(seed)
    entries = [
        (context, level, _seeds(numbers, 5, keep=0.7))
        for context in range(6)
        for level in range(3)
        if numbers.random() < 0.8
    ]
    got = _effect(page, entries)
    means, pairs = _context_means(entries)
    assert got["contexts"] == max(len(means), 0)
    assert got["pairs"] == pairs
    if len(means) < 2:
        return
    wanted = stats.ttest_1samp(means, 0)
    _close(got["mean"], float(np.mean(means)))
    _close(got["p"], wanted.pvalue)
    _close(got["low"], wanted.confidence_interval().low)
    _close(got["high"], wanted.confidence_interval().high)


def test_one_context_is_tested_over_its_seeds(page: Page) -> None:
    a, b = {1: 0.9, 2: 0.92, 3: 0.87}, {1: 0.85, 2: 0.9, 3: 0.86}
    got = _effect(page, [("c", 1, a), ("c", 0, b)])
    _close(got["p"], stats.ttest_rel(list(a.values()), list(b.values())).pvalue)
    assert got["note"] == "one context"


def test_quantiles_equal_numpy(page: Page) -> None:
    values = np.random.default_rng(3).normal(size=11)
    shares = [0.0, 0.05, 0.25, 0.5, 0.98, 1.0]
    got = page("shares.map(share => quantile(values, share))", values=values.tolist(), shares=shares)
    np.testing.assert_allclose(got, np.quantile(values, shares), rtol=RELATIVE)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0.9, 0.91, 0.92, 0.93, 0.0], [0.9, 0.93]),
        ([0.9, 0.91, 0.92, 0.93], [0.9, 0.93]),
        # A fifth of the cells at chance are no outliers, nor is anything where most are equal.
        ([1.0] * 8 + [0.99] * 8 + [0.02] * 4, [0.02, 1.0]),
        ([1.0, 1.0, 1.0, 0.5, 0.4], [0.4, 1.0]),
        ([0.5], [0.5, 0.5]),
    ],
)
def test_only_outliers_are_fenced_out(page: Page, values: list[float], wanted: list[float]) -> None:
    assert page("fenced(values)", values=values) == wanted


def test_too_few_seeds_are_told(page: Page) -> None:
    """Twenty comparisons at three seeds need |t| of about 20; at six, of about 7."""
    needed = page("[neededT(20, 2), neededT(20, 4)]")
    np.testing.assert_allclose(needed, stats.t.isf(0.05 / 40, [2, 4]), rtol=RELATIVE)
    assert page("tooFewToTell(Array(20).fill({p: 0.01, df: 2}))")
    assert not page("tooFewToTell(Array(20).fill({p: 0.01, df: 4}))")


def _effect(page: Page, entries: Sequence[tuple[Any, int, Seeds]]) -> Any:
    return page(
        "marginalEffect(entries.map(([context, level, values]) => ({context, level, values: new Map(values)})), 1, 0)",
        entries=[(context, level, list(values.items())) for context, level, values in entries],
    )


def _seeds(numbers: np.random.Generator, n: int, *, keep: float) -> Seeds:
    return {seed: float(numbers.normal(0.8, 0.03)) for seed in range(n) if numbers.random() < keep}


def _context_means(entries: Sequence[tuple[int, int, Seeds]]) -> tuple[list[float], int]:
    at = {(context, level): values for context, level, values in entries if values}
    means, pairs = [], 0
    for context in range(6):
        a, b = at.get((context, 1), {}), at.get((context, 0), {})
        shared = a.keys() & b.keys()
        if shared:
            means.append(float(np.mean([a[s] - b[s] for s in shared])))
            pairs += len(shared)
    return means, pairs
