"""Where tokens are kept: made once, mapped into memory, found again by the hash of what they were made from."""

import json
import logging
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from eos.errors import DataError

TokenArray = npt.NDArray[np.unsignedinteger]
_LOG = logging.getLogger(__name__)
_INDEX = "index.json"
_BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class TokenFile:
    """The tokens of one part: opened anew at each use, so that it travels between processes as a path.

    Arguments:
        path: the file, nothing but the ids in this machine's byte order.
        dtype: ``uint16`` or ``uint32``.
        tokens: how many.
        checksum: CRC-32 of the file.
    """

    path: Path
    dtype: str
    tokens: int
    checksum: int

    def open(self) -> TokenArray:
        """The ids, mapped into memory and read-only."""
        return np.memmap(self.path, dtype=self.dtype, mode="r", shape=(self.tokens,))

    def is_whole(self) -> bool:
        """Whether the file still is what was written."""
        if not self.path.is_file() or self.path.stat().st_size != self.tokens * np.dtype(self.dtype).itemsize:
            return False
        checksum = 0
        with self.path.open("rb") as file:
            while block := file.read(_BLOCK):
                checksum = zlib.crc32(block, checksum)
        return checksum == self.checksum


class TokenWriter:
    """Writes one :class:`TokenFile`, front to back."""

    def __init__(self, file: BinaryIO, dtype: str) -> None:
        self._file = file
        self._dtype = dtype
        self._tokens = 0
        self._checksum = 0

    def write(self, ids: npt.NDArray[np.uint32]) -> None:
        """Append tokens."""
        data = ids.astype(self._dtype).tobytes()
        self._file.write(data)
        self._tokens += ids.size
        self._checksum = zlib.crc32(data, self._checksum)

    def finish(self, path: Path) -> TokenFile:
        """Close the file, and say what it holds."""
        self._file.close()
        return TokenFile(path=path, dtype=self._dtype, tokens=self._tokens, checksum=self._checksum)


def stored(
    folder: Path, *, parts: tuple[str, ...], vocabulary: int, fill: Callable[[dict[str, TokenWriter]], None]
) -> dict[str, TokenFile]:
    """The token files of ``parts`` in ``folder``; made by ``fill`` where they aren't there whole.

    They are made beside the folder and moved into it file by file, each in one step: several processes may do so at
    once, for what they make is the same, and one that is stopped leaves nothing half made.

    Raises:
        DataError: the folder cannot be written.
    """
    if (files := _load(folder, parts)) is not None:
        return files
    dtype = "uint16" if vocabulary <= 1 << 16 else "uint32"
    with _writing(folder), _beside(folder) as building:
        writers = {part: TokenWriter((building / f"{part}.bin").open("wb"), dtype) for part in parts}
        fill(writers)
        files = {part: writer.finish(folder / f"{part}.bin") for part, writer in writers.items()}
        index = {part: {**asdict(file), "path": file.path.name} for part, file in files.items()}
        (building / _INDEX).write_text(json.dumps(index, indent=1))
        folder.mkdir(exist_ok=True)
        # The index comes last: without it the folder counts as empty.
        for name in (*(file.path.name for file in files.values()), _INDEX):
            os.replace(building / name, folder / name)
    return files


def write_text(path: Path, text: str) -> None:
    """Write a file in one step: a reader sees the old content or the new, never a part."""
    with _writing(path), _beside(path) as building:
        (building / path.name).write_text(text, encoding="utf-8")
        os.replace(building / path.name, path)


def read_text(path: Path) -> str:
    """The content of a file that :func:`write_text` wrote."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the system says on a full or forbidden disk into an error that says what to do."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}; make room there, or name another place "
            "(task.cache=FOLDER keeps the tokens)"
        ) from error


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A new empty folder on the same disk as ``path``, gone afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield building
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _load(folder: Path, parts: tuple[str, ...]) -> dict[str, TokenFile] | None:
    """What an earlier call left in ``folder``, or None when that is nothing, or damaged."""
    index = folder / _INDEX
    if not index.exists():
        return None
    try:
        saved = json.loads(index.read_text())
        files = {part: TokenFile(**{**saved[part], "path": folder / saved[part]["path"]}) for part in parts}
        if all(file.is_whole() for file in files.values()):
            return files
    except (OSError, ValueError, KeyError, TypeError) as error:
        _LOG.debug("%s: %r", index, error)
    _LOG.warning("the stored tokens in %s are damaged; making them anew", folder)
    return None
