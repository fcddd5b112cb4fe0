"""Where pairs of sentences come from: two files, a tsv file, a folder of parts, a dataset, or a small text built in."""

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eos.errors import DataError, RecipeError
from eos.tasks.fetch import PREFIX, fetch
from eos.tasks.parallel import embedded

Pair = tuple[str, str]
#: How files and datasets call the parts.
NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
SIDES = ("source", "target")
_COLUMN = "translation"


@dataclass(frozen=True, kw_only=True)
class Parallel:
    """Pairs of sentences, readable as often as wished.

    Arguments:
        read: yields them, always in the same order.
        place: where the sentence of a row (from 0) and a side (0 the source, 1 the target) stands, for messages.
    """

    read: Callable[[], Iterator[Pair]]
    place: Callable[[int, int], str]


@dataclass(frozen=True, kw_only=True)
class ParallelSource:
    """The pairs of three parts, or of one text that is to be cut into them.

    Arguments:
        description: what it is, for messages.
        parts: by name; of one that is to be cut, ``train`` alone.
    """

    description: str
    parts: Mapping[str, Parallel]


def open_parallel(
    source: str | None,
    target: str | None,
    *,
    subset: str | None,
    languages: Sequence[str],
    columns: Sequence[int],
) -> ParallelSource:
    """The pairs that a recipe names.

    Arguments:
        source: a file of source sentences; a tsv file; a folder of parts; ``hf:`` and the name of a Hugging Face
            dataset; or None for a small text that is built in.
        target: the file of the target sentences, where the source is a file of sentences.
        subset: configuration of a dataset.
        languages: the two languages, as a folder's files end in them or a dataset names its columns.
        columns: of a tsv file those of the two languages, counted from 1.

    Raises:
        DataError: nothing is there, or not in one of these forms.
        RecipeError: options that do not go together.
    """
    if languages and (len(languages) != 2 or languages[0] == languages[1]):
        raise RecipeError(f"task.languages are two, source and target, as [en, de]; got {list(languages)}")
    if len(columns) != 2 or min(columns) < 1 or columns[0] == columns[1]:
        raise RecipeError(f"task.columns are two, counted from 1, as [1, 2]; got {list(columns)}")
    if target is not None and (source is None or source.startswith(PREFIX) or Path(source).is_dir()):
        raise RecipeError(
            f"task.target={target} is the other of two files, and task.source={source or 'null'} names none; "
            "give both files, or leave task.target out"
        )
    if source is None:
        if languages:
            raise RecipeError("task.languages belong to a folder or a dataset: name one with task.source")
        return _embedded()
    if source.startswith(PREFIX):
        return _dataset(source.removeprefix(PREFIX), subset=subset, languages=languages)
    path = Path(source).expanduser()
    if path.is_dir():
        return _folder(path, languages=languages, columns=columns)
    _require(path, "source")
    if target is None:
        return ParallelSource(description=source, parts={"train": _tsv(path, columns)})
    other = Path(target).expanduser()
    _require(other, "target")
    return ParallelSource(description=f"{source} and {target}", parts={"train": _two_files(path, other)})


def lines(path: Path) -> Iterator[str]:
    """The lines of a text file, .gz too, without their ends.

    Raises:
        DataError: it cannot be read, or a line is not UTF-8.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    text = line.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{path}, line {number}: byte {error.start + 1} of the line is not UTF-8; convert the file, "
                        "from Latin-1 say with: iconv -f latin1 -t utf-8"
                    ) from None
                text = text.rstrip("\r\n")
                yield text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}") if number == 1 else text
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _require(path: Path, side: str) -> None:
    if not path.is_file():
        raise DataError(
            f"task.{side}: there is no file {str(path)!r} (looked from {Path.cwd()}); "
            f"for a Hugging Face dataset write task.source={PREFIX}NAME"
        )


def _embedded() -> ParallelSource:
    def part(name: str) -> Parallel:
        return Parallel(read=lambda: iter(embedded.sentences()[name]), place=lambda row, side: f"{name}, row {row + 1}")

    return ParallelSource(
        description="the numbers built in, English to German", parts={name: part(name) for name in NAMES}
    )


def _two_files(source: Path, target: Path) -> Parallel:
    def read() -> Iterator[Pair]:
        one, other, count = lines(source), lines(target), 0
        while True:
            left, right = next(one, None), next(other, None)
            if left is None and right is None:
                return
            if left is None or right is None:
                more = count + 1 + sum(1 for _ in (other if left is None else one))
                sizes = (count, more) if left is None else (more, count)
                raise DataError(
                    f"{source} has {sizes[0]:,} lines and {target} has {sizes[1]:,}; line i of the one must be "
                    "translated by line i of the other"
                )
            count += 1
            yield left, right

    return Parallel(read=read, place=lambda row, side: f"{(source, target)[side]}, line {row + 1}")


def _tsv(path: Path, columns: Sequence[int]) -> Parallel:
    def read() -> Iterator[Pair]:
        for number, line in enumerate(lines(path), 1):
            cells = line.split("\t")
            if len(cells) < max(columns):
                raise DataError(
                    f"{path}, line {number}: {len(cells)} column(s) between tabs, and task.columns = {list(columns)} "
                    f"need {max(columns)}; for two files of sentences name the other with task.target"
                )
            yield cells[columns[0] - 1], cells[columns[1] - 1]

    return Parallel(read=read, place=lambda row, side: f"{path}, line {row + 1}, column {columns[side]}")


def _folder(folder: Path, *, languages: Sequence[str], columns: Sequence[int]) -> ParallelSource:
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    endings = languages or ["tsv"]

    def find(part: str, ending: str) -> Path:
        found = []
        for path in files:
            *before, last = path.name.removesuffix(".gz").split(".")
            if last == ending and not {name.lower() for name in before}.isdisjoint(NAMES[part]):
                found.append(path)
        if len(found) != 1:
            got = "several: " + ", ".join(path.name for path in found) if found else "none"
            held = ", ".join(path.name for path in files[:8]) + (", …" if len(files) > 8 else "")
            raise DataError(
                f"{folder} must hold one file of the {part} part that ends in .{ending}, as "
                f"{NAMES[part][-1]}.{ending} or NAME.{NAMES[part][-1]}.{ending}.gz, and holds {got} (its files: "
                f"{held or 'none'}); languages are named by task.languages=[en,de], without they are tsv files"
            )
        return found[0]

    chosen = {part: [find(part, ending) for ending in endings] for part in NAMES}
    parts = {
        part: _two_files(paths[0], paths[1]) if len(paths) == 2 else _tsv(paths[0], columns)
        for part, paths in chosen.items()
    }
    return ParallelSource(description=str(folder), parts=parts)


def _dataset(name: str, *, subset: str | None, languages: Sequence[str]) -> ParallelSource:
    if not languages:
        raise RecipeError(f"say which languages of {PREFIX}{name}: task.languages=[en,de], source and target")
    loaded = fetch(name, subset=subset)
    found = {part: next((each for each in names if each in loaded), None) for part, names in NAMES.items()}
    splits = {part: split for part, split in found.items() if split is not None}
    if set(splits) not in ({"train"}, set(NAMES)):
        raise DataError(
            f"the dataset {name!r} has the splits {', '.join(loaded)}; it needs train, validation and test, or train "
            "alone, which is then cut in three"
        )
    parts = {
        part: _dataset_part(loaded[split], f"the split {split} of the dataset {name!r}", languages)
        for part, split in splits.items()
    }
    return ParallelSource(description=f"the dataset {name}", parts=parts)


def _dataset_part(rows: Any, what: str, languages: Sequence[str]) -> Parallel:
    nested = not set(languages) <= set(rows.column_names)
    if nested and _COLUMN not in rows.column_names:
        raise DataError(
            f"{what} has neither a column {_COLUMN!r} nor columns {' and '.join(map(repr, languages))}; it has: "
            f"{', '.join(rows.column_names)}"
        )

    def place(row: int, side: int) -> str:
        return f"{what}, row {row}, {languages[side]}"

    def read() -> Iterator[Pair]:
        for number, row in enumerate(rows):
            held = row[_COLUMN] if nested else row
            yield text(held, number, 0), text(held, number, 1)

    def text(held: Any, row: int, side: int) -> str:
        found = held.get(languages[side]) if isinstance(held, dict) else None
        if not isinstance(found, str):
            known = f"; the row has: {', '.join(held)}" if isinstance(held, dict) else ""
            raise DataError(f"{place(row, side)}: {type(found).__name__}, not text{known}")
        # a sentence is one line, as in a file
        return " ".join(found.splitlines())

    return Parallel(read=read, place=place)
