"""Rules of the project as a whole: who imports what, what things are called, what is tracked."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODEL_NAMES = frozenset(
    """
    cosformer deltanet deltaproduct dss gla gsa hgrn hyena kda kimi lightnet linformer llama lru mamba megalodon metala
    mlstm performer retnet rwkv s4 s4d s5 slstm tnl tnn transnormer xlstm
    """.split()
)
STAGE_IMPORTS = {"torch", "einops", "eos.stage", "eos.record"}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that an import statement names, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""


def identifiers(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.alias(name=name, asname=asname):
                yield from filter(None, (name, asname))


def words(identifier: str) -> set[str]:
    """``HGRN2Layer`` and ``hgrn2_layer`` both hold the word ``hgrn``; digits that end a word are dropped."""
    parts = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", identifier).lower()
    parts = re.split(r"[^a-z0-9]+", parts)
    return {form for part in parts for form in (part, part.rstrip("0123456789"))}


def names_a_model(identifier: str) -> bool:
    if identifier == "lru_cache":  # functools' own name
        return False
    joined = identifier.lower().replace("_", "")
    return bool(words(identifier) & MODEL_NAMES) or any(name in joined for name in MODEL_NAMES if len(name) > 5)


@pytest.mark.parametrize("identifier", ["HGRN2", "hgrn2_bound", "use_mamba", "RetNetDecay", "ret_net_decay"])
def test_a_model_name_is_seen_in_any_spelling(identifier: str) -> None:
    assert names_a_model(identifier)


@pytest.mark.parametrize("path", sources("eos"), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_identifier_in_eos_bears_a_model_name(path: Path) -> None:
    found = {name for name in (*identifiers(ast.parse(path.read_text())), path.stem) if names_a_model(name)}
    assert not found, f"what differs between models is a stage or a recipe, never a name in eos: {sorted(found)}"


@pytest.mark.parametrize(
    ("package", "home"), [("triton", "eos/engine/triton"), ("optuna", "search"), ("hydra", "eos/cli")]
)
def test_a_library_is_imported_in_its_one_place_only(package: str, home: str) -> None:
    allowed = {"optuna": ("search", "eos/dashboard")}.get(package, (home,))
    for path in sources("eos", "stages", "search"):
        if path.relative_to(ROOT).as_posix().startswith(allowed):
            continue
        roots = {name.split(".")[0] for name in imported(ast.parse(path.read_text()))}
        assert package not in roots, f"{path.relative_to(ROOT)} imports {package}; its place is {home}"


@pytest.mark.parametrize("path", sources("stages"), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_stage_imports_the_contract_alone(path: Path) -> None:
    for name in imported(ast.parse(path.read_text())):
        root = name.split(".")[0]
        assert root in sys.stdlib_module_names or root in STAGE_IMPORTS or name in STAGE_IMPORTS, name


def test_imports_go_downwards() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([lint, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("statement", ["import eos", "import eos.config, eos.errors, eos.training.config"])
def test_a_cheap_import_leaves_torch_alone(statement: str) -> None:
    code = f"{statement}; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_every_name_of_eos_can_be_used() -> None:
    import eos

    for name in eos.__all__:
        assert getattr(eos, name).__name__ == name


def test_no_tracked_file_is_above_one_megabyte() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    assert paths
    assert not [path for path in paths if path.is_file() and path.stat().st_size > 1_000_000]
