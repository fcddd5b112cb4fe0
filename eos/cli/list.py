"""List models, stages or tasks with what they are, their equation and their source."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import click
from rich.text import Text

from eos import registry
from eos.cli.arguments import as_written
from eos.cli.output import print_columns, print_line
from eos.compose.reader import read_recipe, value_text
from eos.compose.stages import PRODUCT, SLOTS, canonical
from eos.errors import RecipeError, unknown

if TYPE_CHECKING:
    from eos.config import OptionField

Row = tuple[str, Text]
WHAT = ("models", "stages", "tasks", "experiments", "suites", "searches", "sizes", "checkpoints")


def _complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    known = {
        "models": registry.recipes("model"),
        "stages": {name for kind in registry.KINDS for name in registry.stages(kind)},
        "tasks": registry.tasks(),
        "experiments": registry.recipes("experiment"),
        "suites": registry.recipes("suite"),
        "searches": registry.recipes("search"),
        "sizes": registry.recipes("size"),
        "checkpoints": registry.recipes("checkpoint"),
    }
    return sorted(name for name in known[ctx.params["what"]] if name.startswith(incomplete))


@click.command("list")
@click.argument("what", type=click.Choice(WHAT))
@click.argument("name", required=False, shell_complete=_complete_name)
def command(what: str, name: str | None) -> None:
    """List models, stages, tasks, experiments, suites, searches, sizes or layouts of public checkpoints.

    With a NAME, that one alone, a stage or task with its options.

    \b
    Examples:
      eos list models
      eos list stages head_decay
      eos list tasks mqar
      eos list experiments
    """
    kinds: dict[str, Callable[[str | None], None]] = {
        "models": _models,
        "stages": _stages,
        "tasks": _tasks,
        "experiments": partial(_described, "experiment"),
        "suites": partial(_described, "suite"),
        "searches": partial(_described, "search"),
        "sizes": _sizes,
        "checkpoints": _checkpoints,
    }
    kinds[what](name)


def _described(group: str, name: str | None) -> None:
    """Recipes of a group, each by the first sentence of the comment above it; one alone by all of it."""
    if name is None:
        paths = registry.recipes(group).items()
        rows = [(each, headline(path.read_text(encoding="utf-8"))[0], path) for each, path in paths]
    else:
        path = registry.recipe(group, name)
        rows = [(name, comment_of(path.read_text(encoding="utf-8")), path)]
    crosses = group == "experiment"
    print_columns(
        (each, _lines(what, _varied(path, whole=name is not None) if crosses else "")) for each, what, path in rows
    )


def _varied(path: Path, *, whole: bool) -> str:
    """What eos sweep crosses of an experiment that varies some keys: how many values of each, or all of them."""
    axes = read_recipe(path).get("vary") or {}
    said = [
        f"{key}={','.join(map(value_text, values))}" if whole else f"{len(values)} {key}"
        for key, values in axes.items()
    ]
    return f"eos sweep: {' '.join(said) if whole else ' × '.join(said)}" if said else ""


def _models(name: str | None) -> None:
    chosen = registry.recipes("model") if name is None else {name: registry.recipe("model", name)}
    rows = []
    for each, path in chosen.items():
        what, source = headline(path.read_text(encoding="utf-8"))
        rows.append((each, _lines(what, composition(read_recipe(path)), source)))
    print_columns(rows)


def _sizes(name: str | None) -> None:
    chosen = registry.recipes("size") if name is None else {name: registry.recipe("size", name)}
    rows = []
    for each, path in chosen.items():
        what, source = headline(path.read_text(encoding="utf-8"))
        numbers = " ".join(f"{key}={value}" for key, value in read_recipe(path).items())
        rows.append((each, _lines(what, numbers, source)))
    print_columns(rows)


def _checkpoints(name: str | None) -> None:
    chosen = registry.recipes("checkpoint") if name is None else {name: registry.recipe("checkpoint", name)}
    rows = []
    for each, path in chosen.items():
        what, _ = headline(path.read_text(encoding="utf-8"))
        data = read_recipe(path)
        rows.append((each, _lines(what, f"model_type {data['model_type']} → model={data['model']}")))
    print_columns(rows)


def _stages(name: str | None) -> None:
    kinds = {kind: registry.stages(kind) for kind in registry.KINDS}
    if name is None:
        for kind, entries in kinds.items():
            print_line(kind, style="bold")
            print_columns(_rows(entries.values()))
        return
    found = [entries[name] for entries in kinds.values() if name in entries]
    if not found:
        raise RecipeError(unknown("stage", name, {each for entries in kinds.values() for each in entries}))
    for entry in found:
        _print_options(entry)


def _tasks(name: str | None) -> None:
    if name is None:
        print_columns(_rows(registry.tasks().values()))
    else:
        of_recipe = {recipe: task for task, recipes in registry.task_recipes().items() for recipe in recipes}
        _print_options(registry.task(of_recipe.get(name, name)))


def _print_options(entry: registry.Entry) -> None:
    # Only now, so that names are listed without waiting for the import of what checks options.
    from eos.config import option_fields

    print_line(entry.kind, style="bold")
    print_columns(_rows([entry]))
    fields = option_fields(entry.load().Options).values()
    print_columns([(f"  {field.name}", _lines(field.description, describe_option(field))) for field in fields])


def _rows(entries: Iterable[registry.Entry]) -> list[Row]:
    return [(entry.name, _lines(entry.summary, entry.equation, *_judged(entry), entry.source)) for entry in entries]


def _judged(entry: registry.Entry) -> Iterator[str]:
    """What a task is judged by, and its recipes."""
    said = (("", entry.metric), ("chance: ", entry.chance), ("floor: ", entry.floor))
    yield "; ".join(f"{what}{value}" for what, value in said if value)
    if entry.kind == "task" and (names := registry.task_recipes()[entry.name]):
        yield " ".join(f"task={name}" for name in names)


def _lines(what: str, equation: str, *more: str) -> Text:
    lines = [Text(what), Text(equation, style="cyan"), *(Text(line, style="dim") for line in more)]
    return Text("\n").join(line for line in lines if line)


def comment_of(text: str) -> str:
    """The comment above a recipe, in one line."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines)


def headline(text: str) -> tuple[str, str]:
    """What the comment above a recipe says in its first sentence, and the papers that it names."""
    comment = comment_of(text)
    sources = re.findall(r"arXiv:[^)]*?(?=[);]|\. |$)", comment)
    sentence = re.split(r"\.(?:\s|$)", re.sub(r"\s*\([^)]*\)", "", comment))[0]
    return sentence, "; ".join(dict.fromkeys(sources))


def composition(data: dict[str, Any]) -> str:
    """The stages of each mixer of a recipe's data, in the words of an override."""
    model = canonical(data)
    mixers = model["mixers"].items() if isinstance(model.get("mixers"), dict) else ()
    said = [(name, " ".join(_choices(mixer))) for name, mixer in mixers if isinstance(mixer, dict)]
    return said[0][1] if len(said) == 1 else "; ".join(f"{name}: {stages}" for name, stages in said)


def _choices(mixer: dict[str, Any]) -> Iterator[str]:
    if mixer.get("kind", "eos") != "eos":
        yield f"kind={mixer['kind']}"
    for slot in (SLOTS[0], PRODUCT, *SLOTS[1:]):
        stages = mixer.get(slot) or []
        names = [stage.get("name") for stage in (stages if isinstance(stages, list) else [stages])]
        if names:
            yield f"{slot}={'+'.join(map(str, names))}"


def describe_option(field: "OptionField") -> str:
    """The type, range and default of an option, in one line."""
    what = " | ".join(map(as_written, field.choices)) or _type(field.type)
    signs = ((">", field.above), ("≥", field.low), ("≤", field.high))
    bounds = [f"{sign} {bound:.12g}" for sign, bound in signs if bound is not None]
    default = "required" if field.required else f"default {as_written(field.default)}"
    return ", ".join([what, *bounds, default])


def _type(annotation: Any) -> str:
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(map(_type, get_args(annotation)))
    if annotation is NoneType:
        return "null"
    return annotation.__name__ if annotation in (int, float, str) else str(annotation).removeprefix("typing.")
