"""A headless Chromium that tells of every error, every request and every breach of the policy."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Download, Page, sync_playwright

from eos.dashboard.page import render
from tests.dashboard.made import made
from tests.dashboard.odd import odd

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
PAGES = {
    "overview": "Overview",
    "stages": "Stages",
    "curves": "Curves",
    "tradeoffs": "Trade-offs",
    "scaling": "Scaling",
    "recall": "Recall maps",
    "search": "Search",
    "run": "Run",
    "memory": "Memory",
}
SIZES: dict[str, tuple[int, dict[str, bool]]] = {
    "0": (0, {}),
    "1": (1, {}),
    "48": (48, {}),
    "500": (500, {}),
    "failed": (48, {"failed": True}),
    "hostile": (48, {"hostile": True}),
    "odd": (0, {}),
}


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser that the system has; Playwright brings none here."""
    assert CHROMIUM, "Chromium is needed: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"], headless=True
        )
        yield browser
        browser.close()


def written(folder: Path, size: str) -> Path:
    """The page of that many made runs."""
    path = folder / f"{size}.html"
    if not path.exists():
        runs, options = SIZES[size]
        records = odd() if size == "odd" else made(runs, **options)
        path.write_text(render(*records), encoding="utf-8")
    return path


class Visitor:
    """A tab, with what went wrong in it."""

    def __init__(self, browser: Browser, *, width: int = 1280, **options: Any) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, reduced_motion="reduce", accept_downloads=True, **options
        )
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._heard)
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _heard(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def open(self, path: Path | str, fragment: str = "/overview") -> Page:
        """Loads the page and waits until its curves are decoded too."""
        address = path if isinstance(path, str) else path.as_uri()
        self.page.goto("about:blank")
        self.page.goto(f"{address}#{fragment}")
        self.page.wait_for_selector("html[data-curves]", state="attached", timeout=30_000)
        return self.page

    def turn(self, name: str) -> Page:
        """Goes to a page by its tab and waits for its figures."""
        self.page.click(f"nav a:text-is('{PAGES[name]}')")
        self.page.wait_for_selector(f"#content[data-page='{name}']")
        self.drawn()
        return self.page

    def drawn(self) -> None:
        """Waits until every figure on the page is drawn."""
        for figure in self.page.query_selector_all("figure .plot"):
            figure.wait_for_selector(".main-svg", state="attached", timeout=10_000)

    def table(self, name: str) -> list[list[str]]:
        """The text of a table's body as it is seen."""
        found: list[list[str]] = self.page.evaluate(
            """(name) => [...document.querySelectorAll(`[data-table='${name}'] tbody tr`)]
              .map((row) => [...row.children].map((cell) => cell.innerText))""",
            name,
        )
        return found

    def exported(self, name: str, ending: str) -> str:
        """The text of a table's file."""
        box = self.page.locator(f"[data-table='{name}']")
        box.locator("summary:text-is('Export table')").click()
        with self.page.expect_download() as download:
            box.locator(f"[data-key^='save '][data-key$=' {ending}']").click()
        self.page.keyboard.press("Escape")
        return _path(download.value).read_text(encoding="utf-8")

    def picture(self, name: str, ending: str, width: int) -> bytes:
        """The bytes of a figure's file."""
        box = self.page.locator(f"[data-figure='{name}']")
        box.locator("summary:text-is('Save figure')").click()
        with self.page.expect_download() as download:
            box.locator(f"[data-key='figure {name} {ending} {width}']").click()
        self.page.keyboard.press("Escape")
        return _path(download.value).read_bytes()

    def close(self) -> None:
        """Ends the tab; nothing may have gone wrong in it, and nothing but the page and its own data was asked for."""
        self.context.close()
        assert self.errors == [], self.errors
        foreign = [
            url for url in self.requests if not url.startswith(("file:", "data:", "blob:", "about:", "http://127"))
        ]
        assert foreign == [], foreign


Open = Callable[..., Visitor]


def _path(download: Download) -> Path:
    return Path(download.path())
