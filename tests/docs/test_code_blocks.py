"""The code in the documentation runs, and what it tells people to add is found."""

import re
from math import prod
from pathlib import Path

import pytest
from click.testing import CliRunner

from eos import registry
from eos.cli.main import group
from eos.cli.recipes import load_ablation

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)


def blocks(page: Path, language: str) -> list[str]:
    return [code for found, code in BLOCK.findall(page.read_text(encoding="utf-8")) if found == language]


PYTHON = [
    pytest.param(code, id=f"{page.relative_to(ROOT)}-{index}")
    for page in PAGES
    for index, code in enumerate(blocks(page, "python"))
]


@pytest.mark.parametrize("code", PYTHON)
def test_python_runs(code: str) -> None:
    exec(compile(code, "documentation", "exec"), {"__name__": "documentation"})  # noqa: S102 - it is our own text


def test_a_link_to_a_file_leads_to_one() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_the_table_of_ablations_counts_right() -> None:
    page = (ROOT / "docs/how-to/my-ablation.md").read_text(encoding="utf-8")
    told = {name: int(count) for name, count in re.findall(r"^\| `(\w+)` \|.*\| (\d+) \|$", page, re.M)}
    varied = {name: load_ablation(name).vary for name in registry.recipes("experiment")}
    assert told == {name: prod(map(len, vary.values())) for name, vary in varied.items() if vary}


@pytest.mark.parametrize(
    ("page", "language", "place", "arguments", "shown"),
    [
        ("my-model.md", "yaml", "recipes/model/slow_and_fast.yaml", ["describe", "model=slow_and_fast"], "key_gate"),
        ("my-stage.md", "python", "stages/expand/squared.py", ["list", "stages", "squared"], "scale"),
        (
            "my-stage.md",
            "python",
            "stages/expand/squared.py",
            ["describe", "model=gla", "expand=squared", "expand.scale=0.5", "layers=2", "width=64"],
            "(W x_t)²",
        ),
        (
            "my-ablation.md",
            "yaml",
            "recipes/experiment/my_ablation.yaml",
            ["sweep", "experiment=my_ablation", "rows=4", "--plan"],
            "in all       7 combinations, 1 left out",
        ),
    ],
)
def test_an_added_file_is_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    page: str,
    language: str,
    place: str,
    arguments: list[str],
    shown: str,
) -> None:
    monkeypatch.setattr(registry, "_folders", ())  # what --plugins adds is gone after the test
    file = tmp_path / place
    file.parent.mkdir(parents=True)
    file.write_text(blocks(ROOT / "docs/how-to" / page, language)[0], encoding="utf-8")
    result = CliRunner().invoke(group, ["--plugins", str(tmp_path), *arguments])
    assert result.exit_code == 0, result.output
    assert shown in result.output
