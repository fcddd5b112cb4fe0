"""A browser, the pages that were written for it, and tabs in which nothing may go wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.dashboard.chromium import Open, Visitor, chromium, written


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture
def visit(browser: Browser, folder: Path) -> Iterator[Open]:
    visitors = []

    def opened(size: str = "48", fragment: str = "/overview", **options: object) -> Visitor:
        visitor = Visitor(browser, **options)  # type: ignore[arg-type]
        visitors.append(visitor)
        visitor.open(written(folder, size), fragment)
        return visitor

    yield opened
    for visitor in visitors:
        visitor.close()
