"""Pictures of a folder of image files, and of a dataset: decoded once, and kept."""

import io
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from eos.errors import DataError
from eos.tasks.cache import Advance, Arrays, cached
from eos.tasks.fetch import fetch
from eos.tasks.pictures.rows import Found, Part, rows_of

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}
#: Changes with the code that decodes, so that what an older one kept is not taken for its own.
VERSION = 1
_NAMES: dict[Part, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "valid", "val"),
    "test": ("test",),
}
_GREY = ("1", "L", "LA")
_COLOURS = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "RGBX", "HSV", "LAB")

#: The pictures of a part, as (name for errors, what opens one), and their labels.
_Parts = dict[Part, tuple[list[tuple[str, Callable[[], Image.Image]]], list[int]]]


def folder(path: Path, *, cache: str) -> Found:
    """Image files in a folder a class, CLASS/*.png, or in train/CLASS, validation/CLASS and test/CLASS.

    Classes are numbered in the order of their names. Files without classes, in the folder itself, are of class 0.

    Raises:
        DataError: no images, a class that training lacks or that is empty, an unreadable image, or one of another size.
    """
    roots = {part: [path / name for name in names if (path / name).is_dir()] for part, names in _NAMES.items()}
    places: dict[Part, Path] = {part: found[0] for part, found in roots.items() if found}
    if "train" not in places:
        places = {"train": path}
    classes = _folders(places["train"])
    parts: _Parts = {}
    identity: list[tuple[str, int, int]] = []
    for part, place in places.items():
        if other := sorted(set(_folders(place)) - set(classes)):
            raise DataError(f"{place / other[0]} is of a class that {places['train']} lacks; it has {len(classes)}")
        files: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(classes or ["."]):
            inside = _images(place / name) if (place / name).is_dir() else []
            if not inside and part == "train":
                raise DataError(f"{place / name} holds no images ({', '.join(sorted(SUFFIXES))})")
            files += inside
            labels += [label] * len(inside)
        if not files:
            raise DataError(f"{place} holds no images ({', '.join(sorted(SUFFIXES))})")
        for file in files:
            status = file.stat()
            identity.append((str(file.resolve()), status.st_size, status.st_mtime_ns))
        parts[part] = ([(str(file), partial(Image.open, file)) for file in files], labels)
    return _decoded(parts, cache=cache, identity={"files": identity}, where=path, classes=len(classes) or None)


def _folders(path: Path) -> list[str]:
    return sorted(inner.name for inner in path.iterdir() if inner.is_dir() and not inner.name.startswith("."))


def _images(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))


def dataset(
    name: str, *, subset: str | None, image: str | None, label: str | None, labelled: bool, cache: str
) -> Found:
    """The splits train, validation and test of a dataset for the package ``datasets``.

    Arguments:
        name: on the hub, or a folder.
        subset: its configuration.
        image, label: columns; None: the first of images, and the first of class labels.

    Raises:
        DataError: it cannot be loaded, has no split train, no such columns, or pictures that cannot be used.
    """
    loaded = fetch(name, subset=subset)
    from datasets import Image as Encoded  # it is there once something was loaded with it

    if "train" not in loaded:
        raise DataError(f"the dataset {name!r} has no split train; it has {', '.join(loaded)}")
    kinds = {column: type(feature).__name__ for column, feature in loaded["train"].features.items()}
    pixels = _column(name, kinds, image, "image", "Image")
    answers = _column(name, kinds, label, "label", "ClassLabel") if labelled else None
    parts: _Parts = {}
    prints: dict[str, str] = {}
    for part, names in _NAMES.items():
        for split in names:
            if split not in loaded or part in parts:
                continue
            held = loaded[split].select_columns([pixels] if answers is None else [pixels, answers])
            held = held.cast_column(pixels, Encoded(decode=False))
            labels = [0] * len(held) if answers is None else _whole(held[answers], f"the dataset {name!r}, {split}")
            opening: list[tuple[str, Callable[[], Image.Image]]] = [
                (f"the dataset {name!r}, {split}, row {row}", partial(_opened, held, row, pixels))
                for row in range(len(held))
            ]
            parts[part] = (opening, labels)
            prints[split] = str(loaded[split]._fingerprint)
    classes = None
    if answers is not None and kinds[answers] == "ClassLabel":
        classes = int(loaded["train"].features[answers].num_classes)
    identity = {"dataset": name, "prints": prints, "columns": [pixels, answers]}
    return _decoded(parts, cache=cache, identity=identity, where=f"the dataset {name!r}", classes=classes)


def _column(name: str, kinds: dict[str, str], wanted: str | None, option: str, kind: str) -> str:
    if wanted is not None and wanted in kinds:
        return wanted
    of_kind = [column for column, each in kinds.items() if each == kind]
    if wanted is None and of_kind:
        return of_kind[0]
    looked = f"no column {wanted!r}" if wanted is not None else f"no column of {kind}s"
    raise DataError(f"the dataset {name!r} has {looked}; name one with task.{option}: {', '.join(kinds)}")


def _whole(labels: Sequence[Any], where: str) -> list[int]:
    for row, value in enumerate(labels):
        if not isinstance(value, int):
            raise DataError(f"{where}, row {row}: a label must be a whole number, got {value!r}")
    return list(labels)


def _opened(rows: Any, row: int, column: str) -> Image.Image:
    held = rows[row][column]
    return Image.open(held["path"] if held["bytes"] is None else io.BytesIO(held["bytes"]))


def _decoded(parts: _Parts, *, cache: str, identity: dict[str, Any], where: Path | str, classes: int | None) -> Found:
    whole = {"pictures": VERSION, **identity}
    count = sum(len(labels) for _, labels in parts.values())

    def make(advance: Advance) -> Arrays:
        arrays: Arrays = {}
        for part, (opening, _) in parts.items():
            arrays[part] = _stacked(opening, advance)
        return arrays

    arrays = cached(cache, whole, make, what="decoding pictures", of=count)
    rows = {
        part: rows_of(arrays[part], np.array(labels, np.int64), where=f"{where} ({part})")
        for part, (_, labels) in parts.items()
    }
    return Found(rows=rows, classes=classes)


def _stacked(opening: Iterable[tuple[str, Callable[[], Image.Image]]], advance: Advance) -> NDArray[np.uint8]:
    """Pictures [N,H,W,C] of one size; grey ones among coloured ones become three equal colours."""
    pictures: list[NDArray[np.uint8]] = []
    first = ""
    for name, open_one in opening:
        picture = _pixels(name, open_one)
        if pictures and picture.shape[:2] != pictures[0].shape[:2]:
            (height, width), (other, wide) = picture.shape[:2], pictures[0].shape[:2]
            raise DataError(
                f"{name} is {height} pixels high and {width} wide, and {first} is {other} and {wide}: all must be of "
                "one size"
            )
        first = first or name
        pictures.append(picture)
        advance(1)
    if not pictures:
        return np.zeros((0, 0, 0, 1), np.uint8)
    channels = max(picture.shape[2] for picture in pictures)
    return np.stack([np.broadcast_to(picture, (*picture.shape[:2], channels)) for picture in pictures])


def _pixels(name: str, open_one: Callable[[], Image.Image]) -> NDArray[np.uint8]:
    try:
        with open_one() as picture:
            if picture.mode not in (*_GREY, *_COLOURS):
                raise DataError(f"{name} has pixels of the mode {picture.mode}; save it as 8-bit grey or RGB")
            if picture.mode in _GREY:
                return np.asarray(picture.convert("L"))[..., None]
            return np.asarray(picture.convert("RGB"))
    # what Pillow raises of broken files is not one family
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"cannot read the image {name}: {error}") from error
