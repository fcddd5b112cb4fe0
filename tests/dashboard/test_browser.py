"""The pages in a real browser: drawn without errors, sorted, filtered, exported, shared and used by keyboard."""

import csv
import io
import re
import shutil
import statistics
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser

from eos.dashboard.page import render
from tests.dashboard.chromium import PAGES, SIZES, Open, Visitor, written
from tests.dashboard.made import HOSTILE, made

pytestmark = [
    pytest.mark.services,
    pytest.mark.xdist_group("chromium"),
]

# One frame after the handler, as a user sees it; the frame itself is at most 17 ms of it.
TIMED = """async ([selector, value]) => {
  const times = [];
  for (let k = 0; k < 5; k += 1) {
    const node = document.querySelector(selector);
    const start = performance.now();
    if (value === null) node.click();
    else { node.value = k % 2 ? "" : value; node.dispatchEvent(new Event("input", { bubbles: true })); }
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    times.push(performance.now() - start);
  }
  return times;
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_page_is_drawn(visit: Open, size: str, theme: str) -> None:
    """No error, no foreign request (see Visitor.close), a heading, and no sideways scroll at two widths."""
    visitor = visit(size, f"/overview?theme={theme}")
    page = visitor.page
    for width in (1280, 800):
        page.set_viewport_size({"width": width, "height": 900})
        for name in PAGES:
            visitor.turn(name)
            assert page.locator("main h2").count() >= 1
            assert page.locator("h1").count() == 1
            beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert beyond <= 0, (name, width)
            assert page.get_attribute("html", "data-theme") == theme


@pytest.mark.parametrize("size", ["odd", "48"])
@pytest.mark.parametrize("name", PAGES)
def test_every_control_can_be_used(visit: Open, name: str, size: str) -> None:
    """Each choice of each menu, each box and each radio of a page leads to a page without errors."""
    visitor = visit(size, f"/{name}")
    page = visitor.page
    keys = page.eval_on_selector_all("select, main input", "nodes => nodes.map((node) => node.dataset.key)")
    for key in keys:
        control = page.locator(f"[data-key='{key}']")
        if control.count() == 0:
            continue
        if control.evaluate("node => node.tagName") == "SELECT":
            for place in range(min(4, control.locator("option").count())):
                page.locator(f"[data-key='{key}']").select_option(index=place)
                visitor.drawn()
        elif control.get_attribute("type") == "range":
            control.fill("9")
        elif control.is_visible():
            control.click()
        visitor.drawn()
        assert page.locator("main h2").count() == 1


def test_unlike_cells_are_compared_only_when_asked(visit: Open) -> None:
    visitor = visit("odd", "/stages")
    page = visitor.page
    notes = page.locator("#notes").inner_text()
    assert "2 versions of eos here" in notes
    assert "3 data versions here" in notes
    before = len(visitor.table("differences"))
    page.click("[data-key='join data']")
    assert len(visitor.table("differences")) > before
    assert "other version" in page.locator("[data-table=differences]").inner_text()


def test_names_stay_text(visit: Open) -> None:
    visitor = visit("hostile")
    page = visitor.page
    for name in PAGES:
        visitor.turn(name)
        assert page.evaluate("window.p") is None
        assert page.locator("img").count() == 0
        assert page.locator("script").count() == 4
    visitor.turn("overview")
    shown = HOSTILE.replace("\u2028", "\\u2028").replace("\u202e", "\\u202e")
    assert shown in page.locator("tbody tr").first.inner_text()


def test_hostile_tables_compile(visit: Open, tmp_path: Path) -> None:
    visitor = visit("hostile")
    rows = list(csv.reader(io.StringIO(visitor.exported("overview", "csv"))))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert not [field for row in rows for field in row if re.match(r"[=+@\t]|-(?![\d.])", field)]
    markdown = visitor.exported("overview", "md")
    assert "<script" not in markdown.replace("\\<", "")
    text = visitor.exported("overview", "tex")
    if shutil.which("pdflatex") is None:
        pytest.skip("needs pdflatex")
    page = "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs}\\begin{document}" + text
    (tmp_path / "t.tex").write_text(page + "\\end{document}", encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_sorting_keeps_missing_last(visit: Open) -> None:
    visitor = visit("48", "/overview?columns=latency&columns=device")
    page = visitor.page
    heads = page.locator("[data-table=overview] thead th")
    for place in range(heads.count()):
        control = heads.nth(place).locator("button")
        if control.count() == 0:
            continue
        for _ in range(2):
            control.click()
            assert heads.nth(place).get_attribute("aria-sort") in ("ascending", "descending")
            column = [row[place] for row in visitor.table("overview")]
            filled = [bool(text.strip()) for text in column]
            assert filled == sorted(filled, reverse=True), column


def test_filter_narrows_all_pages(visit: Open) -> None:
    visitor = visit("48")
    page = visitor.page
    every = len(visitor.table("overview"))
    page.keyboard.press("/")
    page.keyboard.type("expand=elu")
    rows = visitor.table("overview")
    assert 0 < len(rows) < every
    assert page.locator("#announce").inner_text() == f"{len(rows)} of {every} cells"
    assert page.evaluate("document.activeElement.dataset.key") == "filter"
    visitor.turn("stages")
    assert len(visitor.table("differences")) == len(rows)
    assert f"{len(rows)} of {every} cells match" in page.locator("#notes").inner_text()


def test_hiding_acts_on_all_pages(visit: Open) -> None:
    visitor = visit("48", "/tradeoffs")
    before = len(visitor.table("tradeoffs"))
    visitor.turn("overview")
    visitor.page.locator("[data-key^='hide ']").nth(1).click()
    visitor.turn("tradeoffs")
    assert len(visitor.table("tradeoffs")) == before - 1
    visitor.page.click("[data-key=unhide]")
    assert len(visitor.table("tradeoffs")) == before


def test_a_row_is_pinned_with_shift_and_let_go_again(visit: Open) -> None:
    visitor = visit("48")
    page = visitor.page
    row = page.locator("[data-table=overview] tbody tr").nth(2)
    for pinned in (True, False):
        row.locator("td").nth(1).click(modifiers=["Shift"])
        assert row.locator("[data-key^='pin ']").get_attribute("aria-pressed") == str(pinned).lower()
        assert ("pin=" in page.evaluate("location.hash")) is pinned
    row.locator("td").nth(1).click()
    assert "pin=" not in page.evaluate("location.hash")


def test_on_a_narrow_screen_the_selection_folds(browser: Browser, folder: Path) -> None:
    visitor = Visitor(browser, width=800)
    page = visitor.open(written(folder, "48"))
    fold = page.locator("[data-key=selection]")
    assert fold.inner_text() == "mqar_small · 2,000 steps · test accuracy ↑ ▾"
    assert not page.locator("[data-key=filter]").is_visible()
    fold.click()
    assert page.locator("[data-key=selection]").get_attribute("aria-expanded") == "true"
    assert page.locator("[data-key=filter]").is_visible()
    page.locator("[data-key=selection]").click()
    page.keyboard.press("/")
    page.keyboard.type("elu")
    assert page.locator("[data-key=filter]").input_value() == "elu"
    visitor.close()


def test_what_had_no_room_is_told(browser: Browser, tmp_path: Path) -> None:
    data, curves = made(12)
    data["curves_left_out"] = {"tags": ["train/gradient_norm"], "points": 150}
    (tmp_path / "page.html").write_text(render(data, curves), encoding="utf-8")
    visitor = Visitor(browser)
    page = visitor.open(tmp_path / "page.html", "/curves")
    told = page.locator("#content").inner_text()
    assert "So many runs leave no room for 1 curve: train gradient norm." in told
    assert "at most 150 points" in told
    visitor.close()


def test_an_address_shows_the_same_view(visit: Open) -> None:
    first = visit("48")
    page = first.page
    page.select_option("[data-key=baseline]", index=3)
    page.click("[data-key='sort overview name']")
    page.fill("[data-key=filter]", "shrink=gated")
    page.locator("[data-key^='pin ']").first.click()
    fragment = page.evaluate("location.hash").removeprefix("#")
    second = visit("48", fragment)
    assert second.table("overview") == first.table("overview")
    assert second.page.locator("[data-key=unpin]").count() == 1


def test_back_returns_to_the_page_before(visit: Open) -> None:
    visitor = visit("48")
    visitor.turn("stages")
    visitor.turn("curves")
    visitor.page.go_back()
    visitor.page.wait_for_selector("#content[data-page=stages]")


def test_unknown_settings_are_told(visit: Open) -> None:
    visitor = visit("48", "/overview?colour=red&task=nothing")
    assert "colour" in visitor.page.locator("#notes").inner_text()
    assert visitor.table("overview")


def test_links_lead_to_the_run(visit: Open) -> None:
    visitor = visit("48")
    page = visitor.page
    page.locator("[data-key^='fold ']").first.click()
    link = page.locator("a.seed").first
    name = link.locator("bdi").inner_text()
    link.click()
    page.wait_for_selector("#content[data-page=run]")
    assert page.locator("main h2").inner_text() == name


@pytest.mark.parametrize("name", ["stages", "curves", "tradeoffs", "scaling", "recall", "search", "run", "memory"])
def test_figures_are_saved_for_paper(visit: Open, name: str, tmp_path: Path) -> None:
    """Vectors without scripts or links, on white whatever the theme; pictures at three times the size."""
    visitor = visit("48", f"/{name}?theme=dark")
    visitor.drawn()
    for figure in visitor.page.query_selector_all("figure"):
        plot = figure.get_attribute("data-figure") or ""
        for width in (85, 175):
            root = ET.fromstring(visitor.picture(plot, "svg", width))
            assert root.tag.endswith("}svg")
            assert float(root.attrib["width"]) == round(width * 96 / 25.4)
            text = ET.tostring(root, encoding="unicode")
            assert "<script" not in text
            assert not re.search(r'href="(?!#|data:)', text)
            assert len(text) < 2_000_000
        (tmp_path / "p.png").write_bytes(visitor.picture(plot, "png", 85))
        image = Image.open(tmp_path / "p.png")
        assert image.width == 3 * 321
        assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)


@pytest.mark.parametrize("name", ["overview", "stages", "search"])
def test_tables_are_exported_as_seen(visit: Open, name: str) -> None:
    visitor = visit("48", f"/{name}")
    tables = {"overview": ["overview"], "stages": ["effects", "differences"], "search": ["importances"]}[name]
    for table in tables:
        rows = list(csv.reader(io.StringIO(visitor.exported(table, "csv"))))
        seen = [row for row in visitor.table(table) if len(row) > 1]
        assert len(rows) - 1 == len(seen)
        assert visitor.exported(table, "md").count("\n| ") == len(seen) + 1
        assert visitor.exported(table, "tex").count("\\\\\n") == len(seen) + 1


def test_copying_is_announced(visit: Open) -> None:
    visitor = visit("48")
    page = visitor.page
    page.click("[data-table=overview] summary:text-is('Export table')")
    page.click("[data-key^='copy overview'][data-key$=' md']")
    page.wait_for_selector("#announce:text-is('Markdown table copied')", state="attached")


def test_the_keyboard_reaches_an_exported_table(visit: Open) -> None:
    """From load to a saved file without a mouse."""
    visitor = visit("48")
    page = visitor.page

    def until(key: str) -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            if (page.evaluate("document.activeElement.dataset?.key") or "").startswith(key):
                return
        raise AssertionError(f"Tab does not reach {key}")

    until("tab overview")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("#content[data-page=stages]")
    until("export ")
    page.keyboard.press("Enter")
    until("save ")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename.endswith(".csv")
    page.keyboard.press("Escape")
    assert (page.evaluate("document.activeElement.dataset.key") or "").startswith("export ")
    page.keyboard.press("?")
    assert page.locator("dialog").is_visible()
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")


def test_500_runs_are_ready_in_three_seconds(browser: Browser, folder: Path) -> None:
    path = written(folder, "500")
    assert path.stat().st_size < 15_000_000
    times = []
    for _ in range(3):
        visitor = Visitor(browser)
        visitor.page.goto(path.as_uri())
        visitor.page.wait_for_selector("html[data-ready]", state="attached")
        times.append(visitor.page.evaluate("performance.now()"))
        visitor.close()
    assert statistics.median(times) < 3000, times


@pytest.mark.parametrize(
    ("what", "selector", "value"),
    [("sort", "[data-key='sort overview parameters']", None), ("filter", "[data-key=filter]", "elu")],
)
def test_500_runs_answer_in_200_ms(visit: Open, what: str, selector: str, value: str | None) -> None:
    visitor = visit("500")
    times = visitor.page.evaluate(TIMED, [selector, value])
    assert statistics.median(times) < 200, (what, times)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", ["0", "48"])
def test_pages_are_accessible(visit: Open, size: str, theme: str) -> None:
    """No violation of axe's rules; every figure is described, and a table stands on its page."""
    visitor = visit(size, f"/overview?theme={theme}")
    source = Axe().axe_script
    visitor.page.evaluate(source)
    for name in PAGES:
        visitor.turn(name)
        found = visitor.page.evaluate("axe.run(document)")["violations"]
        assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == [], name
        for figure in visitor.page.query_selector_all("figure"):
            for attribute in ("aria-labelledby", "aria-describedby"):
                text = visitor.page.locator(f"#{figure.get_attribute(attribute)}").inner_text()
                assert text
        if visitor.page.query_selector("figure"):
            assert visitor.page.locator("main table").count() > 0
