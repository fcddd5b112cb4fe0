"""Where text comes from: a file, a folder, a glob, a dataset, or the sources of Python's standard library."""

import glob
import gzip
import platform
import sysconfig
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from eos.errors import DataError

DATASET_PREFIX = "hf:"
BINARY_SHARE = 0.01
_NOT_LIBRARY = {"site-packages", "dist-packages", "test", "tests", "idle_test"}


@dataclass(frozen=True, kw_only=True)
class Source:
    """Documents of text, readable as often as wished.

    Arguments:
        description: what the source is, for messages.
        read: yields every document that isn't empty, always in the same order.
    """

    description: str
    read: Callable[[], Iterator[bytes]]


def open_source(source: str | None, *, subset: str | None, split: str, column: str) -> Source:
    """The source that a recipe names.

    Arguments:
        source: a path, a glob, ``hf:`` and the name of a Hugging Face dataset, or None for Python's own sources.
        subset, split, column: of a dataset: its configuration, its split and the column that holds the text.

    Raises:
        DataError: nothing is there, or it isn't text.
    """
    if source is None:
        return _standard_library()
    if source.startswith(DATASET_PREFIX):
        return _dataset(source.removeprefix(DATASET_PREFIX), subset=subset, split=split, column=column)
    path = Path(source).expanduser()
    if path.is_dir():
        return _files(source, _below(path), f"the folder {source} holds no file; name one that does")
    if path.exists():
        return _files(source, [path], "")
    if glob.has_magic(source):
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
        files = [file for file in found if file.is_file()]
        return _files(source, files, f"no file matches {source!r}; quote the pattern, and write ** for any depth")
    raise DataError(
        f"there is no file or folder {source!r} (looked from {Path.cwd()}); "
        f"for a Hugging Face dataset write {DATASET_PREFIX}{source}"
    )


def _standard_library() -> Source:
    root = Path(sysconfig.get_path("stdlib"))
    files = [path for path in _below(root, "*.py") if _NOT_LIBRARY.isdisjoint(path.relative_to(root).parts)]
    description = f"the standard library of Python {platform.python_version()}"
    return _files(description, files, f"{description} has no sources in {root}; name a text with task.source=PATH")


def _below(folder: Path, pattern: str = "*") -> list[Path]:
    """The files below a folder, hidden ones left out, in an order that is the same on every machine."""
    found = (path for path in folder.rglob(pattern) if path.is_file())
    seen = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return sorted(seen, key=lambda path: path.relative_to(folder).as_posix())


def _files(description: str, files: list[Path], when_none: str) -> Source:
    if not files:
        raise DataError(when_none)

    def read() -> Iterator[bytes]:
        for file in files:
            if data := _read(file):
                _check_text(str(file), data)
                yield data

    return Source(description=description, read=read)


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


def _dataset(name: str, *, subset: str | None, split: str, column: str) -> Source:
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"the source {DATASET_PREFIX}{name} needs the package datasets: pip install 'eos-playground[datasets]'"
        ) from error
    try:
        rows = datasets.load_dataset(name, subset, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"cannot load the dataset {name!r} (task.subset={subset}, task.split={split}): {reason}"
        ) from error
    if column not in rows.column_names:
        raise DataError(
            f"the dataset {name!r} has no column {column!r}; name one with task.column: {', '.join(rows.column_names)}"
        )

    def read() -> Iterator[bytes]:
        for index, row in enumerate(rows.select_columns(column)):
            if not isinstance(text := row[column], str):
                raise DataError(
                    f"row {index} of the dataset {name!r} holds {type(text).__name__} in column {column!r}, not text"
                )
            if text:
                yield text.encode()

    return Source(description=f"the dataset {name}", read=read)
