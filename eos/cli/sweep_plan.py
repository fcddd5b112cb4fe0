"""What eos sweep says before, while and after it trains."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from eos.cli.arguments import again

if TYPE_CHECKING:
    from eos.training.sweep import Point, Sweep
    from eos.training.sweep_run import Progress
    from eos.training.sweep_scores import Score


def plan_lines(sweep: "Sweep", points: "Mapping[str, Point]", path: Path, *, time: str, retry: bool) -> list[str]:
    """The plan: what is crossed, how much of it there is, what is left out and why, and how long it takes."""
    every, counts = sweep.combinations(), Counter(point.status for point in points.values())
    runs = _count(len(points), "combination")
    if sweep.seeds is not None:
        seeds = len(sweep.seeds)
        runs += f" × {_count(seeds, 'seed')} = {_count(len(points) * seeds, 'run')}"
    kept = 0 if retry else counts["failed"]
    rows = [(key, ", ".join(values)) for key, values in sweep.axes.items()]
    rows += [
        ("in all", f"{runs}, {len(sweep.refused)} left out" if sweep.refused else runs),
        ("finished", str(counts["finished"])),
        ("to do", str(len(points) - counts["finished"] - kept)),
    ]
    if kept:
        rows.append(("failed", f"{kept}, which --retry trains again"))
    rows += [
        ("left out", f"{cell.name}: {sweep.refused[cell.folder]}") for cell in every if cell.folder in sweep.refused
    ]
    rows += [("folder", str(path)), ("time", time)]
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {value}" for name, value in rows]


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def time_line(left: float | None, points: "Mapping[str, Point]", *, todo: int, jobs: int, unknown: str | None) -> str:
    """How long a sweep still takes, and how that is known."""
    if not todo:
        return "nothing is left to do"
    if left is None:
        return f"not known before the first has finished: {unknown}"
    finished = sum(point.status == "finished" and point.seconds > 0 for point in points.values())
    how = f"by the {finished} that have finished" if finished else "by a few steps measured now"
    return f"{about(left)} with jobs={jobs}, {how}"


def about(seconds: float) -> str:
    """A time that is not exact: about 40 s, about 12 min, about 3 h 20 min."""
    if seconds < 100:
        return f"about {max(5, round(seconds / 5) * 5)} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"about {minutes} min"
    hours, rest = divmod(round(minutes / 10) * 10, 60)
    return f"about {hours} h" + (f" {rest:02d} min" if rest and hours < 24 else "")


def progress_line(progress: "Progress", path: Path) -> str:
    """One combination begins or ends."""
    if progress.status == "running":
        return f"{progress.cell.name}: begins"
    line = f"{progress.cell.name}: {progress.status}; {progress.done} of {progress.of} done"
    if progress.left:
        line += f", {about(progress.left)} left"
    return line if progress.status == "finished" else f"{line}; its log: {path / progress.cell.folder}.log"


def go_on(path: Path, *, jobs: int, command: str) -> str:
    """What goes on with a sweep."""
    return again(command, f"run={path}", "resume=true", *([f"jobs={jobs}"] if jobs > 1 else []))


def show(sweep: "Sweep", found: "list[Score]", path: Path) -> None:
    """Print what came of every value that is compared."""
    from eos.cli.output import print_columns, print_line
    from eos.cli.result import number
    from eos.training.sweep_scores import outcome

    standard = next((one for cell in sweep.cells() if (one := outcome(path / cell.folder).standard) is not None), None)
    if standard is not None and len(sweep.settings) == 1:
        side = "higher" if standard.higher else "lower"
        print_line(
            f"test {standard.metric.replace('_', ' ')} ({side} is better; chosen on the {sweep.select} part; chance "
            f"{number(standard.chance)}, {standard.trivial} {number(standard.floor)})",
            style="bold",
        )
    rows = [(score.value, Text("\n".join(_lines(sweep, score)) or _nothing(sweep, score))) for score in found]
    print_columns([*rows, ("folder", Text(str(path)))])


def _nothing(sweep: "Sweep", score: "Score") -> str:
    tried = any(score.wanted.items() <= cell.choices.items() for cell in sweep.cells())
    return "nothing has finished" if tried else "left out"


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
