"""Texts with a class each: a folder of a folder a class, tables of two columns, or a dataset."""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eos.errors import DataError
from eos.tasks.fetch import PREFIX, fetch
from eos.tasks.lra.files import UNREADABLE, Stamp, lines_of, open_file, stamp

_PARTS = ("train", "validation", "test")
_TABLES = ("tsv", "csv", "jsonl")


@dataclass(frozen=True, kw_only=True)
class Text:
    """One of the texts.

    Arguments:
        where: file and row.
        label: 0 ≤ label < classes.
        data: its bytes; at least one.
    """

    where: str
    label: int
    data: bytes


@dataclass(frozen=True, kw_only=True)
class LabelledText:
    """Where texts come from.

    Arguments:
        description: what it is, for messages.
        identity: what tells it from what stood there before; JSON.
        parts: those of train, validation and test that it has; train always.
        read: yields the texts of a part, always in the same order.
    """

    description: str
    identity: list[Any]
    parts: tuple[str, ...]
    read: Callable[[str], Iterator[Text]]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What a table or dataset names its columns, and how many classes there are."""

    text: str
    label: str
    classes: int


def open_labelled(source: str | None, columns: Columns, *, subset: str | None = None) -> LabelledText:
    """The texts that a recipe names.

    Arguments:
        source: a folder train/CLASS/*.txt, where classes are numbered in the order of their names, with test and
            validation beside train where there are such parts; a folder with train.tsv (or .csv, .jsonl, each with
            .gz too), likewise; one such table; or ``hf:`` and the name of a Hugging Face dataset.
        subset: configuration of the dataset.

    Raises:
        DataError: nothing of this kind is there.
    """
    if source is None:
        raise DataError(
            "task.source is not set: name the unpacked aclImdb folder, a table, or a dataset, as in "
            f"task.source={PREFIX}stanfordnlp/imdb"
        )
    if source.startswith(PREFIX):
        return _dataset(source.removeprefix(PREFIX), columns, subset)
    path = Path(source).expanduser()
    if path.is_file():
        return _tables({"train": path}, columns)
    if not path.is_dir():
        raise DataError(f"there is no file or folder {source!r} (looked from {Path.cwd()}); set task.source")
    if (path / "train").is_dir():
        return _folders(path, columns.classes)
    found = {part: table for part in _PARTS if (table := _table(path, part)) is not None}
    if "train" not in found:
        raise DataError(
            f"{path} holds neither a folder train with a folder of texts for each class, nor train.tsv, train.csv or "
            "train.jsonl; set task.source"
        )
    return _tables(found, columns)


def _folders(root: Path, classes: int) -> LabelledText:
    parts = {part: root / part for part in _PARTS if (root / part).is_dir()}
    files: dict[str, list[tuple[int, Path]]] = {}
    names: list[str] | None = None
    for part, folder in parts.items():
        # Reviews without a label stand beside the others in the published folder.
        found = sorted(inner.name for inner in folder.iterdir() if inner.is_dir() and inner.name != "unsup")
        names = found if names is None else names
        if found != names or len(found) != classes:
            raise DataError(
                f"{folder} holds folders for the classes {', '.join(found) or '(none)'}; needed are the same "
                f"{classes} in every part; set task.classes to how many there are"
            )
        files[part] = [
            (label, file) for label, name in enumerate(names) for file in sorted((folder / name).glob("*.txt"))
        ]
        for label, name in enumerate(names):
            if not any(held == label for held, _ in files[part]):
                raise DataError(f"{folder / name} holds no text: files NAME.txt are looked for")

    def read(part: str) -> Iterator[Text]:
        for label, file in files[part]:
            try:
                data = file.read_bytes()
            except OSError as error:
                raise DataError(f"cannot read {file}: {error.strerror or error}") from error
            yield _text(str(file), label, data)

    stamps = [stamp(file, option="task.source").identity for part in files.values() for _, file in part]
    return LabelledText(description=str(root), identity=stamps, parts=tuple(parts), read=read)


def _text(where: str, label: int, data: bytes) -> Text:
    if not data:
        raise DataError(f"{where}: the text is empty; leave it out")
    return Text(where=where, label=label, data=data)


def _table(folder: Path, part: str) -> Path | None:
    names = [f"{part}.{kind}{packed}" for kind in _TABLES for packed in ("", ".gz")]
    found = [folder / name for name in names if (folder / name).is_file()]
    if len(found) > 1:
        raise DataError(f"{found[0]} and {found[1].name} are both there; keep one of them")
    return found[0] if found else None


def _tables(files: dict[str, Path], columns: Columns) -> LabelledText:
    stamps = {part: stamp(file, option="task.source") for part, file in files.items()}
    for file in files.values():
        _kind(file)

    def read(part: str) -> Iterator[Text]:
        file = stamps[part]
        reader = {"tsv": _tsv, "csv": _csv, "jsonl": _jsonl}[_kind(file.path)]
        for row, label, data in reader(file, columns):
            where = f"{file.path}, row {row}"
            yield _text(where, label_of(label, classes=columns.classes, where=where), data)

    return LabelledText(
        description=", ".join(map(str, files.values())),
        identity=[columns.text, columns.label, *(each.identity for each in stamps.values())],
        parts=tuple(files),
        read=read,
    )


def _kind(file: Path) -> str:
    kind = (file.with_suffix("") if file.suffix == ".gz" else file).suffix.removeprefix(".")
    if kind not in _TABLES:
        raise DataError(f"{file} must end in .tsv, .csv or .jsonl, or one of these and .gz")
    return kind


def label_of(value: Any, *, classes: int, where: str) -> int:
    """The class that a table says, such as 1 or 1.0.

    Raises:
        DataError: it is no whole number, or none of the classes.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not number.is_integer():
        raise DataError(f"{where}: the label must be a whole number from 0 to {classes - 1}, got {value!r}")
    if not 0 <= number < classes:
        raise DataError(f"{where}: label {number:.0f} is not one of {classes} classes (0 to {classes - 1})")
    return int(number)


_Row = tuple[int, Any, bytes]


def _tsv(file: Stamp, columns: Columns) -> Iterator[_Row]:
    header: list[str] | None = None
    places = (0, 0)
    for row, line in lines_of(file):
        fields = line.split(b"\t")
        if header is None:
            header = [field.decode(errors="replace") for field in fields]
            places = _places(file, header, columns)
            continue
        if len(fields) != len(header):
            raise DataError(f"{file.path}, row {row}: has {len(fields)} fields, and the header has {len(header)}")
        yield row, fields[places[0]].decode(errors="replace"), fields[places[1]]


def _csv(file: Stamp, columns: Columns) -> Iterator[_Row]:
    row = 0
    try:
        with open_file(file.path) as opened:
            # Decoded line by line, so that an error is told of the row it is in.
            reader = csv.reader((line.decode() for line in opened), strict=True)
            header: list[str] | None = None
            places = (0, 0)
            for row, fields in enumerate(reader, 1):
                if header is None:
                    header = fields
                    places = _places(file, header, columns)
                elif len(fields) != len(header):
                    raise DataError(
                        f"{file.path}, row {row}: has {len(fields)} fields, and the header has {len(header)}"
                    )
                else:
                    yield row, fields[places[0]], fields[places[1]].encode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file.path}, row {row + 1} is not UTF-8 ({error.reason}); convert the file, from Latin-1 say with: "
            "iconv -f latin1 -t utf-8"
        ) from error
    except csv.Error as error:
        raise DataError(f"{file.path}, row {row + 1}: {error}") from error
    except UNREADABLE as error:
        raise DataError(f"cannot read {file.path}: {error}") from error


def _jsonl(file: Stamp, columns: Columns) -> Iterator[_Row]:
    for row, line in lines_of(file):
        where = f"{file.path}, row {row}"
        try:
            found = json.loads(line)
        except ValueError as error:
            raise DataError(f"{where} is not JSON: {error}") from error
        for name in (columns.label, columns.text):
            if not isinstance(found, dict) or name not in found:
                raise DataError(f"{where} must be an object with {columns.label!r} and {columns.text!r}")
        yield row, found[columns.label], _encoded(found[columns.text], where)


def _encoded(text: Any, where: str) -> bytes:
    if not isinstance(text, str):
        raise DataError(f"{where}: the text must be a string, got {type(text).__name__}")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: the text cannot be written in UTF-8: {error.reason}") from error


def _places(file: Stamp, header: list[str], columns: Columns) -> tuple[int, int]:
    for option, name in (("label", columns.label), ("text", columns.text)):
        if name not in header:
            raise DataError(f"{file.path}, row 1: no column {name!r}; name one with task.{option}: {', '.join(header)}")
    return header.index(columns.label), header.index(columns.text)


def _dataset(name: str, columns: Columns, subset: str | None) -> LabelledText:
    splits = fetch(name, subset=subset)
    parts = tuple(part for part in _PARTS if part in splits)
    if "train" not in parts:
        raise DataError(f"the dataset {name!r} has no split train, it has {', '.join(splits)}")
    for part in parts:
        for option, column in (("label", columns.label), ("text", columns.text)):
            if column not in splits[part].column_names:
                raise DataError(
                    f"the dataset {name!r} has no column {column!r}; name one with task.{option}: "
                    f"{', '.join(splits[part].column_names)}"
                )

    def read(part: str) -> Iterator[Text]:
        for index, row in enumerate(splits[part].select_columns([columns.label, columns.text])):
            where = f"the dataset {name!r}, split {part}, row {index}"
            label = label_of(row[columns.label], classes=columns.classes, where=where)
            yield _text(where, label, _encoded(row[columns.text], where))

    identity = [name, subset, columns.text, columns.label, *(splits[part]._fingerprint for part in parts)]
    return LabelledText(description=f"the dataset {name}", identity=identity, parts=parts, read=read)
