"""Whether two dots of a picture are joined by a dashed curve, read pixel by pixel (LRA Pathfinder and Path-X).

Equation: y(x_1 … x_T), x_t a pixel of the picture, row by row, T = size²
Metric: accuracy over pictures
Chance: 1/2
Floor: the more common class
Source: arXiv:2011.04006, sections 2.2.5 and 2.2.6; its public reader, lra_benchmarks/data/pathfinder.py;
    arXiv:1805.08315
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from eos.config import option, options
from eos.errors import DataError
from eos.tasks.cache import Advance, Arrays, cached
from eos.tasks.labelled.task import AbstractLabelledTask, Part
from eos.tasks.lra.files import Stamp, lines_of, stamp
from eos.tasks.lra.rows import cut_apart
from eos.tasks.task import Batch


class PathfinderTask(AbstractLabelledTask):
    """Grey levels are ids, or real numbers in −1 … 1: x/127.5 − 1. The parts are 8, 1 and 1 tenths, always the same.

    Files of no bytes are left out, as by the published reader; the published folders have one.
    """

    @options
    class Options:
        """Which pictures, and what a model reads of them."""

        source: str | None = option(None, "the folder with curv_contour_length_14, such as pathfinder32")
        difficulty: Literal["easy", "intermediate", "hard"] = option(
            "hard", "the folder in it: curv_baseline, curv_contour_length_9 or curv_contour_length_14"
        )
        size: int = option(32, "pixels of a side: 32, or 128 for Path-X", low=1, high=256)
        inputs: Literal["numbers", "ids"] = option("numbers", "what a pixel is")
        pool: Literal["mean", "last"] = option("mean", "the class is read off the mean over tokens, or the last token")
        cache: str = option("~/.cache/eos", "folder that keeps the pictures between runs")

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._images: NDArray[np.uint8] = np.empty((0, 0), np.uint8)
        self._labels: NDArray[np.int64] = np.empty(0, np.int64)
        self._parts: dict[str, NDArray[np.int64]] | None = None
        self._empty = 0

    def load(self) -> None:
        if self._parts is not None:
            return
        chosen: PathfinderTask.Options = self.options
        if chosen.source is None:
            raise DataError("task.source is not set: name the folder that holds curv_contour_length_14")
        folder = Path(chosen.source).expanduser() / _FOLDERS[chosen.difficulty]
        found = sorted((folder / "metadata").glob("*.npy"), key=lambda path: (len(path.stem), path.stem))
        if not found:
            raise DataError(f"{folder} holds no metadata/NUMBER.npy; set task.source to the folder above it")
        lists = [stamp(path, option="task.source") for path in found]
        identity = {
            "task": "pathfinder",
            "code": _CODE,
            "size": chosen.size,
            "lists": [each.identity for each in lists],
            "pictures": [_stamped(pictures) for pictures in sorted((folder / "imgs").glob("*"))],
        }

        def make(advance: Advance) -> Arrays:
            return _read(folder, lists, chosen.size, advance)

        arrays = cached(chosen.cache, identity, make, what=f"reading {folder} (lists)", of=len(lists))
        self._images, self._labels = arrays["images"], np.asarray(arrays["labels"])
        self._empty = int(arrays["empty"][0])
        shares = {"validation": 0.1, "test": 0.1}
        self._parts = cut_apart(len(self._labels), shares, where=str(folder))

    def _chosen(self, part: str) -> NDArray[np.int64]:
        if self._parts is None:
            raise DataError("the pathfinder task isn't ready: call prepare(folder) first")
        return self._parts[part]

    def labels(self, part: Part) -> NDArray[np.int64]:
        return self._labels[self._chosen(part)]

    def batch(self, part: Part, chosen: NDArray[np.int64]) -> Batch:
        rows = self._chosen(part)[chosen]
        pixels = torch.from_numpy(self._images[rows])
        inputs = pixels.long() if self.features is None else pixels[..., None].float() / 127.5 - 1
        return Batch(inputs=inputs, targets=torch.from_numpy(self._labels[rows]))

    @property
    def summary(self) -> str:
        left = f"; {self._empty} files of no bytes left out" if self._empty else ""
        return super().summary + left

    @property
    def classes(self) -> int:
        return 2

    @property
    def vocabulary(self) -> int:
        return 256 if self.features is None else self.classes

    @property
    def features(self) -> int | None:
        return 1 if self.options.inputs == "numbers" else None

    @property
    def length(self) -> int:
        return int(self.options.size) ** 2

    @property
    def pool(self) -> Literal["mean", "last"]:
        pool: Literal["mean", "last"] = self.options.pool
        return pool


_CODE = 1
_FOLDERS = {"easy": "curv_baseline", "intermediate": "curv_contour_length_9", "hard": "curv_contour_length_14"}


def _read(folder: Path, lists: list[Stamp], size: int, advance: Advance) -> Arrays:
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    empty = 0
    for each in lists:
        for where, path, label in _listed(folder, each):
            image = _picture(where, path, size)
            if image is None:
                empty += 1
                continue
            images.append(image)
            labels.append(label)
        advance(1)
    if not images:
        raise DataError(f"{folder}: its {len(lists)} lists in metadata name no picture")
    return {
        "images": np.stack(images).reshape(len(images), size * size),
        "labels": np.array(labels, np.int64),
        "empty": np.array([empty]),
    }


def _listed(folder: Path, file: Stamp) -> Iterator[tuple[str, Path, int]]:
    """The pictures that a list names; it is text in spite of its name: folder, file, number, label and more."""
    for row, line in lines_of(file):
        where = f"{file.path}, row {row}"
        if line.startswith(b"\x93NUMPY"):
            raise DataError(f"{where}: is an array; the published lists are text: folder, file, number, label")
        fields = line.decode(errors="replace").split()
        if len(fields) < 4:
            raise DataError(f"{where}: needs folder, file, number and label with spaces between, has {len(fields)}")
        if fields[3] not in ("0", "1"):
            raise DataError(f"{where}: label {fields[3]!r} is not one of 2 classes (0 to 1)")
        yield where, folder / fields[0] / fields[1], int(fields[3])


def _picture(where: str, path: Path, size: int) -> NDArray[np.uint8] | None:
    """The grey levels of a picture; None for a file of no bytes."""
    try:
        if not path.stat().st_size:
            return None
        with Image.open(path) as opened:
            if opened.size != (size, size):
                raise DataError(
                    f"{where}: {path} is {opened.width} × {opened.height} pixels, not {size} × {size}; set task.size"
                )
            return np.asarray(opened.convert("L"))
    # A damaged PNG raises any of these.
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{where}: cannot read {path}: {error}") from error


def _stamped(pictures: Path) -> list[str | int]:
    """What tells a folder of pictures from what it was: how many there are, and when one was put there or taken."""
    return [pictures.name, sum(1 for _ in pictures.iterdir()), pictures.stat().st_mtime_ns]
