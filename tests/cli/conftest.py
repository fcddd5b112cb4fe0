"""The command line, run inside the test or in a process of its own."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from eos import registry
from eos.cli.main import main


@dataclass(frozen=True)
class Outcome:
    """What a command line came to."""

    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _no_plugins_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_folders", ())


@pytest.fixture
def eos(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """``eos("list", "models")`` runs the command line here."""

    def run(*arguments: str) -> Outcome:
        status = main(arguments)
        said = capsys.readouterr()
        return Outcome(status, said.out, said.err)

    return run


@pytest.fixture
def fresh_eos() -> Callable[..., Outcome]:
    """``fresh_eos("list", "models", after=CODE)`` runs it in a new process, and then the code."""

    def run(*arguments: str, after: str = "") -> Outcome:
        lines = [
            "import sys",
            "from eos.cli.main import main",
            f"status = main({arguments!r})",
            after,
            "sys.exit(status)",
        ]
        result = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
        return Outcome(result.returncode, result.stdout, result.stderr)

    return run


@pytest.fixture
def plugins(tmp_path: Path) -> Callable[[str, str], Path]:
    """``plugins("recipes/model/mine.yaml", text)`` writes a file of a plugin folder and returns the folder."""

    def add(name: str, text: str) -> Path:
        path = tmp_path / "plugins" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return tmp_path / "plugins"

    return add
