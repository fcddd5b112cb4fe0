"""Thinned curves keep every extreme; bands are the t-intervals of full data."""

import gzip
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from eos.dashboard.log import Curve, read_log
from eos.dashboard.pack import Packer
from eos.dashboard.thin import POINTS, band, bucket_count, thin


def curve(values: np.ndarray, *, start: int = 0, every: int = 1) -> Curve:
    steps = start + every * np.arange(len(values))
    return Curve(steps=steps, seconds=steps * 0.5, values=np.asarray(values, dtype=np.float64))


@given(st.integers(1, 1500), st.integers(0, 2**32 - 1), st.floats(0, 0.9))
def test_a_thinned_curve_keeps_its_ends_and_extremes(length: int, seed: int, spoiled: float) -> None:
    draw = np.random.default_rng(seed)
    values = draw.normal(size=length)
    values[draw.random(length) < spoiled] = draw.choice([np.nan, np.inf, -np.inf])
    thinned = thin(curve(values))
    assert len(thinned.steps) <= POINTS
    assert (np.diff(thinned.steps) > 0).all()
    assert thinned.steps[0] == 0
    assert thinned.steps[-1] == length - 1
    np.testing.assert_array_equal(thinned.values, values[thinned.steps])
    finite = values[np.isfinite(values)]
    if len(finite):
        kept = thinned.values[np.isfinite(thinned.values)]
        assert (kept.min(), kept.max()) == (finite.min(), finite.max())
    inside = np.zeros(length, dtype=bool)
    for first, last in thinned.gaps:
        inside[first : last + 1] = True
    assert not (~np.isfinite(values) & ~inside).any()


def test_bucket_means_are_means_of_finite_values() -> None:
    values = np.random.default_rng(0).normal(size=2000)
    values[700:740] = np.nan
    thinned = thin(curve(values))
    edges = [index * 2000 // bucket_count(POINTS) for index in range(bucket_count(POINTS))] + [2000]
    for place, (a, b) in enumerate(pairwise(edges)):
        finite = values[a:b][np.isfinite(values[a:b])]
        if len(finite):
            assert thinned.means[place] == pytest.approx(finite.mean(), rel=1e-12)
        else:
            assert np.isnan(thinned.means[place])
        assert a <= thinned.mean_steps[place] < b


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_band_is_the_t_interval_at_every_step(seeds: int) -> None:
    values = np.random.default_rng(seeds).normal(size=(seeds, 40))
    found = band([curve(row, start=10, every=10) for row in values])
    assert found is not None
    low, high = stats.t.interval(0.95, seeds - 1, values.mean(0), stats.sem(values, axis=0))
    np.testing.assert_allclose(found.mean, values.mean(0), rtol=1e-9)
    np.testing.assert_allclose(found.low, low, rtol=1e-9)
    np.testing.assert_allclose(found.high, high, rtol=1e-9)
    assert found.runs == [(10, seeds)]


def test_a_run_that_ends_early_leaves_the_mean_at_its_end() -> None:
    rows = np.random.default_rng(1).normal(size=(3, 30))
    found = band([curve(rows[0]), curve(rows[1]), curve(rows[2][:12])])
    assert found is not None
    assert found.runs == [(0, 3), (12, 2)]
    np.testing.assert_allclose(found.mean[:12], rows[:, :12].mean(0))
    np.testing.assert_allclose(found.mean[12:], rows[:2, 12:].mean(0))


def test_a_run_that_stops_being_finite_leaves_the_mean_there() -> None:
    rows = np.random.default_rng(1).normal(size=(3, 30))
    rows[2, 12:] = np.nan
    found = band([curve(row) for row in rows])
    assert found is not None
    assert found.runs == [(0, 3), (12, 2)]
    np.testing.assert_allclose(found.mean[12:], rows[:2, 12:].mean(0))
    assert band([curve(np.full(4, np.nan))]) is None


def test_only_steps_that_all_have_logged_are_averaged() -> None:
    found = band([curve(np.arange(9), every=2), curve(np.arange(6), every=3)])
    assert found is not None
    assert found.steps.tolist() == [0, 6, 12, 16]
    assert found.runs == [(0, 2), (16, 1)]
    assert band([curve(np.ones(10), every=2), curve(np.ones(10), start=1, every=2)]) is None


def test_a_packed_block_holds_every_curve_where_it_says() -> None:
    packer = Packer()
    values = np.random.default_rng(2).normal(size=900)
    first, thinned = packer.thinned(thin(curve(values[:50]))), thin(curve(values))
    second = packer.thinned(thinned)
    data = np.frombuffer(gzip.decompress(packer.packed()), dtype=np.uint8).reshape(4, -1).T.copy().view("<u4").ravel()
    assert first == 0
    words = data[second // 4 :]
    count = len(thinned.steps)
    np.testing.assert_array_equal(words[:count].cumsum(), thinned.steps)
    np.testing.assert_allclose(words[count : 2 * count].view("<f4"), thinned.values, rtol=1e-6)
    assert packer.packed() == packer.packed()


HEADER = "step,seconds,metric,value\n"


def test_a_log_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(HEADER + "1,0.5,train/loss,2.0\n1,0.5,train/rate,0.1\n2,1.0,train/loss,nan\n3,1.5,train/lo")
    log = read_log(path)
    assert log.broken == 0
    np.testing.assert_array_equal(log.curves["train/loss"].values, [2.0, np.nan])
    np.testing.assert_array_equal(log.curves["train/rate"].steps, [1])
    path.write_text(HEADER + "1,0.5,train/loss,2.0\nrubbish\n2,1.0,train/loss,1.0\n3,1.0\n,,,\n4,2.0,train/loss,0.0\n")
    log = read_log(path)
    assert log.broken == 3
    np.testing.assert_array_equal(log.curves["train/loss"].values, [2.0, 1.0, 0.0])


@pytest.mark.parametrize("text", ["", HEADER, "step,sec"])
def test_an_empty_log_has_no_curves(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.csv").write_text(text)
    assert read_log(tmp_path / "metrics.csv").curves == {}
    assert read_log(tmp_path / "missing.csv").curves == {}
