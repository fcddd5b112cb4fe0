"""The registry: what is found, what is read without importing, and what is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from eos import registry
from eos.config import option_fields
from eos.errors import RecipeError
from eos.registry import RegistryError

STAGE = '''"""Doubles what it is given.

Any prose, with a colon: here.

Equation: e_t = 2 W x_t,
    with W learned
Source: arXiv:0000.00000, section 2
"""

from typing import Literal

from torch import Tensor

from eos.stage import AbstractExpand, option, options


class Doubled(AbstractExpand):
    @options
    class Options:
        scale: float = option(2.0, "the factor", above=0, high=8, log=True)
        shape: Literal["flat", "round"] = option("flat", "how it looks")

    def forward(self, z: Tensor) -> Tensor:
        return self.options.scale * z
'''


@pytest.fixture(autouse=True)
def _no_plugins_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_folders", ())


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def every_entry() -> list[registry.Entry]:
    return [entry for kind in registry.KINDS for entry in registry.stages(kind).values()]


def test_a_plugin_stage_is_found_and_read_without_being_imported(tmp_path: Path) -> None:
    path = write(tmp_path / "stages/expand/doubled.py", STAGE + "\nraise RuntimeError('imported')\n")
    registry.use_plugins(tmp_path)
    entry = registry.stages("expand")["doubled"]
    assert (entry.name, entry.kind, entry.path) == ("doubled", "expand", path)
    assert entry.summary == "Doubles what it is given."
    assert entry.equation == "e_t = 2 W x_t, with W learned"
    assert entry.source == "arXiv:0000.00000, section 2"
    with pytest.raises(RuntimeError, match="imported"):
        entry.load()


def test_a_loaded_stage_declares_its_options(tmp_path: Path) -> None:
    write(tmp_path / "stages/expand/doubled.py", STAGE)
    registry.use_plugins(tmp_path)
    stage = registry.stage("expand", "doubled").load()
    assert stage is registry.stage("expand", "doubled").load()
    scale, shape = option_fields(stage.Options).values()
    assert (scale.type, scale.default, scale.above, scale.low, scale.high) == (float, 2.0, 0, None, 8)
    assert scale.log
    assert scale.description == "the factor"
    assert (scale.choices, shape.choices) == ((), ("flat", "round"))


def test_two_folders_may_hold_stages_of_one_module_name(tmp_path: Path) -> None:
    for folder, name in (("a", "first"), ("b", "second")):
        write(tmp_path / folder / f"stages/expand/{name}.py", STAGE.replace("Doubled", name.title()))
        registry.use_plugins(tmp_path / folder)
    assert registry.stage("expand", "first").load().__name__ == "First"
    assert registry.stage("expand", "second").load().__name__ == "Second"


def test_the_same_folder_twice_is_one_folder(tmp_path: Path) -> None:
    write(tmp_path / "stages/expand/doubled.py", STAGE)
    registry.use_plugins(tmp_path)
    registry.use_plugins(f"{tmp_path}/../{tmp_path.name}")
    assert "doubled" in registry.stages("expand")


def test_a_name_that_stands_twice_is_an_error_naming_both_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write(tmp_path / folder / "stages/shrink/twice.py", STAGE)
        write(tmp_path / folder / "recipes/model/twice.yaml", "layers: 1")
        registry.use_plugins(tmp_path / folder)
    for look, tail in (
        (lambda: registry.stages("shrink"), "shrink/twice.py"),
        (lambda: registry.recipes("model"), "model/twice.yaml"),
    ):
        with pytest.raises(RegistryError, match="stands twice") as caught:
            look()
        assert f"a/{'stages' if 'py' in tail else 'recipes'}/{tail}" in str(caught.value)
        assert f"b/{'stages' if 'py' in tail else 'recipes'}/{tail}" in str(caught.value)


def test_an_unknown_name_shows_the_nearest(tmp_path: Path) -> None:
    write(tmp_path / "stages/expand/doubled.py", STAGE)
    write(tmp_path / "recipes/model/mine_own.yaml", "layers: 1")
    registry.use_plugins(tmp_path)
    with pytest.raises(RecipeError, match=r"unknown expand stage 'doubeld'\. Did you mean 'doubled'"):
        registry.stage("expand", "doubeld")
    with pytest.raises(RecipeError, match=r"unknown model recipe 'mineown'\. Did you mean 'mine_own'"):
        registry.recipe("model", "mineown")
    with pytest.raises(RecipeError, match=r"unknown kind of stage 'shrnk'\. Did you mean 'shrink'"):
        registry.stages("shrnk")
    with pytest.raises(RecipeError, match=r"unknown group of recipes 'models'\. Did you mean 'model'"):
        registry.recipes("models")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            STAGE + "\nclass Second(Doubled):\n    pass\n",
            "exactly one public subclass of AbstractExpand, found Doubled, Second",
        ),
        (
            STAGE.replace("AbstractExpand", "AbstractShrink"),
            "exactly one public subclass of AbstractExpand, found none",
        ),
        (STAGE.replace("class Doubled", "class _Doubled"), "found none"),
        (STAGE.replace("def forward", "def backward"), "Doubled must define forward"),
        (STAGE + "\nimport absent_package\n", "cannot be imported: No module named 'absent_package'"),
    ],
)
def test_a_stage_file_that_breaks_the_contract_says_so_when_loaded(tmp_path: Path, source: str, message: str) -> None:
    path = write(tmp_path / "stages/expand/doubled.py", source)
    registry.use_plugins(tmp_path)
    with pytest.raises(RegistryError, match=message) as caught:
        registry.stage("expand", "doubled").load()
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("stages/expand/broken.py", "def (:", "is not valid Python"),
        ("stages/expand/my-stage.py", STAGE, "the name of a expand stage has letters"),
    ],
)
def test_a_stage_file_that_cannot_be_listed_is_named(tmp_path: Path, file: str, text: str, message: str) -> None:
    path = write(tmp_path / file, text)
    registry.use_plugins(tmp_path)
    with pytest.raises(RegistryError, match=message) as caught:
        registry.stages("expand")
    assert str(path) in str(caught.value)


def test_a_plugin_folder_that_holds_nothing_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="must hold stages/ or recipes/"):
        registry.use_plugins(tmp_path)
    write(tmp_path / "stages/oscilation/mine.py", STAGE)
    with pytest.raises(RegistryError, match=r"unknown kind of stage 'oscilation'\. Did you mean 'oscillation'"):
        registry.use_plugins(tmp_path)
    assert registry._folders == ()


def test_nothing_is_found_in_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = registry.stages("expand")
    write(tmp_path / "stages/expand/doubled.py", STAGE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.stages("expand") == before


def test_a_package_is_found_through_its_entry_point(tmp_path: Path) -> None:
    write(tmp_path / "garden/__init__.py", "raise RuntimeError('a list imports nothing')")
    write(tmp_path / "garden/stages/expand/doubled.py", STAGE)
    write(tmp_path / "garden/recipes/model/rose.yaml", "layers: 1")
    write(tmp_path / "garden-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: garden\nVersion: 1\n")
    write(tmp_path / "garden-1.dist-info/entry_points.txt", "[eos.plugins]\ngarden = garden\n")
    code = (
        "import sys; from eos import registry\n"
        "entry = registry.stages('expand')['doubled']; registry.recipes('model')['rose']\n"
        "assert 'torch' not in sys.modules\n"
        f"open({str(tmp_path / 'garden/__init__.py')!r}, 'w').close()\n"
        "assert entry.load().__module__ == 'garden.stages.expand.doubled'"
    )
    path = f"{tmp_path}:{Path(registry.__file__).parent.parent}"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": path})


def test_an_entry_point_without_a_package_is_named(tmp_path: Path) -> None:
    write(tmp_path / "gone-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: gone\nVersion: 1\n")
    write(tmp_path / "gone-1.dist-info/entry_points.txt", "[eos.plugins]\nfar = gone_away\n")
    path = f"{tmp_path}:{Path(registry.__file__).parent.parent}"
    code = "from eos import registry; registry.stages('expand')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": path})
    assert "entry point 'far' of eos.plugins names 'gone_away', which is no package" in result.stderr


def test_every_stage_says_what_it_does_and_declares_described_options() -> None:
    assert every_entry()
    for entry in every_entry():
        assert entry.summary.endswith("."), entry
        assert entry.equation, entry
        assert entry.source, entry
        for field in option_fields(entry.load().Options).values():
            assert field.description, f"{entry.path}: option {field.name} has no description"
            assert not field.required, f"{entry.path}: option {field.name} has no default"


def test_every_task_says_what_it_does_and_loads() -> None:
    assert registry.tasks()
    for entry in registry.tasks().values():
        assert entry.summary.endswith("."), entry
        assert isinstance(entry.load(), type)
