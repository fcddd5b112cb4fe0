"""The served page: asks again, keeps its place, says when it last changed and when its server is gone."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from eos.dashboard.page import policy_header, render
from tests.dashboard.chromium import Visitor, chromium
from tests.dashboard.made import made

pytestmark = [
    pytest.mark.services,
    pytest.mark.xdist_group("chromium"),
]


class Served:
    """Three routes over loopback, with records that a test changes."""

    def __init__(self) -> None:
        self.data, self.curves = made(48)
        self.version = 1
        self.answers: list[int] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def change(self) -> None:
        """A run that was going on has ended."""
        run = next(run for run in self.data["runs"] if run["status"] == "running")
        run["status"] = "ok"
        self.version += 1

    def _handler(served) -> type[BaseHTTPRequestHandler]:
        page = render({}, b"", live=True).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                tag = f'"{served.version}"'
                if self.path == "/data.json" and self.headers["If-None-Match"] == tag:
                    served.answers.append(304)
                    return self._send(304, b"", "text/plain", tag)
                bodies: dict[str, tuple[bytes, str]] = {
                    "/": (page, "text/html; charset=utf-8"),
                    "/data.json": (json.dumps(served.data).encode(), "application/json"),
                    "/curves.bin": (served.curves, "application/octet-stream"),
                }
                body, kind = bodies.get(self.path, (b"", "text/plain"))
                return self._send(200 if body else 404, body, kind, tag)

            def _send(self, status: int, body: bytes, kind: str, tag: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Security-Policy", policy_header())
                self.send_header("ETag", tag)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        return Handler


@pytest.fixture
def served() -> Iterator[Served]:
    started = Served()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def test_a_served_page_follows_its_runs(browser: Browser, served: Served) -> None:
    """New records are drawn at the same scroll, focus and zoom; without the server the page stays and says so."""
    visitor = Visitor(browser)
    page = visitor.open(served.address, "/tradeoffs")
    assert "◐ 3 running" in page.locator(".counts").inner_text()
    visitor.drawn()
    zoomed = _zoom(page)
    page.fill("[data-key=filter]", "gla")
    page.evaluate("scrollTo(0, 150)")
    served.change()
    page.wait_for_selector("#live:has-text('last change')", timeout=15_000)
    page.wait_for_selector(".counts:has-text('◐ 2 running')", timeout=15_000)
    assert page.evaluate("document.activeElement.dataset.key") == "filter"
    assert page.evaluate("scrollY") == 150
    visitor.drawn()
    assert _range(page) == zoomed
    page.wait_for_timeout(6000)
    assert 304 in served.answers
    served.stop()
    page.wait_for_selector("#live:has-text('server gone')", timeout=15_000)
    assert visitor.table("tradeoffs")
    # The browser itself logs each request that finds no server.
    visitor.errors = [text for text in visitor.errors if "ERR_CONNECTION_REFUSED" not in text]
    visitor.close()


def _range(page: Page) -> list[float]:
    found: list[float] = page.locator("[data-figure=tradeoffs] .plot").evaluate("node => node.layout.xaxis.range")
    return found


def _zoom(page: Page) -> list[float]:
    """Drags over the middle of the figure; what is to be seen then."""
    before = _range(page)
    box = page.locator("[data-figure=tradeoffs] .plot").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.52, steps=4)
    page.mouse.up()
    page.wait_for_timeout(500)
    after = _range(page)
    assert before[0] < after[0] < after[1] < before[1]
    return after


def test_a_page_that_no_longer_follows_says_so(browser: Browser, served: Served) -> None:
    visitor = Visitor(browser)
    page = visitor.open(served.address)
    served.data["trouble"] = {"since": "12:03", "reason": "<b>runs</b> is no folder"}
    served.version += 1
    page.wait_for_selector("#notes:has-text('Since 12:03 the folders cannot be read')", timeout=15_000)
    assert "(<b>runs</b> is no folder)" in page.locator("#notes").inner_text()
    assert visitor.table("overview")
    served.data["trouble"] = None
    served.version += 1
    page.wait_for_selector("#notes:not(:has-text('cannot be read'))", state="attached", timeout=15_000)
    visitor.close()


def test_links_elsewhere_are_addresses_of_the_web(browser: Browser, served: Served) -> None:
    served.data["links"] = [
        {"name": "TensorBoard", "url": "http://localhost:6006"},
        {"name": "bad", "url": "javascript:alert(1)"},
    ]
    visitor = Visitor(browser)
    page = visitor.open(served.address)
    assert page.locator("a.button").all_inner_texts() == ["TensorBoard ↗"]
    visitor.close()
