"""Files that rows are read from, line by line: found, told apart by what the disk says of them, and read or refused."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

from eos.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """A file, and what tells it from an earlier one of its name.

    Arguments:
        path: of the file.
        size: in bytes.
        changed: when it was last written, in nanoseconds.
    """

    path: Path
    size: int
    changed: int

    @property
    def identity(self) -> list[str | int]:
        """The same, for a hash."""
        return [str(self.path.resolve()), self.size, self.changed]


def stamp(path: Path, *, option: str) -> Stamp:
    """What the disk says of a file.

    Arguments:
        option: the one that names it, or the folder it is in.

    Raises:
        DataError: it is not there, or is no file.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; set {option} to where the data are") from error
    if not path.is_file():
        raise DataError(f"{path} is not a file; set {option} to where the data are")
    return Stamp(path=path, size=found.st_size, changed=found.st_mtime_ns)


def open_file(path: Path) -> BufferedIOBase:
    """A file to read bytes from; what ends in .gz is unpacked on the way."""
    return gzip.GzipFile(path) if path.suffix == ".gz" else path.open("rb")


#: What reading a file raises where it is not there any more, or damaged.
UNREADABLE = (OSError, EOFError, zlib.error)


def lines_of(file: Stamp) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not empty, without their ends, with their numbers from 1.

    Raises:
        DataError: the file is damaged, or cannot be read.
    """
    try:
        with open_file(file.path) as opened:
            for number, line in enumerate(opened, 1):
                if text := line.rstrip(b"\r\n"):
                    yield number, text
    except UNREADABLE as error:
        raise DataError(f"cannot read {file.path}: {error}") from error
