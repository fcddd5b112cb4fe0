"""Pages of what is few, equal, endless or elsewhere: nothing is drawn over each other, and sentences stay true."""

import gzip
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

from eos.dashboard.page import render
from tests.dashboard.chromium import Visitor
from tests.dashboard.made import made

pytestmark = [
    pytest.mark.services,
    pytest.mark.xdist_group("chromium"),
]

Records = tuple[dict[str, Any], bytes]


def _open(browser: Browser, folder: Path, records: Records, fragment: str, *, width: int = 1280) -> Visitor:
    (folder / "page.html").write_text(render(*records), encoding="utf-8")
    visitor = Visitor(browser, width=width)
    visitor.open(folder / "page.html", fragment)
    visitor.drawn()
    return visitor


def _with_curve(values: list[float]) -> Records:
    """One curve more, "validation/few", of the first cell and its runs."""
    data, packed = made(12)
    raw = np.frombuffer(gzip.decompress(packed), dtype=np.uint8).reshape(4, -1).T.tobytes()
    count = len(values)
    x, y = np.full(count, 100, "<u4").tobytes(), np.array(values, "<f4").tobytes()
    entry: dict[str, Any] = {"tag": "validation/few", "points": count}
    data["curves"].append({**entry, "cell": 0, "n": [[0, 5]], "offset": len(raw)})
    raw += x + y + y + y
    for run in (run for run in data["runs"] if run["cell"] == 0):
        own = {"run": run["id"], "count": count, "buckets": count, "gaps": [], "offset": len(raw)}
        data["curves"].append({**entry, **own})
        raw += x + y + x + y + y
    words = np.frombuffer(raw, dtype=np.uint8).reshape(-1, 4)
    return data, gzip.compress(words.T.tobytes(), mtime=0)


@pytest.mark.parametrize("seeds", ["band", "lines"])
@pytest.mark.parametrize(("values", "marks"), [([0.5], 1), ([0.5, 0.6], 2), ([0.5, 0.6, 0.7], 0)])
def test_a_curve_of_few_points_is_marked(
    browser: Browser, tmp_path: Path, values: list[float], marks: int, seeds: str
) -> None:
    visitor = _open(browser, tmp_path, _with_curve(values), f"/curves?left=validation/few&seeds={seeds}")
    drawn = visitor.page.locator("[data-figure=curve0] .points path").count()
    assert drawn == marks * (1 if seeds == "band" else 5)
    visitor.close()


@pytest.mark.parametrize("seeds", ["band", "lines"])
def test_a_curve_without_finite_values_says_so(browser: Browser, tmp_path: Path, seeds: str) -> None:
    """It has no label; a path to NaN would be an error of the browser's (see Visitor.close)."""
    records = _with_curve([float("nan")] * 2)
    visitor = _open(browser, tmp_path, records, f"/curves?left=validation/few&seeds={seeds}")
    assert visitor.page.locator("[data-figure=curve0] .annotation").count() == 0
    rows = [row for row in visitor.table("curves") if row[1] == "validation few"]
    assert {row[2] for row in rows} == {"no finite value"}
    assert len(rows) == (1 if seeds == "band" else 5)
    visitor.close()


def test_lines_have_a_row_for_each_seed(browser: Browser, tmp_path: Path) -> None:
    visitor = _open(browser, tmp_path, made(12), "/curves?seeds=lines&left=train/nats_per_answer")
    rows = [row for row in visitor.table("curves") if row[0] == "gla" and row[1] == "train nats per answer"]
    assert [row[-1] for row in rows] == [f"seed {seed}" for seed in range(1, 6)]
    visitor.close()


@pytest.mark.parametrize(
    ("lengths", "told"),
    [
        ([None, None, 1.0], "Half of the channels never forget."),
        ([1.0, 3.0, 5.0, 9.0], "Half of the channels keep for at least 5.0 tokens."),
        ([70.0, 1.0], "Half of the channels keep for at least 70 tokens (more than the 64 it was trained on)."),
    ],
)
def test_what_a_memory_keeps_is_true(browser: Browser, tmp_path: Path, lengths: list[float | None], told: str) -> None:
    data, curves = made(12)
    data["memory"] = [{**data["memory"][0], "decay_tokens": [lengths], "period_tokens": None}]
    visitor = _open(browser, tmp_path, (data, curves), "/memory")
    assert visitor.page.locator(".answer p").first.inner_text() == told
    visitor.close()


def test_cells_elsewhere_are_a_step_away(browser: Browser, tmp_path: Path) -> None:
    data, curves = made(48)
    data["cells"][1].update(budget="3 minutes", name="gla")
    visitor = _open(browser, tmp_path, (data, curves), "/overview")
    page = visitor.page
    assert "Also here: 1 cell with 3 minutes, 1 cell on bytes." in page.locator(".answer").inner_text()
    page.click("a:has-text('1 cell with')")
    assert len(visitor.table("overview")) == 1
    assert page.locator("[data-key=budget] option:checked").inner_text() == "3 minutes"
    visitor.turn("run")
    groups = page.eval_on_selector_all("[data-key=run] optgroup", "nodes => nodes.map((node) => node.label)")
    assert {"gla · 2,000 steps · mqar_small", "gla · 3 minutes · mqar_small"} < set(groups)
    assert "gla · 2,000 steps" in page.locator("[data-key=against]").inner_text()
    visitor.close()


def test_a_long_reason_is_read_whole(browser: Browser, tmp_path: Path) -> None:
    data, curves = made(12, failed=True)
    for run in data["runs"]:
        run["reason"] = "a reason of many words " * 8
    visitor = _open(browser, tmp_path, (data, curves), "/overview")
    visitor.page.locator("[data-key^='fold ']").first.click()
    beyond = "nodes => nodes.map((node) => node.scrollWidth - node.clientWidth)"
    assert set(visitor.page.eval_on_selector_all(".child .reason", beyond)) == {0}
    visitor.close()


def test_equal_costs_are_told(browser: Browser, tmp_path: Path) -> None:
    data, curves = made(12)
    for cell in data["cells"]:
        cell["parameters"] = 1000
    visitor = _open(browser, tmp_path, (data, curves), "/tradeoffs")
    told = visitor.page.locator(".answer p").first.inner_text()
    assert told.startswith(f"All {len(data['cells'])} cells cost the same (1.0 k). The best of them is gla")
    visitor.close()


def test_the_axis_of_effects_is_whole_on_a_column(browser: Browser, tmp_path: Path) -> None:
    """Of 85 mm, in which the title of the axis does not fit on one line."""
    visitor = _open(browser, tmp_path, made(48), "/stages?metric=test/nats_per_answer")
    root = ET.fromstring(visitor.picture("effects", "svg", 85))
    title = next(node for node in root.iter() if node.get("class") == "xtitle")
    lines = ["".join(line.itertext()) for line in title]
    assert lines == ["difference in nats per", "answer", "← worse · better →"]
    visitor.close()


def _few_trials() -> Records:
    data, curves = made(12)
    study = data["studies"][0]
    complete = [trial for trial in study["trials"] if trial["state"] == "complete"][:4]
    study["trials"] = [*complete, next(trial for trial in study["trials"] if trial["state"] == "pruned")]
    names = ("expand", "learning_rate", "width", *(f"extra{k}" for k in range(6)))
    for place, trial in enumerate(study["trials"]):
        known = [trial["params"].get(name, 3.0 * place) for name in names]
        long = {f"model.mixer.oscillation.{name}_of_the_rotation": v for name, v in zip(names, known, strict=True)}
        trial.update(number=place, params=long)
    study["trials"][0]["values"] = [-9.0]
    study.update(importances={}, note=None)
    return data, curves


@pytest.mark.parametrize("width", [1280, 800])
def test_few_trials_are_all_drawn(browser: Browser, tmp_path: Path, width: int) -> None:
    visitor = _open(browser, tmp_path, _few_trials(), "/search", width=width)
    page = visitor.page
    told = page.locator("#content").inner_text()
    assert "outside the picture" not in told
    assert "No importances: too few trials are complete" in told
    ticks = page.locator("[data-figure=history] .xtick").all_text_contents()
    assert ticks == ["0", "1", "2", "3", "4"]
    states = {row[1]: bool(row[3]) for row in visitor.table("trials")}
    assert states == {"● complete": False, "◇ pruned": True}
    boxes = page.eval_on_selector_all(
        "[data-figure=parallel] .annotation:has(tspan[style*=bold])",
        "nodes => nodes.map((node) => node.querySelector('.annotation-text').getBoundingClientRect())"
        ".map(({ left, right }) => [left, right])",
    )
    assert len(boxes) == (9 if width == 1280 else 6)
    ordered = sorted(boxes)
    assert all(a[1] < b[0] for a, b in pairwise(ordered))
    assert ordered[0][0] >= 0
    visitor.close()
