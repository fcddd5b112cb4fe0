"""What a command line asks of eos sweep, and the sweep that comes of it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from eos import registry
from eos.errors import CompositionError, EOSError, RecipeError

if TYPE_CHECKING:
    from eos.training.run import Recipe
    from eos.training.sweep import Cell, Sweep

OWN = ("run", "resume", "seeds", "jobs", "by", "suite", "vary")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asks for.

    Arguments:
        own: the keys of this command, by name, as they were written.
        axes: keys with several values.
        before, after: keys with one, before the first axis and after it.
    """

    own: dict[str, str]
    axes: dict[str, list[str]]
    before: list[str]
    after: list[str]


def split(overrides: tuple[str, ...]) -> Request:
    """Tell the command's own keys, those with several values and all others apart.

    Raises:
        RecipeError: one of them twice.
    """
    own: dict[str, str] = {}
    axes: dict[str, list[str]] = {}
    before: list[str] = []
    after: list[str] = []
    for text in overrides:
        key, equals, value = text.partition("=")
        if equals and key in OWN:
            if key in own:
                raise RecipeError(f"{key} is given twice: {own[key]} and {value}")
            own[key] = value
        elif equals and (len(values := several(value)) > 1 or "+" in key):
            if key in axes:
                raise RecipeError(f"{key} is given twice: {','.join(axes[key])} and {value}")
            axes[key] = values
        else:
            (after if axes else before).append(text)
    return Request(own=own, axes=axes, before=before, after=after)


class NothingVaries(RecipeError):
    """One run is asked for, not several."""


def several(value: str) -> list[str]:
    """The parts of ``a,b,c``; commas inside brackets, braces and quotes part nothing."""
    parts, depth, quote = [""], 0, ""
    for letter in value:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        elif letter == "," and not depth:
            parts.append("")
            continue
        parts[-1] += letter
    return parts


def asked(request: Request) -> "tuple[Sweep, dict[str, Recipe]]":
    """The sweep that is asked for, and the recipe of every combination to train by folder.

    Combinations whose stages make no sense together, or of which one raises something, are left out.

    Raises:
        RecipeError: an unknown name or key, or a value that is not allowed.
        CompositionError: no combination is left.
    """
    from eos.cli.recipes import load_ablation
    from eos.training.sweep import Ablation, Sweep, written

    suite = request.own.get("suite")
    experiments = [
        text.partition("=")[2] for text in (*request.before, *request.after) if text.startswith("experiment=")
    ]
    names = [request.own["vary"]] if "vary" in request.own else experiments
    ablation = load_ablation(names[0]) if names and suite is None else Ablation()
    chosen: dict[str, Any] = {"axes": request.axes, "overrides": request.before, "own": request.after}
    if suite is not None:
        chosen = _of_suite(suite, request)
    elif ablation.vary:
        # What is typed has the last word over what the experiment varies.
        axes = _without(written(ablation.vary), _typed(request)) | request.axes
        chosen = {"axes": axes, "overrides": [], "own": [*request.before, *request.after]}
    axes = chosen["axes"]
    if not axes:
        raise NothingVaries(
            "nothing varies: give a key several values, as in model=gla,llama or learning_rate=1e-3,1e-2, or choose an "
            "experiment that varies some; to go on with a sweep, run=PATH resume=true"
        )
    by = _compared(request.own.get("by"), ablation.compared, axes)
    seeds = _seeds(request.own["seeds"]) if "seeds" in request.own else _numbers(ablation.seeds)
    sweep = Sweep(by=by, seeds=seeds, **chosen)
    recipes = composed(sweep.combinations())
    refused = refusals(recipes)
    if len(refused) == len(recipes):
        cells = [f"{cell.name}: {refused[cell.folder]}" for cell in sweep.combinations()]
        raise CompositionError("no combination is left: " + "; ".join(cells))
    return replace(sweep, refused=refused), {key: recipes[key] for key in recipes if key not in refused}


def composed(cells: "Iterable[Cell]") -> "dict[str, Recipe]":
    """The recipe of each combination, by folder.

    Raises:
        RecipeError: an unknown name or key, or a value that is not allowed.
    """
    from eos.cli.recipes import load_run_recipe

    recipes = {}
    for cell in cells:
        try:
            recipes[cell.folder] = load_run_recipe(cell.overrides)
        except RecipeError as error:
            raise RecipeError(f"{cell.name}: {error}") from None
    return recipes


def refusals(recipes: "Mapping[str, Recipe]") -> dict[str, str]:
    """Why those that make no sense, or of which a stage raises something, cannot be built, by folder."""
    from eos.compose.model import refuse
    from eos.training.run import make_task
    from eos.training.sweep import raised

    known: dict[str, str | None] = {}
    for recipe in recipes.values():
        if (key := _built(recipe)) not in known:
            causal = make_task(recipe).causal
            try:
                known[key] = refuse(recipe.model, causal=causal)
            except EOSError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a stage of one's own raises leaves it out
                known[key] = raised(error)
    reasons = {folder: known[_built(recipe)] for folder, recipe in recipes.items()}
    return {folder: reason for folder, reason in reasons.items() if reason is not None}


def whole(text: str, name: str) -> int:
    """A number that counts.

    Raises:
        RecipeError: it does not.
    """
    if not text.isdecimal() or int(text) < 1:
        most = f", on this machine at most {os.cpu_count()} help" if name == "jobs" else ""
        raise RecipeError(f"{name} must be a whole number, at least 1{most}; got {text!r}")
    return int(text)


def _of_suite(name: str, request: Request) -> dict[str, Any]:
    from eos.compose.check import check
    from eos.compose.reader import read_recipe
    from eos.training.sweep import Suite, written

    path = registry.recipe("suite", name)
    suite = check(Suite, read_recipe(path), source=str(path))
    typed = [*request.before, *request.after]
    axes = request.axes | _without(written(suite.vary), _typed(request))
    models = [text.partition("=")[2] for text in typed if text.startswith("model=")]
    if models and "model" not in axes:
        typed = [text for text in typed if not text.startswith("model=")]
        axes = {"model": models} | axes
    # A recipe can be chosen once.
    taken = {text.partition("=")[0] for text in typed} | axes.keys()
    kept = [text for text in suite.overrides if text.partition("=")[0] not in taken]
    return {"axes": axes, "overrides": kept, "own": typed, "settings": suite.settings, "select": suite.select}


def _typed(request: Request) -> list[str]:
    """The keys that the command line says."""
    keys = [text.partition("=")[0] for text in (*request.before, *request.after)]
    return [*keys, *(key for keys in request.axes for key in keys.split("+"))]


def _without(axes: dict[str, list[str]], typed: Sequence[str]) -> dict[str, list[str]]:
    """The axes none of whose keys is typed; either may leave out the first words of a key."""

    def one(key: str, other: str) -> bool:
        return f".{key}".endswith(f".{other}") or f".{other}".endswith(f".{key}")

    return {
        keys: values
        for keys, values in axes.items()
        if not any(one(key, other) for key in keys.split("+") for other in typed)
    }


def _compared(asked: str | None, said: list[str], axes: Mapping[str, Any]) -> list[str]:
    """The axes whose values are compared: as asked, or as the experiment says, or the model, or else the first."""
    if asked is None:
        found = [key for key in said if key in axes]
        return found or ["model" if "model" in axes else next(iter(axes))]
    keys = asked.split(",")
    for key in keys:
        if key not in axes:
            raise RecipeError(f"by={key} is no key with several values; those are {', '.join(axes)}")
    return keys


def _built(recipe: "Recipe") -> str:
    """What decides whether a recipe can be built."""
    return f"{recipe.task.name} {recipe.model!r}"


def _seeds(text: str) -> list[int]:
    listed = text.strip("[]").split(",")
    numbers = [whole(each.strip(), "seeds") for each in listed]
    return numbers if text.startswith("[") else list(range(1, numbers[0] + 1))


def _numbers(seeds: int | list[int] | None) -> list[int] | None:
    return list(range(1, seeds + 1)) if isinstance(seeds, int) else seeds
