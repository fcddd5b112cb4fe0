"""What the command line of a search says."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from eos import registry
from eos.cli.recipes import load_run_recipe
from eos.compose.check import check
from eos.compose.reader import parse_value, read_recipe, value_text
from eos.compose.run import RunRecipe
from eos.errors import RecipeError
from eos.training.config import TrainingOptions
from search.recipe import SearchRecipe

OWN = ("search", "study", "storage", "folder", "trials", "hours", "jobs", "from", "on", "address", "options")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for.

    Arguments:
        own: the keys of the command itself.
        search: changes of the search recipe, the parts of a key with its value each.
        overrides: all other, of the base run.
        given: all of them as they were given.
    """

    given: tuple[str, ...] = ()
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
    request = Request(given=tuple(arguments))
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


def base_of(request: Request) -> RunRecipe[TrainingOptions]:
    """The run that all candidates differ from.

    Raises:
        RecipeError: an unknown name or key, or a value that is not allowed; a misspelt key of the search itself is
            told with the right one.
    """
    try:
        return load_run_recipe(request.overrides)
    except RecipeError as error:
        for text in request.overrides:
            key = text.partition("=")[0]
            near = get_close_matches(key, OWN, n=1, cutoff=0.75)
            if near and f"unknown key {key!r}" in str(error):
                raise RecipeError(f"unknown key {key!r}. Did you mean {near[0]!r}? See eos search --help") from error
        raise


def put(data: dict[str, Any], keys: list[str], value: Any) -> None:
    """Set a key of a search recipe's data.

    Raises:
        RecipeError: a key above it holds something else than keys.
    """
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
    if data.get("kind") == "nas":
        raise RecipeError(f"search={path.stem} is an architecture search: eos nas search={path.stem}")
    for keys, value in request.search:
        put(data, keys, value)
    # What was typed is blamed on who typed it.
    typed = ", ".join(f"search.{'.'.join(keys)}={value_text(value)}" for keys, value in request.search)
    return check(SearchRecipe, data, source=f"{path} with {typed}" if typed else str(path))
