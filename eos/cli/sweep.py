"""Train every combination of some choices, and compare what came of them."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from eos import registry
from eos.cli.arguments import overrides as overrides_argument
from eos.errors import CompositionError, RecipeError, RunError

if TYPE_CHECKING:
    from eos.training.sweep import Cell, Score, Sweep

OWN = ("run", "resume", "seeds", "jobs", "by", "suite")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asks for.

    Arguments:
        own: the keys of this command, by name, as they were written.
        axes: keys with several values.
        overrides: keys with one.
    """

    own: dict[str, str]
    axes: dict[str, list[str]]
    overrides: list[str]


@click.command()
@overrides_argument
def command(overrides: tuple[str, ...]) -> int:
    """Train every combination of some choices, and compare what came of them.

    KEY=A,B,C tries several values of a key; all other KEY=VALUE are as for eos train. Of one key (by=KEY; model where
    it has several values, else the first) every value is compared; of the others the best is taken, by the
    validation part, and its test figure shown.

    \b
      seeds=3             every combination with three seeds, on the same batches: mean, deviation, 95 % interval
      jobs=2              so many at once, each with its share of the cores and a log of its own
      suite=NAME          a benchmark of several tasks, with the grid it was published with (mad)
      run=PATH            the folder of all of them (default: runs/DATE-sweep)
      run=PATH resume=true  go on with what has not finished

    The first Ctrl-C lets every run finish its step and saves it.

    \b
    Examples:
      eos sweep experiment=overwriting model=gla,gated_deltanet,linear_attention
      eos sweep experiment=mqar_small model=gla,llama learning_rate=3e-3,1e-2 seeds=3 jobs=2
      eos sweep suite=mad_small model=gla,mamba2 jobs=2
    """
    request = split(overrides)
    # Only now, so that help is shown without waiting for PyTorch.
    from eos.training.folder import new_folder
    from eos.training.sweep import begin, read_sweep, run_sweep, scores

    jobs = _whole(request.own.get("jobs", "1"), "jobs")
    if request.own.get("resume", "false") == "true":
        if "run" not in request.own or request.axes or request.overrides:
            raise RecipeError("resume=true goes on with a sweep as it was begun: give run=PATH, and jobs if you like")
        path = Path(request.own["run"])
        sweep = read_sweep(path)
    else:
        sweep = plan(request)
        path = Path(request.own["run"]) if "run" in request.own else new_folder(Path("runs"), "sweep")
        begin(sweep, path)
    cells = sweep.cells()

    def each(number: int, cell: "Cell", status: str) -> None:
        if status:
            where = "" if status == "finished" else f"; its log: {path / cell.folder}.log"
            click.echo(f"{number} of {len(cells)}  {cell.name}: {status}{where}", err=True)
        else:
            click.echo(f"{number} of {len(cells)}  {cell.name}", err=True)

    signal = run_sweep(sweep, path, jobs=jobs, plugins=registry.plugin_folders(), each=each)
    show(sweep, scores(sweep, path), path)
    go_on = f"eos sweep run={shlex.quote(str(path))} resume=true"
    if signal is not None:
        click.echo(f"Stopped and saved. To go on: {go_on}", err=True)
        return 128 + signal
    from eos.training.sweep import outcome

    failed = [cell.name for cell in cells if outcome(path / cell.folder).status != "finished"]
    if failed:
        raise RunError(f"{len(failed)} of {len(cells)} did not finish: {'; '.join(failed)}. To try again: {go_on}")
    return 0


def split(overrides: tuple[str, ...]) -> Request:
    """Tell the command's own keys, those with several values and all others apart.

    Raises:
        RecipeError: one of them twice.
    """
    own: dict[str, str] = {}
    axes: dict[str, list[str]] = {}
    rest = []
    for text in overrides:
        key, equals, value = text.partition("=")
        if equals and key in OWN:
            if key in own:
                raise RecipeError(f"{key} is given twice: {own[key]} and {value}")
            own[key] = value
        elif equals and len(values := several(value)) > 1:
            if key in axes:
                raise RecipeError(f"{key} is given twice: {','.join(axes[key])} and {value}")
            axes[key] = values
        else:
            rest.append(text)
    return Request(own=own, axes=axes, overrides=rest)


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


def plan(request: Request) -> "Sweep":
    """The sweep that is asked for, every combination of which can be built.

    Raises:
        RecipeError: an unknown name or key, or a value that is not allowed.
        CompositionError: stages that make no sense together.
    """
    from eos.cli.recipes import load_run_recipe
    from eos.compose.check import check
    from eos.compose.model import refuse
    from eos.compose.reader import read_recipe
    from eos.training.run import make_task
    from eos.training.sweep import Suite, Sweep, written

    axes, overrides = dict(request.axes), list(request.overrides)
    chosen: dict[str, Any] = {}
    if (name := request.own.get("suite")) is not None:
        path = registry.recipe("suite", name)
        suite = check(Suite, read_recipe(path), source=str(path))
        given = {_last(text) for text in (*overrides, *axes)}
        axes |= {key: values for key, values in written(suite.vary).items() if _last(key) not in given}
        models = [text.partition("=")[2] for text in overrides if text.startswith("model=")]
        if models and "model" not in axes:
            overrides = [text for text in overrides if not text.startswith("model=")]
            axes = {"model": models} | axes
        # A recipe can be chosen once.
        taken = {text.partition("=")[0] for text in overrides} | axes.keys()
        kept = [text for text in suite.overrides if text.partition("=")[0] not in taken]
        chosen = {"settings": suite.settings, "select": suite.select, "own": overrides}
        overrides = kept
    if not axes:
        raise RecipeError(
            "nothing varies: give a key several values, as in model=gla,llama or learning_rate=1e-3,1e-2; to go on "
            "with a sweep, run=PATH resume=true"
        )
    by = request.own.get("by", "model" if "model" in axes else next(iter(axes)))
    if by not in axes:
        raise RecipeError(f"by={by} is no key with several values; those are {', '.join(axes)}")
    sweep = Sweep(axes=axes, by=by, overrides=overrides, seeds=_seeds(request.own.get("seeds")), **chosen)
    for cell in sweep.cells():
        try:
            recipe = load_run_recipe(cell.overrides)
        except RecipeError as error:
            raise RecipeError(f"{cell.name}: {error}") from None
        if reason := refuse(recipe.model, causal=make_task(recipe).causal):
            raise CompositionError(f"{cell.name}: {reason}")
    return sweep


def _last(text: str) -> str:
    """The last word of a key, which is how it may be written: training.learning_rate=… as learning_rate."""
    return text.partition("=")[0].rpartition(".")[2]


def show(sweep: "Sweep", found: "list[Score]", path: Path) -> None:
    """Print what came of every value that is compared."""
    from eos.cli.output import print_columns, print_line
    from eos.cli.result import number
    from eos.training.sweep import outcome

    standard = next((one for cell in sweep.cells() if (one := outcome(path / cell.folder).standard) is not None), None)
    if standard is not None and len(sweep.settings) == 1:
        side = "higher" if standard.higher else "lower"
        print_line(
            f"test {standard.metric.replace('_', ' ')} ({side} is better; chosen on the {sweep.select} part; chance "
            f"{number(standard.chance)}, {standard.trivial} {number(standard.floor)})",
            style="bold",
        )
    rows = [(score.value, Text("\n".join(_lines(sweep, score)) or "nothing has finished")) for score in found]
    print_columns([*rows, ("folder", Text(str(path)))])


def _lines(sweep: "Sweep", score: "Score") -> list[str]:
    from eos.cli.result import number, spread_line

    lines = []
    for task, settings in score.best.items():
        for setting, best in settings.items():
            place = f"{task} {setting}: " if task else ""
            others = "".join(f"  {key}={value}" for key, value in best.choices.items())
            lines.append(f"{place}{spread_line(best.test)}{others}")
    if len(sweep.settings) > 1:
        lines += [f"{task}: {number(value)}" for task, value in score.tasks.items()]
        lines.append(f"score: {'not all has finished' if score.score is None else number(score.score)}")
    return lines


def _seeds(text: str | None) -> list[int] | None:
    if text is None:
        return None
    listed = text.strip("[]").split(",")
    numbers = [_whole(each.strip(), "seeds") for each in listed]
    return numbers if text.startswith("[") else list(range(1, numbers[0] + 1))


def _whole(text: str, name: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        most = f", on this machine at most {os.cpu_count()} help" if name == "jobs" else ""
        raise RecipeError(f"{name} must be a whole number, at least 1{most}; got {text!r}")
    return int(text)
