"""Where text comes from: a file, a folder, a glob, a dataset, or the sources of Python's standard library."""

import glob
import gzip
import platform
import re
import sysconfig
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from eos.errors import DataError
from eos.tasks.fetch import PREFIX, fetch

Read = Callable[[], Iterator[bytes]]

PARTS = ("train", "validation", "test")
#: What the name of a file of each part holds, between anything but letters.
NAMES = {"train": {"train", "training"}, "validation": {"valid", "validation", "val", "dev"}, "test": {"test"}}
BINARY_SHARE = 0.01
_NOT_LIBRARY = {"site-packages", "dist-packages", "test", "tests", "idle_test"}


@dataclass(frozen=True, kw_only=True)
class Source:
    """Documents of text, readable as often as wished.

    Arguments:
        description: what the source is, for messages.
        read: yields every document that isn't empty, always in the same order.
        parts: the same of each part by itself, where the source has parts of its own.
    """

    description: str
    read: Read
    parts: Mapping[str, Read] | None = None

    def documents(self) -> Iterator[tuple[str | None, bytes]]:
        """Every document and its part; None where the source has none of its own."""
        for part, read in [(None, self.read)] if self.parts is None else self.parts.items():
            for document in read():
                yield part, document


def open_source(
    source: str | None,
    *,
    subset: str | None,
    split: str,
    column: str,
    given: bool = False,
    lines: bool = False,
    strict: bool = False,
) -> Source:
    """The source that a recipe names.

    Arguments:
        source: a path, a glob, ``hf:`` and the name of a Hugging Face dataset, or None for Python's own sources.
        subset, split, column: of a dataset: its configuration, its split and the column that holds the text.
        given: the source has a training, a validation and a test part of its own: files whose names say so, or the
            splits of a dataset, whatever ``split`` is.
        lines: the rows of a dataset are the lines of one document, empty ones too.
        strict: refuse any byte of a file that is not UTF-8, not only files that hold many.

    Raises:
        DataError: nothing is there, or it isn't text, or a part is missing.
    """
    if source is not None and source.startswith(PREFIX):
        name = source.removeprefix(PREFIX)
        reads = {
            part: _dataset(name, subset=subset, split=part, column=column, lines=lines)
            for part in (PARTS if given else (split,))
        }
        description = f"the dataset {name}"
        return _of_parts(description, reads) if given else Source(description=description, read=reads[split])
    if source is None:
        if given:
            raise DataError("Python's standard library has no parts of its own; name a text with task.source")
        return _standard_library()
    files = _found(source)
    if not given:
        return Source(description=source, read=_reading(files, strict=strict))
    parted = _parted(source, files)
    return _of_parts(source, {part: _reading(each, strict=strict) for part, each in parted.items()})


def _of_parts(description: str, reads: Mapping[str, Read]) -> Source:
    return Source(
        description=description, read=lambda: chain.from_iterable(read() for read in reads.values()), parts=reads
    )


def _parted(source: str, files: list[Path]) -> dict[str, list[Path]]:
    """The files of every part, by their names; those that name none are left out."""
    found: dict[str, list[Path]] = {part: [] for part in PARTS}
    for file in files:
        words = set(re.split("[^a-z]+", file.name.lower()))
        parts = [part for part, names in NAMES.items() if words & names]
        if len(parts) > 1:
            raise DataError(f"{file} names two parts, {' and '.join(parts)}; rename it, or leave it out with a glob")
        for part in parts:
            found[part].append(file)
    missing = [part for part, each in found.items() if not each]
    if missing:
        names = ", ".join(file.name for file in files[:6]) + (", …" if len(files) > 6 else "")
        raise DataError(
            f"{source} has no file of the {' and '.join(missing)} part: task.parts=given takes files whose names hold "
            f"train, valid and test, and there are {names}; add what is missing, or cut one text with task.parts=cut"
        )
    return found


def _found(source: str) -> list[Path]:
    """The files of a path or glob."""
    path = Path(source).expanduser()
    if path.is_dir():
        return _some(_below(path), f"the folder {source} holds no file; name one that does")
    if path.exists():
        return [path]
    if glob.has_magic(source):
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
        files = [file for file in found if file.is_file()]
        return _some(files, f"no file matches {source!r}; quote the pattern, and write ** for any depth")
    raise DataError(
        f"there is no file or folder {source!r} (looked from {Path.cwd()}); "
        f"for a Hugging Face dataset write {PREFIX}{source}"
    )


def _standard_library() -> Source:
    root = Path(sysconfig.get_path("stdlib"))
    files = [path for path in _below(root, "*.py") if _NOT_LIBRARY.isdisjoint(path.relative_to(root).parts)]
    description = f"the standard library of Python {platform.python_version()}"
    _some(files, f"{description} has no sources in {root}; name a text with task.source=PATH")
    return Source(description=description, read=_reading(files, strict=False))


def _below(folder: Path, pattern: str = "*") -> list[Path]:
    """The files below a folder, hidden ones left out, in an order that is the same on every machine."""
    found = (path for path in folder.rglob(pattern) if path.is_file())
    seen = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return sorted(seen, key=lambda path: path.relative_to(folder).as_posix())


def _some(files: list[Path], when_none: str) -> list[Path]:
    if not files:
        raise DataError(when_none)
    return files


def _reading(files: list[Path], *, strict: bool) -> Read:
    def read() -> Iterator[bytes]:
        for file in files:
            if data := _read(file):
                _check_text(str(file), data)
                if strict:
                    _check_characters(str(file), data)
                yield data

    return read


def _read(file: Path) -> bytes:
    try:
        data = file.read_bytes()
        return gzip.decompress(data) if file.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {file}: {error}") from error


def _check_text(name: str, data: bytes) -> None:
    if (position := data.find(b"\0")) >= 0:
        raise DataError(
            f"{name} is not text: byte {position} is NUL; leave it out with a glob such as 'folder/**/*.txt', "
            "or convert UTF-16 with: iconv -f utf-16 -t utf-8"
        )
    lone = len(data) - len(data.decode("utf-8", "ignore").encode())
    if lone > BINARY_SHARE * len(data):
        raise DataError(
            f"{name} is not UTF-8 text: {lone} of its {len(data)} bytes cannot be decoded (at most "
            f"{BINARY_SHARE:.0%} may be so); convert it, from Latin-1 say with: iconv -f latin1 -t utf-8"
        )


def _check_characters(name: str, data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8, and task.tokens=words reads "
            "characters; convert the file, from Latin-1 say with: iconv -f latin1 -t utf-8"
        ) from error


def _dataset(name: str, *, subset: str | None, split: str, column: str, lines: bool) -> Read:
    rows = fetch(name, subset=subset, split=split)
    if column not in rows.column_names:
        raise DataError(
            f"the dataset {name!r} has no column {column!r}; name one with task.column: {', '.join(rows.column_names)}"
        )

    def texts() -> Iterator[str]:
        for index, row in enumerate(rows.select_columns(column)):
            if not isinstance(text := row[column], str):
                raise DataError(
                    f"row {index} of the dataset {name!r} holds {type(text).__name__} in column {column!r}, not text"
                )
            yield text

    def read() -> Iterator[bytes]:
        if not lines:
            yield from (text.encode() for text in texts() if text)
        elif document := "".join(text if text.endswith("\n") else f"{text}\n" for text in texts()):
            yield document.encode()

    return read
