"""What the command line of a search says."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eos import registry
from eos.compose.check import check
from eos.compose.reader import parse_value, read_recipe
from eos.errors import RecipeError
from eos.training.files import read_json, write_json
from search.recipe import SearchRecipe
from search.storage import StudyError
from search.study import Study, join

OWN = ("search", "study", "storage", "folder", "trials", "hours", "jobs", "from", "on", "address", "options")
ROOT = Path("runs") / "search"
#: In a search's folder: its storage and its name, for commands that are given the folder.
POINTER, JOURNAL = "study.json", "study.log"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for.

    Arguments:
        own: the keys of the command itself.
        search: changes of the search recipe, the parts of a key with its value each.
        overrides: all other, of the base run.
    """

    own: dict[str, str] = field(default_factory=dict)
    search: list[tuple[list[str], Any]] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)

    def whole(self, name: str, default: int) -> int:
        """A whole number, at least 1.

        Raises:
            RecipeError: it is none.
        """
        text = self.own.get(name, str(default))
        if not text.isdecimal() or int(text) < 1:
            raise RecipeError(f"{name} must be a whole number, at least 1; got {text!r}")
        return int(text)

    def mapping(self, name: str) -> dict[str, Any]:
        """A mapping, ``{a: 1, b: 2}``; empty where it is not given.

        Raises:
            RecipeError: it is none.
        """
        value = parse_value(self.own.get(name, "{}"), name)
        if not isinstance(value, dict):
            raise RecipeError(f"{name} must be a mapping, as in {name}={{num_cpus: 4}}; got {self.own[name]!r}")
        return value

    @property
    def hours(self) -> float | None:
        """The time limit.

        Raises:
            RecipeError: it is no positive number.
        """
        if "hours" not in self.own:
            return None
        value = parse_value(self.own["hours"], "hours")
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise RecipeError(f"hours must be a number above 0, got {self.own['hours']!r}")
        return float(value)


def split(arguments: Sequence[str], own: Sequence[str] = OWN) -> Request:
    """Tell the command's own keys, those of the search recipe (``search.KEY=``) and all others apart.

    Raises:
        RecipeError: one of them twice.
    """
    request = Request()
    for text in arguments:
        key, equals, value = text.partition("=")
        if equals and key in own:
            if key in request.own:
                raise RecipeError(f"{key} is given twice: {request.own[key]} and {value}")
            request.own[key] = value
        elif equals and key.startswith("search."):
            keys = key.removeprefix("search.").split(".")
            request.search.append((keys, parse_value(value, f"override {text!r}")))
        else:
            request.overrides.append(text)
    return request


def _put(data: dict[str, Any], keys: list[str], value: Any) -> None:
    *above, last = keys
    for key in above:
        inner = data[key] = {} if data.get(key) is None else data[key]
        if not isinstance(inner, dict):
            raise RecipeError(f"search.{'.'.join(keys)}: {key} is {inner!r}, which has no keys of its own")
        data = inner
    data[last] = value


def search_recipe(request: Request) -> SearchRecipe:
    """The search recipe with its changes; that of the name ``stages`` where none is named.

    Raises:
        RecipeError: an unknown name or key, or a value that is not allowed.
    """
    path = registry.recipe("search", request.own.get("search", "stages"))
    data = read_recipe(path)
    for keys, value in request.search:
        _put(data, keys, value)
    return check(SearchRecipe, data, source=str(path))


def point(folder: Path, storage: str, study: str) -> None:
    """Write down in a search's folder where its study is kept."""
    write_json(folder / POINTER, {"storage": storage, "study": study})


def located(argument: str | None, own: dict[str, str]) -> tuple[Study, Path]:
    """The study of a folder, or of ``storage=`` and ``study=``; and the folder of its runs.

    Raises:
        StudyError: there is none.
    """
    if argument is not None and "storage" not in own:
        folder = next((path for path in (Path(argument), ROOT / argument) if (path / POINTER).is_file()), None)
        if folder is None:
            raise StudyError(
                f"{argument} is no folder of a search (there is no {POINTER} in it); give that folder, its name below "
                f"{ROOT}, or storage=URL study=NAME"
            )
        said = read_json(folder / POINTER)
        return join(said["storage"], said["study"]), Path(own.get("folder", folder))
    if "storage" not in own:
        raise StudyError("name a study: its folder, or storage=URL study=NAME")
    study = join(own["storage"], own.get("study", argument))
    return study, Path(own.get("folder", study.record.folder))
