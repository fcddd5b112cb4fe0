"""Pictures in idx files, as MNIST has them, and in npz archives."""

import gzip
import zipfile
import zlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eos.errors import DataError
from eos.tasks.pictures.rows import Found, Part, Rows, rows_of

#: How an idx file of unsigned bytes begins, before its number of axes.
_UNSIGNED = b"\0\0\x08"
#: What the official files of each part begin with.
_PARTS: dict[Part, str] = {"train": "train", "test": "t10k"}


def read_idx(file: Path, *, axes: int) -> NDArray[np.uint8]:
    """The unsigned bytes of an idx file, .gz too.

    Raises:
        DataError: it cannot be read, is another kind of file, or ends too soon or too late.
    """
    try:
        data = file.read_bytes()
        data = gzip.decompress(data) if file.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {file}: {error}") from error
    wanted = _UNSIGNED + bytes([axes])
    if data[:4] != wanted:
        raise DataError(
            f"{file} is no idx file of unsigned bytes with {axes} axes: it begins with {data[:4].hex(' ') or 'nothing'}"
            f", and must begin with {wanted.hex(' ')}"
        )
    header = 4 + 4 * axes
    if len(data) < header:
        raise DataError(f"{file} is truncated: it ends inside its header of {header} bytes")
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", axes, 4))
    size, got = prod(shape), len(data) - header
    if got != size:
        row = f", and ends inside row {got // prod(shape[1:]) + 1}" if got < size else ""
        raise DataError(
            f"{file} is truncated or damaged: its header says {' × '.join(map(str, shape))} = {size:,} bytes, "
            f"it has {got:,}{row}"
        )
    return np.frombuffer(data, np.uint8, size, header).reshape(shape)


def is_idx(file: Path) -> bool:
    """Whether a file is named as idx files are."""
    return file.name.removesuffix(".gz").endswith(("idx3-ubyte", "idx1-ubyte"))


def idx_file(images: Path, *, labelled: bool) -> Found:
    """One file of pictures, and beside it the one of their labels, named labels-idx1 where it has images-idx3.

    Raises:
        DataError: either is missing or malformed.
    """
    return Found(rows={"train": _idx_rows(images, labelled=labelled)})


def idx_folder(folder: Path, *, labelled: bool) -> Found | None:
    """The official files of a folder: train-images-idx3-ubyte, t10k-images-idx3-ubyte and their labels, .gz too.

    Returns:
        None where the folder holds no idx files.

    Raises:
        DataError: idx files of other names alone, or malformed ones.
    """
    files = sorted(file for file in folder.iterdir() if file.is_file() and is_idx(file))
    if not files:
        return None
    pictures = [file for file in files if "idx3" in file.name]
    rows: dict[Part, Rows] = {}
    for part, prefix in _PARTS.items():
        if named := [file for file in pictures if file.name.startswith(f"{prefix}-images")]:
            rows[part] = _idx_rows(named[0], labelled=labelled)
    if "train" not in rows:
        raise DataError(
            f"{folder} has no train-images-idx3-ubyte(.gz), and holds {', '.join(file.name for file in files)}; name "
            "one file of images with task.source=FILE to split it"
        )
    return Found(rows=rows)


def _idx_rows(images: Path, *, labelled: bool) -> Rows:
    pixels = read_idx(images, axes=3)
    if not labelled:
        return rows_of(pixels, None, where=str(images))
    beside = images.with_name(images.name.replace("images", "labels").replace("idx3", "idx1"))
    if beside == images:
        raise DataError(f"{images}: name it …images-idx3-ubyte, so that its labels are found in …labels-idx1-ubyte")
    if not beside.is_file():
        raise DataError(f"{images} has no labels beside it: there is no file {beside}")
    labels = read_idx(beside, axes=1).astype(np.int64)
    return rows_of(pixels, labels, where=str(images), labels_in=str(beside))


def archive(file: Path, *, labelled: bool) -> Found:
    """An npz file with x_train, y_train and, where it has a test part, x_test and y_test.

    Raises:
        DataError: it cannot be read, an array is missing, or is of another type.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files if name in ("x_train", "y_train", "x_test", "y_test")}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"cannot read {file} as an npz archive of numbers: {error}") from error
    found: dict[Part, Rows] = {"train": _archive_rows(file, held, "train", labelled=labelled)}
    if "x_test" in held:
        found["test"] = _archive_rows(file, held, "test", labelled=labelled)
    return Found(rows=found)


def _archive_rows(file: Path, held: dict[str, NDArray[Any]], part: str, *, labelled: bool) -> Rows:
    names = [f"x_{part}", f"y_{part}"] if labelled else [f"x_{part}"]
    for name in names:
        if name not in held:
            raise DataError(f"{file} has no array {name}; it holds {', '.join(held) or 'none of those looked for'}")
    images = held[f"x_{part}"]
    if images.dtype != np.uint8:
        raise DataError(f"{file}, x_{part}: pixels must be uint8 from 0 to 255, got {images.dtype}")
    where = f"{file} ({part})"
    if not labelled:
        return rows_of(images, None, where=where)
    labels = held[f"y_{part}"]
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{file}, y_{part}: labels must be integers, got {labels.dtype}")
    # some archives keep labels as a column
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    return rows_of(images, labels.astype(np.int64), where=where, labels_in=f"y_{part}")
