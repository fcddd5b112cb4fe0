"""What a run or a group of runs came to, and what to type next."""

import os
import shlex
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from eos.cli.arguments import again
from eos.cli.output import print_columns
from eos.tasks.task import Standard
from eos.training.group import Group, Spread
from eos.training.report import duration
from eos.training.result import Result
from eos.training.torchrun import begun_by_torchrun

#: A shell's exit status for a process that a signal ended, less the signal's number.
BY_SIGNAL = 128


def show_run(path: Path, result: Result) -> int:
    """Print the result of a run; the exit status of the command."""
    where = shlex.quote(str(path))
    if result.status == "stopped":
        click.echo(f"Stopped and saved at step {result.steps}. To go on: {go_on(path)}", err=True)
        return BY_SIGNAL + (result.signal or 0)
    rows = [
        (f"{part} {name.replace('_', ' ')}", number(value))
        for part, metrics in result.metrics.items()
        for name, value in metrics.items()
    ]
    rows += held_against(result.standard)
    best = "" if result.best_step in (None, result.steps) else f", best at step {result.best_step}"
    rows += [
        ("parameters", f"{result.parameters:,}"),
        (
            "trained on",
            f"{result.tokens:,} tokens in {result.steps:,} steps{best}, {duration(result.training_seconds)}",
        ),
        ("folder", str(path)),
        ("next", f"tensorboard --logdir {where}"),
    ]
    if result.names.get("task") == "text":
        rows.append(("", f'eos generate {where} "…"'))
    if result.names.get("task") == "translation":
        rows.append(("", f'eos translate {where} "…"'))
    rows.append(("", f"eos eval {where} task.KEY=…"))
    print_columns((name, Text(value)) for name, value in rows)
    return 0


def show_group(path: Path, group: Group) -> int:
    """Print the result of a group of runs; the exit status of the command."""
    where = shlex.quote(str(path))
    if group.status == "stopped":
        click.echo(f"Stopped and saved. To go on: {go_on(path)}", err=True)
        return BY_SIGNAL + (group.signal or 0)
    rows = [
        (f"{part} {name.replace('_', ' ')}", spread_line(spread))
        for part, metrics in group.metrics.items()
        for name, spread in metrics.items()
    ]
    rows += held_against(group.standard)
    rows += [
        ("seeds", ", ".join(map(str, group.seeds))),
        ("folder", str(path)),
        ("next", f"tensorboard --logdir {where}"),
    ]
    print_columns((name, Text(value)) for name, value in rows)
    return 0


def held_against(standard: dict[str, Any] | None) -> list[tuple[str, str]]:
    """What a metric is held against, as a row of the table; none where nothing has finished."""
    if standard is None:
        return []
    known = Standard(**standard)
    side = "" if known.higher else " (lower is better)"
    return [
        (
            f"{known.metric.replace('_', ' ')} of chance",
            f"{number(known.chance)}; of a trivial method {number(known.floor)} ({known.trivial}){side}",
        )
    ]


def spread_line(spread: Spread) -> str:
    """A mean, its standard deviation, and the interval that the mean of many such runs lies in."""
    if spread.interval is None:
        return number(spread.mean)
    low, high = map(number, spread.interval)
    return f"{number(spread.mean)} ± {number(spread.std)}  [{low}, {high}]"  # deviation, and 95 % interval of the mean


def go_on(path: Path) -> str:
    """The command that goes on with a run or group, by as many processes as this one was one of."""
    command, count = again("train", f"run={path}", "resume=true"), begun_by_torchrun()
    if count == 1:
        return command
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    hosts = "" if local == count else f"--nnodes {count // local} … "
    return f"torchrun {hosts}--nproc-per-node {local} --no-python {command}"


def number(value: float | None) -> str:
    """A metric as the tables show it."""
    return "not finite" if value is None else f"{value:.4f}" if abs(value) < 1000 else f"{value:.4g}"
