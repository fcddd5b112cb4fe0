"""What the page is made of: nothing in it runs or loads but its own two scripts."""

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest

from eos.dashboard.page import SCRIPTS, STYLES, embedded, policy, policy_header, render
from tests.dashboard.made import HOSTILE, made

ASSETS = files("eos.dashboard").joinpath("assets")
# Ways by which text becomes markup or code.
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|\beval\b"
    r"|new Function|javascript:|setTimeout\(\s*[\"'`]|setHTML|srcdoc"
)


class _Elements(HTMLParser):
    """The scripts of a page with their attributes and text, and the names of all its elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.attributes: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.scripts and self.names[-1] == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)


def _page(runs: int = 12, **options: bool) -> _Elements:
    data, curves = made(runs, **options)
    return _Elements(render(data, curves))


@pytest.mark.parametrize("name", [*SCRIPTS])
def test_no_text_becomes_markup(name: str) -> None:
    assert FORBIDDEN.search(ASSETS.joinpath(*name.split("/")).read_text(encoding="utf-8")) is None


def test_every_asset_is_used() -> None:
    found = {f.name for f in ASSETS.iterdir() if f.is_file()} | {
        f"pages/{f.name}" for f in ASSETS.joinpath("pages").iterdir()
    }
    assert found == {*SCRIPTS, *STYLES, "page.html.j2"}


@pytest.mark.parametrize("runs", [0, 1, 48])
def test_data_is_read_back(runs: int) -> None:
    data, curves = made(runs)
    page = _Elements(render(data, curves))
    blocks = {attributes.get("id"): text for attributes, text in page.scripts}
    assert json.loads(blocks["eos-data"]) == data
    assert base64.b64decode(blocks["eos-curves"]) == curves


def test_scripts_are_the_ones_the_policy_allows() -> None:
    run = re.findall("<script>(.*?)</script>", render(*made(12)), re.DOTALL)
    assert len(run) == 2
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run]
    assert re.findall(r"'sha256-([^']+)'", policy()) == hashes
    assert "\r" not in "".join(run)


def test_policy_allows_nothing_else() -> None:
    assert "unsafe-eval" not in policy_header()
    assert "http" not in policy_header()
    assert "connect-src" not in policy()
    assert "connect-src 'self'" in policy_header()
    assert "frame-ancestors 'none'" in policy_header()
    assert policy_header().startswith(policy(live=True))


def test_a_served_page_holds_no_records() -> None:
    text = render({}, b"", live=True)
    assert '<html lang="en" data-live>' in text
    assert 'id="eos-data"' not in text
    assert "connect-src" in text


def test_no_element_comes_from_names() -> None:
    ordinary, hostile = _page(), _page(hostile=True)
    assert hostile.names == ordinary.names
    assert "onerror" not in hostile.attributes
    assert json.loads(hostile.scripts[0][1])["runs"][0]["name"].startswith(HOSTILE)


def test_embedded_text_is_inert() -> None:
    text = embedded({"a": "</script><!--&\u2028\ud800"})
    assert not re.search("[<>&\u2028]", text)
    assert text.isascii()
    assert json.loads(text)["a"].startswith("</script><!--&\u2028")


def test_the_page_asks_for_no_other_file() -> None:
    page = _page()
    assert "src" not in page.attributes
    assert page.names.count("link") == 1  # the empty icon, so that browsers do not ask for one


def test_the_factory_gives_curves_as_the_contract_says() -> None:
    """Bytes are shuffled by position; steps are differences; offsets follow each other."""
    data, packed = made(12)
    raw = np.frombuffer(gzip.decompress(packed), dtype=np.uint8)
    words = raw.reshape(4, -1).T.tobytes()
    entry = data["curves"][1]
    steps = np.cumsum(np.frombuffer(words, "<u4", entry["points"], entry["offset"]))
    assert steps[-1] == data["runs"][0]["step"]
    last = data["curves"][-1]
    assert last["offset"] + 16 * last["points"] == len(words)
