"""Recipes of the tests' own, in a plugin folder."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eos import registry

_COMMANDS = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"}
_watches: list[list[str]] = []


def _watch(event: str, args: object) -> None:
    if event in _COMMANDS:
        for watch in _watches:
            watch.append(event)


# An audit hook stays for good, so there is one, which tells the watches of the moment.
sys.addaudithook(_watch)


@pytest.fixture
def acts() -> Iterator[list[str]]:
    """The names of the commands that were started during a test."""
    watch: list[str] = []
    _watches.append(watch)
    yield watch
    _watches.remove(watch)


@pytest.fixture(autouse=True)
def _no_plugins_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_folders", ())


@pytest.fixture
def add_recipe(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a recipe, ``add_recipe("model/mine", text)``, where the registry finds it."""

    def add(name: str, text: str) -> Path:
        path = tmp_path / "recipes" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        registry.use_plugins(tmp_path)
        return path

    return add
