"""Generate images: the next pixel value, row by row, the channels of a pixel one after another.

Equation: bits per dimension = Σ_d −log2 p(x_d | x_1 … x_{d−1}) / (H · W · C)
Metric: bits per dimension, of values 0 … L − 1
Chance: log2 L bits
Floor: how often training holds each value at the same place, smoothed by how often at any
Source: arXiv:1601.06759
"""

import math
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from eos.config import option, options
from eos.errors import DataError, RecipeError
from eos.tasks.kept import Kept, check_kept, keep, read_kept
from eos.tasks.pictures.rows import Pictures
from eos.tasks.pictures.source import AbstractPictureOptions, open_pictures
from eos.tasks.pictures.task import AbstractPictureTask
from eos.tasks.task import Batch, Counts, Split, Standard

_KEPT = ("vocabulary", "height", "width", "channels")


class ImageGenerationTask(AbstractPictureTask):
    """Ids 0 … L − 1 are pixel values; L begins an image, so that its first value is asked too.

    Training images are drawn with replacement.
    """

    @options
    class Options(AbstractPictureOptions):
        """Which images, and how many values a pixel has."""

        levels: int | None = option(
            None, "values L of a channel, which those of the source are rounded down to; null: as many", low=2, high=256
        )

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._pictures: Pictures | None = None
        self._kept: dict[str, int] | None = None

    def prepare(self, folder: Path) -> None:
        numbers, digest = self._load(), sha256()
        for part in _VERBS:
            digest.update(self._images(part).tobytes())
        keep(folder, Kept(model={"kind": self.kind.__name__, **numbers}, digest=digest.hexdigest()))

    def prepare_other(self, folder: Path) -> None:
        check_kept(folder, {"kind": self.kind.__name__, **self._load()})

    def _load(self) -> dict[str, int]:
        """Read the images, unless that was done."""
        if self._pictures is None or self._kept is None:
            self._pictures = open_pictures(self.options, labelled=False)
            levels = self.options.levels or self._pictures.levels
            if levels > self._pictures.levels:
                raise RecipeError(f"task.levels = {levels} are more than the {self._pictures.levels} of the images")
            self._kept = dict(zip(_KEPT, (levels + 1, *self._pictures.size), strict=True))
        return self._kept

    def restore(self, folder: Path) -> None:
        known = read_kept(folder).model
        if not known.keys() >= set(_KEPT):
            raise DataError(f"{folder} holds no run on images: its model was built for {', '.join(known)}")
        self._kept = {name: int(known[name]) for name in _KEPT}

    @property
    def _numbers(self) -> dict[str, int]:
        if self._kept is None:
            raise DataError("the images aren't ready: call prepare(folder) or restore(folder) first")
        return self._kept

    @property
    def vocabulary(self) -> int:
        return self._numbers["vocabulary"]

    @property
    def _levels(self) -> int:
        return self.vocabulary - 1

    @property
    def size(self) -> tuple[int, int, int]:
        return self._numbers["height"], self._numbers["width"], self._numbers["channels"]

    @property
    def length(self) -> int:
        return math.prod(self.size)

    @property
    def summary(self) -> str:
        counts = [f"{len(self._images(part)):,} to {verb}" for part, verb in _VERBS.items()]
        height, width, channels = self.size
        return f"images of {height} × {width} × {channels} in {self._levels} values; {', '.join(counts)}"

    @property
    def standard(self) -> Standard:
        """Chance and floor in bits per dimension of the test part."""
        train, test = self._values(self._images("train")), self._values(self._images("test"))
        levels, dims = self._levels, self.length
        place = np.arange(dims) * levels
        seen = np.bincount((train + place).ravel(), minlength=dims * levels).reshape(dims, levels)
        anywhere = (seen.sum(0) + 1) / (seen.sum() + levels)
        bits = -np.log2((seen + levels * anywhere) / (len(train) + levels))
        return Standard(
            metric="bits_per_dim",
            higher=False,
            chance=math.log2(levels),
            floor=float(np.take(bits, test + place).mean()),
            trivial="each value by how often training holds it at the same place",
        )

    def _images(self, part: Split | str) -> NDArray[np.uint8]:
        if self._pictures is None:
            raise DataError("the images aren't ready: call prepare(folder) first")
        return self._pictures.rows[part].images  # type: ignore[index]

    def _values(self, images: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Values [N, H·W·C] in 0 … L − 1."""
        assert self._pictures is not None
        rounded: NDArray[np.int64] = images.astype(np.int64) * self._levels // self._pictures.levels
        return rounded.reshape(len(images), -1)

    def train_batch(self, seed: int, step: int, rows: int) -> Batch:
        images = self._images("train")
        draws = np.random.Philox(key=np.array([seed, step], np.uint64)).random_raw(rows)
        return self._batch(images[(draws % np.uint64(len(images))).astype(np.int64)])

    def evaluation_batches(self, split: Split, rows: int) -> Iterator[Batch]:
        images = self._images(split)
        for start in range(0, len(images), rows):
            yield self._batch(images[start : start + rows])

    def _batch(self, images: NDArray[np.uint8]) -> Batch:
        targets = torch.from_numpy(self._values(images))
        begin = torch.full_like(targets[:, :1], self._levels)
        return Batch(inputs=torch.cat([begin, targets[:, :-1]], 1), targets=targets)

    def count(self, batch: Batch) -> Counts:
        return Counts(targets=batch.targets.numel(), rows=batch.targets.shape[0])

    def metrics(self, nats: float, counts: Counts) -> dict[str, float]:
        each = nats / counts.targets if counts.targets else math.nan
        return {"bits_per_dim": each / math.log(2), "nats_per_dim": each}

    def encode(self, text: str) -> list[int]:
        if text:
            raise DataError(f"the model of this run draws images, and takes no prompt in text; got {text!r}")
        return [self._levels]

    def picture(self, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        # a model may draw what begins an image where no image begins: it is shown as the brightest value
        values = ids.clip(0, self._levels - 1).reshape(self.size)
        return (values * 255 // (self._levels - 1)).astype(np.uint8)


_VERBS = {"train": "train on", "validation": "validate", "test": "test"}
