"""The page as a file, and the full data beside it."""

import csv
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eos.dashboard.gather import Gathered
from eos.dashboard.page import render
from eos.dashboard.run import Run, metrics
from eos.errors import RunError
from eos.training.files import replacing
from eos.training.folder import RunFolder

_RUNS = "runs.csv"
#: Of a run, beside its metrics.
_COLUMNS = ("id", "path", "cell", "task", "seed", "status", "step", "time_s", "curves")


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written.

    Arguments:
        counts: how many runs, and how they stand, in words.
        data: the folder of the full data; None where it was not asked for.
    """

    counts: str
    data: Path | None


def write_page(found: Gathered, path: Path, *, data: bool = True) -> Written:
    """Write the page, and a folder ``NAME-data`` with runs.csv and the log of every run.

    Raises:
        RunError: the disk is full, or what stands in the place of the folder is not an earlier page's.
    """
    folder = path.with_name(f"{path.stem}-data") if data else None
    if folder is not None and folder.exists():
        _check_ours(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(render(found.data, found.curves), encoding="utf-8")
    if folder is not None:
        _forget_earlier(folder)
        _write_data(found, folder)
    states = Counter(run["status"] for run in found.data["runs"])
    counts = f"{len(found.runs)} run{'s' * (len(found.runs) != 1)}" + (": " if states else "")
    counts += ", ".join(f"{count} {state}" for state, count in states.most_common())
    if found.data["unreadable"]:
        counts += f"; {len(found.data['unreadable'])} could not be read"
    return Written(counts=counts, data=folder)


def _earlier(folder: Path) -> set[str]:
    """Files of an earlier page's folder, as its table names them."""
    try:
        with (folder / _RUNS).open(encoding="utf-8", newline="") as file:
            table = csv.reader(file)
            if next(table, [])[: len(_COLUMNS)] != list(_COLUMNS):
                return set()
            return {_RUNS} | {row[len(_COLUMNS) - 1] for row in table if len(row) >= len(_COLUMNS)}
    except (OSError, UnicodeDecodeError, csv.Error):
        return set()


def _check_ours(folder: Path) -> None:
    """Refuse to write over what somebody else put there."""
    if not folder.is_dir():
        raise RunError(f"{folder} is to hold the full data, and is no folder; choose another -o, or --no-data")
    ours = _earlier(folder)
    for other in (folder / _RUNS, *folder.glob("run-*.csv")):
        if other.exists() and other.name not in ours:
            raise RunError(
                f"{other} is not of an earlier page, and would be written over; choose another -o, or --no-data"
            )


def _forget_earlier(folder: Path) -> None:
    """Make the folder, without the files of an earlier page: those it names, and nothing else."""
    folder.mkdir(exist_ok=True)
    for name in _earlier(folder):
        if Path(name).name == name:
            (folder / name).unlink(missing_ok=True)


def _write_data(found: Gathered, folder: Path) -> None:
    finals = [metrics(run)[0] for run in found.runs]
    names = sorted({name for final in finals for name in final})
    # A folder's name may be bytes that are no text.
    with (
        replacing(folder / _RUNS) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        table = csv.writer(file)
        table.writerow([*_COLUMNS, *names])
        for row, final in zip(_rows(found, folder), finals, strict=True):
            table.writerow([*row, *(final.get(name) for name in names)])


def _rows(found: Gathered, folder: Path) -> Iterator[Sequence[object]]:
    cells = found.data["cells"]
    for plain, run in zip(found.data["runs"], found.runs, strict=True):
        cell = cells[plain["cell"]]
        yield [
            plain["id"],
            _text(plain["path"]),
            _text(cell["name"]),
            _text(cell["task"]),
            plain["seed"],
            plain["status"],
            plain["step"],
            plain["time_s"],
            _copied(run, folder, plain["id"]),
        ]


def _copied(run: Run, folder: Path, number: int) -> str | None:
    name = f"run-{number}.csv"
    try:
        shutil.copyfile(RunFolder(run.path).metrics, folder / name)
    except OSError:
        return None
    return name


def _text(value: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{value}" if value[:1] in ("=", "+", "-", "@") else value
