"""The numbers that a browser shows and exports, computed anew by SciPy and statsmodels from the same records."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser
from scipy import stats
from statsmodels.stats.multitest import multipletests

from tests.dashboard.chromium import Visitor, written
from tests.dashboard.made import made

pytestmark = [
    pytest.mark.services,
    pytest.mark.xdist_group("chromium"),
]

METRICS = {"test/accuracy": 1, "test/nats_per_answer": -1}
Values = dict[str, dict[int, float]]


def _values(data: dict[str, Any], metric: str) -> Values:
    """By the name of a cell, its finished values by seed."""
    cells = {cell["id"]: cell["name"] for cell in data["cells"] if cell["task"] == "mqar_small"}
    result: Values = {name: {} for name in cells.values()}
    for run in data["runs"]:
        if run["status"] == "ok" and run["cell"] in cells:
            result[cells[run["cell"]]][run["seed"]] = run["metrics"][metric]
    return result


def _rows(visitor: Visitor, table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(visitor.exported(table, "csv"))))


def _equal(text: str, wanted: float) -> None:
    assert float(text) == pytest.approx(wanted, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("metric", METRICS)
def test_cells_equal_scipy(browser: Browser, tmp_path: Path, metric: str) -> None:
    visitor = Visitor(browser)
    visitor.open(written(tmp_path, "48"), f"/overview?metric={metric}")
    values = _values(made(48)[0], metric)
    rows = _rows(visitor, "overview")
    assert {row["recipe"] for row in rows} == set(values)
    for row in rows:
        found = np.array(list(values[row["recipe"]].values()))
        assert int(row["seeds"]) == len(found)
        if len(found) > 1:
            low, high = stats.t.interval(0.95, len(found) - 1, found.mean(), stats.sem(found))
            for key, wanted in ((metric, found.mean()), ("low", low), ("high", high)):
                _equal(row[key], wanted)
    visitor.close()


@pytest.mark.parametrize("metric", METRICS)
def test_differences_equal_scipy_whatever_is_filtered(browser: Browser, tmp_path: Path, metric: str) -> None:
    """After a change of baseline and under a filter: the correction is over all cells, shown or not."""
    visitor = Visitor(browser)
    page = visitor.open(written(tmp_path, "48"), f"/stages?metric={metric}")
    page.select_option("[data-key=baseline]", index=2)
    base = page.locator("[data-key=baseline] option:checked").inner_text()
    values = _values(made(48)[0], metric)
    wanted = {name: _test(own, values[base], METRICS[metric]) for name, own in values.items() if name != base}
    tested = [name for name, (_, p) in wanted.items() if p is not None]
    corrected = dict(zip(tested, multipletests([wanted[name][1] for name in tested], method="holm")[1], strict=True))
    for text in ("", "shrink=gated"):
        page.fill("[data-key=filter]", text)
        rows = _rows(visitor, "differences")
        assert 0 < len(rows) <= len(wanted)
        for row in rows:
            mean, p = wanted[row["cell"]]
            _equal(row["difference"], mean)
            assert (row["p"] == "") == (p is None)
            if p is not None:
                _equal(row["p"], p)
                _equal(row["p_Holm"], corrected[row["cell"]])
    visitor.close()


def test_effects_equal_scipy(browser: Browser, tmp_path: Path) -> None:
    visitor = Visitor(browser)
    visitor.open(written(tmp_path, "500"), "/stages")
    data = made(500)[0]
    values = _values(data, "test/accuracy")
    cells = [cell for cell in data["cells"] if cell["task"] == "mqar_small"]
    labels = {stage: {one["id"]: one["label"] for one in found} for stage, found in data["levels"].items()}
    rows = [row for row in _rows(visitor, "effects") if row["difference"]]
    assert len(rows) == 7
    ps = []
    for row in rows:
        means = _context_means(cells, values, labels[row["stage"]], row["stage"], row["level"])
        test = stats.ttest_1samp(means, 0)
        assert int(row["contexts"]) == len(means)
        for key, wanted in (
            ("difference", float(np.mean(means))),
            ("p", test.pvalue),
            ("low", test.confidence_interval().low),
            ("high", test.confidence_interval().high),
        ):
            _equal(row[key], wanted)
        ps.append(float(row["p"]))
    np.testing.assert_allclose([float(row["p_holm"]) for row in rows], multipletests(ps, method="holm")[1], rtol=1e-9)
    visitor.close()


def _test(a: dict[int, float], b: dict[int, float], sign: int) -> tuple[float, float | None]:
    shared = sorted(a.keys() & b.keys())
    if not shared:
        result = stats.ttest_ind(list(a.values()), list(b.values()), equal_var=False)
        mean = float(np.mean(list(a.values())) - np.mean(list(b.values())))
        return sign * mean, (float(result.pvalue) if min(len(a), len(b)) > 1 else None)
    differences = np.array([a[seed] - b[seed] for seed in shared])
    p = float(stats.ttest_rel([a[s] for s in shared], [b[s] for s in shared]).pvalue) if len(shared) > 1 else None
    return sign * float(differences.mean()), p


def _context_means(
    cells: list[dict[str, Any]], values: Values, labels: dict[int, str], stage: str, level: str
) -> list[float]:
    """Of each context in which this level and the baseline's (the first of each stage) have seeds in common."""
    at: dict[tuple[str, str], dict[int, float]] = {
        (cell["contexts"][stage], labels[cell["levels"][stage]]): values[cell["name"]] for cell in cells
    }
    means = []
    for (context, here), own in at.items():
        base = at.get((context, labels[0]), {})
        shared = own.keys() & base.keys()
        if here == level and shared:
            means.append(float(np.mean([own[seed] - base[seed] for seed in shared])))
    return means
