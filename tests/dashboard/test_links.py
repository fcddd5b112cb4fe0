"""What an address and a filter name: found whatever it is called by now, told where it is not here."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from eos.dashboard.page import render
from tests.dashboard.chromium import Open, Visitor
from tests.dashboard.made import made

pytestmark = [
    pytest.mark.services,
    pytest.mark.xdist_group("chromium"),
]


@pytest.mark.parametrize(
    "given",
    (
        "task=a budget=b metric=c base=d~01234567 hide=e pin=f run=g against=h study=i columns=j "
        "theme=pink x=hour left=k cost=l device=m sort=overview:z smooth=o all=p across=q"
    ).split(),
)
def test_a_link_to_what_is_not_here_says_so(visit: Open, given: str) -> None:
    """Another view than the link meant is not shown in silence; what is chosen afterwards is no fault of the link."""
    page = visit("48", f"/overview?{given}").page
    assert f"The link names what this page does not know: {given}." in page.locator("#notes").inner_text()
    page.select_option("[data-key=baseline]", index=3)
    assert ("does not know" in page.locator("#notes").inner_text()) is (not given.startswith("base"))


def test_links_of_the_page_are_all_known(visit: Open) -> None:
    """Through every menu of the frame, the address that the page writes names nothing unknown to it."""
    visitor = visit("odd", "/curves")
    page = visitor.page
    page.locator("[data-key=left]").select_option(index=1)
    for key in ("metric", "baseline", "budget", "task"):
        page.locator(f"[data-key={key}]").select_option(index=1)
        visitor.turn("overview")
        visitor.turn("curves")
        assert "does not know" not in page.locator("#notes").inner_text()


def test_a_link_finds_a_cell_whatever_it_is_called(browser: Browser, tmp_path: Path) -> None:
    """Names say what sets cells apart, so they change when other runs join; a link made before still shows its view."""
    data, curves = made(48)
    (tmp_path / "before.html").write_text(render(data, curves), encoding="utf-8")
    visitor = Visitor(browser)
    page = visitor.open(tmp_path / "before.html")
    page.select_option("[data-key=baseline]", index=3)
    page.locator("[data-key^='hide ']").nth(2).click()
    page.locator("[data-key^='pin ']").nth(4).click()
    fragment = page.evaluate("location.hash").removeprefix("#")
    assert re.search(r"base=[^&]+~[0-9a-f]{8}(&|$)", fragment)
    before = visitor.table("overview")
    for cell in data["cells"]:
        cell["name"] += " · layers=2"
    (tmp_path / "after.html").write_text(render(data, curves), encoding="utf-8")
    visitor.open(tmp_path / "after.html", fragment)
    assert "does not know" not in page.locator("#notes").inner_text()
    after = visitor.table("overview")
    assert [[row[0].replace(" · layers=2", ""), *row[1:]] for row in after] == before
    # A pin that has another name by now is taken out, not put in twice.
    page.locator("[aria-pressed=true]").click()
    assert "pin=" not in page.evaluate("location.hash")
    visitor.close()


def test_a_bare_name_finds_its_cell(visit: Open) -> None:
    page = visit("48", "/overview?base=gla · expand=elu").page
    assert page.locator("tr.base bdi").first.inner_text() == "gla · expand=elu"
    assert "does not know" not in page.locator("#notes").inner_text()


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("parameters>50k", "parameters>50000"),
        ("parameters >50k", "parameters>50000"),
        ("parameters > 0.0508M gla", "parameters>50800 gla"),
        ("oscillation=head", "oscillation=rotary oscillation!=key_gate"),
    ],
)
def test_filters_read_what_people_write(browser: Browser, tmp_path: Path, text: str, same: str) -> None:
    """Spaces, thousands, and a stage by its name whatever options its label shows."""
    data, curves = made(48)
    for level in data["levels"]["oscillation"]:
        if level["name"] == "head":
            level["label"] = "rotary"
    (tmp_path / "page.html").write_text(render(data, curves), encoding="utf-8")
    visitor = Visitor(browser)
    page = visitor.open(tmp_path / "page.html")
    every = len(visitor.table("overview"))
    page.fill("[data-key=filter]", text)
    found = visitor.table("overview")
    assert 0 < len(found) < every
    page.fill("[data-key=filter]", same)
    assert visitor.table("overview") == found
    page.fill("[data-key=filter]", "oscillation!=head")
    assert len(visitor.table("overview")) < every
    visitor.close()


def test_the_focus_stays_where_a_row_was_hidden(visit: Open) -> None:
    visitor = visit("48", "/overview?filter=elu")
    page = visitor.page
    focused = "document.activeElement.dataset.key"
    keys = page.eval_on_selector_all("[data-key^='hide ']", "nodes => nodes.map((node) => node.dataset.key)")
    page.focus(f"[data-key='{keys[1]}']")
    page.keyboard.press("Enter")
    assert page.evaluate(focused) == keys[2]
    page.focus(f"[data-key='{keys[-1]}']")
    page.keyboard.press("Enter")
    assert page.evaluate(focused) == "unhide"


def test_a_seed_that_ran_twice_is_one_seed(visit: Open) -> None:
    """Three of five seeds are finished, one of them twice."""
    visitor = visit("odd", "/overview?filter=twin")
    assert visitor.table("overview")[0][2] == "3/5"
