"""What there is: stages, tasks and recipes, found by folder and file name, read without importing them.

They are looked for in the project itself (the top-level ``stages`` and ``recipes`` packages, and ``eos/tasks``), in
packages that an entry point of the group ``eos.plugins`` names, and in folders given to :func:`use_plugins`; the
latter two hold ``stages/KIND/NAME.py`` and ``recipes/GROUP/NAME.yaml``. Never in the current directory.
"""

import ast
import inspect
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from eos.errors import EOSError, RecipeError, unknown

E = TypeVar("E")

KINDS = ("expand", "oscillation", "shrink", "couple", "response")
GROUPS = ("model", "size", "task", "training", "search", "experiment", "suite", "checkpoint")

_CONTRACTS = {
    "expand": ("eos.stage", "AbstractExpand"),
    "oscillation": ("eos.stage", "AbstractOscillation"),
    "shrink": ("eos.stage", "AbstractShrink"),
    "couple": ("eos.stage", "AbstractCouple"),
    "response": ("eos.stage", "AbstractResponse"),
    "task": ("eos.tasks.task", "AbstractTask"),
}
_FIELD = re.compile(r"(Equation|Source|Metric|Chance|Floor): *(.*)")


class RegistryError(EOSError, LookupError):
    """A stage, task or recipe file that is broken, or a name that stands twice."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One stage or task.

    Arguments:
        name: its file name without ``.py``.
        kind: expand, oscillation, shrink, couple, response, or task.
        path: its file.
        module: the name it is imported under.
        summary, equation, source: from the module's docstring; empty where it is silent.
        metric, chance, floor: of a task, likewise: what a model's worth is read off, and what it is of those who know
            nothing and of a trivial method.
    """

    name: str
    kind: str
    path: Path
    module: str
    summary: str
    equation: str
    source: str
    metric: str
    chance: str
    floor: str

    def load(self) -> type[Any]:
        """Import the file and return its one public class of this kind.

        Raises:
            RegistryError: the file does not define exactly one, or leaves a method of it abstract.
        """
        home, contract = _CONTRACTS[self.kind]
        base = getattr(import_module(home), contract)
        module = self._import()
        found: list[type[Any]] = [
            value
            for name, value in vars(module).items()
            if isinstance(value, type)
            and issubclass(value, base)
            and value.__module__ == module.__name__
            and not name.startswith("_")
        ]
        if len(found) != 1:
            names = ", ".join(c.__name__ for c in found) or "none"
            raise RegistryError(f"{self.path} must define exactly one public subclass of {contract}, found {names}")
        if inspect.isabstract(found[0]):
            missing = ", ".join(sorted(found[0].__abstractmethods__))
            raise RegistryError(f"{self.path}: {found[0].__name__} must define {missing}")
        return found[0]

    def _import(self) -> ModuleType:
        if self.module in sys.modules:
            return _same_file(sys.modules[self.module], self.path)
        try:
            if not self.module.startswith(_FOLDER_PREFIX):
                return _same_file(import_module(self.module), self.path)
            spec = spec_from_file_location(self.module, self.path)
            if spec is None or spec.loader is None:
                raise RegistryError(f"{self.path} cannot be imported")
            module = module_from_spec(spec)
            sys.modules[self.module] = module
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[self.module]
                raise
        except ImportError as error:
            raise RegistryError(f"{self.path} cannot be imported: {error}") from error
        return module


@dataclass(frozen=True)
class _Root:
    """A place that holds stages/ and recipes/, and the prefix under which its modules are imported."""

    folder: Path
    prefix: str


_FOLDER_PREFIX = "eos_plugin_"
_folders: tuple[_Root, ...] = ()


def use_plugins(folder: Path | str) -> None:
    """Look for stages and recipes in this folder too.

    Raises:
        RegistryError: it holds neither stages/ nor recipes/, or something unknown in them.
    """
    global _folders
    root = Path(folder).expanduser().resolve()
    if not (root / "stages").is_dir() and not (root / "recipes").is_dir():
        raise RegistryError(f"plugin folder {root} must hold stages/ or recipes/")
    for place, kind, known in (("stages", "kind of stage", KINDS), ("recipes", "group of recipes", GROUPS)):
        for inner in sorted((root / place).glob("[!_.]*")):
            if inner.is_dir() and inner.name not in known:
                raise RegistryError(f"{inner}: {unknown(kind, inner.name, known)}")
    added = _Root(root, f"{_FOLDER_PREFIX}{sha256(str(root).encode()).hexdigest()[:12]}_")
    if added not in _folders:
        _folders = (*_folders, added)


def plugin_folders() -> list[Path]:
    """What :func:`use_plugins` was told, for a process that is to know the same."""
    return [root.folder for root in _folders]


def stages(kind: str) -> dict[str, Entry]:
    """The stages of a kind, by name."""
    _check_choice("kind of stage", kind, KINDS)
    return dict(_stages(kind, _roots()))


def stage(kind: str, name: str) -> Entry:
    """The stage of this name, or an error that shows the nearest ones."""
    return _get(f"{kind} stage", name, stages(kind))


def tasks() -> dict[str, Entry]:
    """The tasks, by name."""
    return dict(_tasks())


def task(name: str) -> Entry:
    """The task of this name, or an error that shows the nearest ones."""
    return _get("task", name, tasks())


def task_recipes() -> dict[str, list[str]]:
    """The task recipes of each task, by its name."""
    found: dict[str, list[str]] = {name: [] for name in tasks()}
    for recipe_name, path in recipes("task").items():
        said = re.search(r"^name: *(\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        if said is not None and said[1] in found:
            found[said[1]].append(recipe_name)
    return found


def recipes(group: str) -> dict[str, Path]:
    """The recipe files of a group, by name."""
    _check_choice("group of recipes", group, GROUPS)
    return dict(_recipes(group, _roots()))


def recipe(group: str, name: str) -> Path:
    """The recipe file of this name, or an error that shows the nearest ones."""
    if group == "task" and name not in recipes(group) and name in tasks():
        raise RecipeError(f"{name!r} is a task; name one of its recipes: {', '.join(task_recipes()[name])}")
    return _get(f"{group} recipe", name, recipes(group))


def _get(kind: str, name: str, known: dict[str, E]) -> E:
    _check_choice(kind, name, known)
    return known[name]


def _check_choice(kind: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise RecipeError(unknown(kind, name, known))


def _roots() -> tuple[_Root, ...]:
    return (_project(), *_packages(), *_folders)


@cache
def _project() -> _Root:
    return _Root(Path(__file__).resolve().parent.parent, "")


@cache
def _packages() -> tuple[_Root, ...]:
    roots = []
    for point in entry_points(group="eos.plugins"):
        spec = find_spec(point.value)
        if spec is None or not spec.submodule_search_locations:
            raise RegistryError(f"entry point {point.name!r} of eos.plugins names {point.value!r}, which is no package")
        roots += [_Root(Path(place).resolve(), f"{point.value}.") for place in spec.submodule_search_locations]
    return tuple(roots)


@cache
def _stages(kind: str, roots: tuple[_Root, ...]) -> dict[str, Entry]:
    files = _by_name(f"{kind} stage", [(root, root.folder / "stages" / kind) for root in roots], ".py")
    found = {}
    for name, (root, path) in files.items():
        # A module of a plain folder has no dots in its name: there is no package above it.
        inner = f"{kind}_{name}" if root.prefix.startswith(_FOLDER_PREFIX) else f"stages.{kind}.{name}"
        found[name] = _entry(kind, path, f"{root.prefix}{inner}", _parse(path))
    return found


@cache
def _tasks() -> dict[str, Entry]:
    found = {}
    for path in sorted((_project().folder / "eos" / "tasks").glob("[!_]*.py")):
        tree = _parse(path)
        final = [n for n in tree.body if isinstance(n, ast.ClassDef) and not n.name.startswith("Abstract")]
        bases = [_last_name(base) for node in final for base in node.bases]
        if any(re.fullmatch(r"Abstract\w*Task", base) for base in bases):
            found[path.stem] = _entry("task", path, f"eos.tasks.{path.stem}", tree)
    return found


@cache
def _recipes(group: str, roots: tuple[_Root, ...]) -> dict[str, Path]:
    files = _by_name(f"{group} recipe", [(root, root.folder / "recipes" / group) for root in roots], ".yaml")
    return {name: path for name, (_, path) in files.items()}


def _by_name(what: str, places: list[tuple[_Root, Path]], suffix: str) -> dict[str, tuple[_Root, Path]]:
    found: dict[str, tuple[_Root, Path]] = {}
    for root, folder in places:
        for path in sorted(folder.glob(f"[!_.]*{suffix}")):
            # A stage is imported by its name; a recipe may be called 7b.
            if not re.fullmatch(r"[A-Za-z]\w*" if suffix == ".py" else r"[A-Za-z0-9]\w*", path.stem, re.ASCII):
                raise RegistryError(
                    f"{path}: the name of a {what} has letters, digits and _ only, and begins with a letter"
                )
            if path.stem in found:
                raise RegistryError(f"{what} {path.stem!r} stands twice: {found[path.stem][1]} and {path}")
            found[path.stem] = (root, path)
    return dict(sorted(found.items()))


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except (SyntaxError, ValueError) as error:
        raise RegistryError(f"{path} is not valid Python: {error}") from error


def _entry(kind: str, path: Path, module: str, tree: ast.Module) -> Entry:
    summary, *lines = (ast.get_docstring(tree) or "").split("\n")
    said = dict.fromkeys(("Equation", "Source", "Metric", "Chance", "Floor"), "")
    field = None
    for line in map(str.strip, lines):
        start = _FIELD.fullmatch(line)
        if start:
            field = start[1]
            said[field] = start[2]
        elif not line:
            field = None
        elif field:
            said[field] += f" {line}"
    return Entry(
        name=path.stem,
        kind=kind,
        path=path,
        module=module,
        summary=summary,
        equation=said["Equation"],
        source=said["Source"],
        metric=said["Metric"],
        chance=said["Chance"],
        floor=said["Floor"],
    )


def _last_name(base: ast.expr) -> str:
    match base:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value):
            return _last_name(value)
        case _:
            return ""


def _same_file(module: ModuleType, path: Path) -> ModuleType:
    if module.__file__ is None or Path(module.__file__).resolve() != path.resolve():
        raise RegistryError(f"{path} cannot be imported: {module.__file__} of the same module name hides it")
    return module
