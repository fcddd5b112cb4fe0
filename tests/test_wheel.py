"""The wheel: what it holds, and that it trains from outside the checkout, with stages of another package beside it."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

# One process makes the wheel and the environment, for all tests here.
pytestmark = pytest.mark.xdist_group("wheel")

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("eos", "stages", "recipes", "search")
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE")

PLUGIN_PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "more-stages"
version = "1"
[project.entry-points."eos.plugins"]
more = "more_stages"
[tool.setuptools.packages.find]
include = ["more_stages", "more_stages.*"]
[tool.setuptools.package-data]
"*" = ["*.yaml"]
"""
PLUGIN_STAGE = '''"""A stage from elsewhere.

Equation: e_t = |x_t|
Source: nowhere
"""

from torch import Tensor

from eos.stage import AbstractExpand


class Elsewhere(AbstractExpand):
    """The absolute value of x."""

    def forward(self, z: Tensor) -> Tensor:
        """z [B,T,D] → e [B,T,G,K]."""
        return z.abs().unflatten(-1, (self.context.groups, -1))
'''
PLUGIN_MODEL = """
layers: 1
width: 16
mixers:
  main: {heads: 2, expand: {name: elsewhere}, shrink: {name: linear}}
layout: [main]
"""
SMALL = [
    "training.steps=2",
    "training.rows=2",
    "task.length=16",
    "layers=1",
    "width=16",
    "training.evaluation_tokens=64",
    "training.sample=8",
]


def run(*command: str | Path, cwd: Path) -> str:
    # Nothing of this checkout may be seen, by PYTHONPATH or the current directory.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def build_wheel(project: Path, into: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    run(*pip, "--wheel-dir", into, project, cwd=project)
    (wheel,) = into.glob("*.whl")
    return wheel


def new_environment(folder: Path) -> Path:
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    return folder / "bin"


def pip_install(binaries: Path, *arguments: str | Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", binaries / "python"]
    run(*pip, "install", *arguments, cwd=binaries)


def site_packages(binaries: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(run(binaries / "python", "-c", code, cwd=binaries).strip())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: a build folder left in the checkout would end up in it."""
    copy = tmp_path_factory.mktemp("project")
    for name in PACKAGES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, copy)
    return build_wheel(copy, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("plugin")
    files = {
        "pyproject.toml": PLUGIN_PROJECT,
        "more_stages/__init__.py": "",
        "more_stages/stages/expand/elsewhere.py": PLUGIN_STAGE,
        "more_stages/recipes/model/from_elsewhere.yaml": PLUGIN_MODEL,
    }
    for name, content in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(content)
    return build_wheel(project, tmp_path_factory.mktemp("plugin-wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``eos`` command of an environment that holds the wheel, and borrows what it depends on from this one."""
    binaries = new_environment(tmp_path_factory.mktemp("environment") / "venv")
    pip_install(binaries, "--no-deps", wheel, plugin)
    (site_packages(binaries) / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    return binaries / "eos"


def train(eos: Path, folder: Path, *overrides: str) -> dict[str, object]:
    text = "".join(f"line {number} of a text that is long enough\n" for number in range(400))
    (folder / "text.txt").write_text(text)
    cache = f"task.cache={folder / 'cache'}"
    run(eos, "train", "run=trained", "task.source=text.txt", cache, *SMALL, *overrides, cwd=folder)
    return json.loads((folder / "trained" / "result.json").read_text())


def test_the_wheel_holds_all_of_the_packages_and_nothing_else(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for pattern in ("*.py", "*.yaml", "*.js", "*.css", "*.j2", "py.typed")
        for path in (ROOT / package).rglob(pattern)
    }
    assert held == wanted


def test_the_installed_command_trains_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    code = "import eos, stages; print(eos.__file__, *stages.__path__)"
    places = run(installed.with_name("python"), "-c", code, cwd=tmp_path)
    assert str(ROOT) not in places
    assert train(installed, tmp_path)["status"] == "finished"
    assert "1 run: 1 ok" in run(installed, "report", ".", cwd=tmp_path)
    assert "</html>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_stages_and_recipes_of_another_package_are_found(installed: Path, tmp_path: Path) -> None:
    assert "elsewhere" in run(installed, "list", "stages", cwd=tmp_path)
    assert train(installed, tmp_path, "model=from_elsewhere")["status"] == "finished"


@pytest.mark.slow
def test_the_wheel_trains_in_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    binaries = new_environment(tmp_path / "venv")
    pip_install(binaries, "-c", ROOT / "constraints.txt", wheel)
    assert train(binaries / "eos", tmp_path)["status"] == "finished"
