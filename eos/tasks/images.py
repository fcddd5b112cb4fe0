"""Classify images: pixels or patches as a sequence of real numbers, or as a grid.

Equation: tokens are patches of p × p pixels, row by row, (pixel − mean) / deviation with those of the training part
Metric: accuracy, the share of images whose class is right
Chance: 1/classes
Floor: the class whose mean training image is nearest
Source: arXiv:2010.11929, section 3.1 (patches); arXiv:2011.04006, section 2.2.4 (pixels in sequence)
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from eos.config import option, options
from eos.errors import DataError
from eos.tasks.labelled.task import AbstractLabelledTask, Part
from eos.tasks.pictures.patches import Block, Scale, blocks, check_patch, moved, nearest_mean, patches, scale_of, whole
from eos.tasks.pictures.rows import Pictures
from eos.tasks.pictures.source import AbstractPictureOptions, open_pictures
from eos.tasks.task import Batch, Standard


class ImagesTask(AbstractLabelledTask):
    """Every image is one row; of a grid the model is told the shape."""

    @options
    class Options(AbstractPictureOptions):
        """Which images, and how they become tokens."""

        classes: int | None = option(None, "how many there are; null: as the source says, or shows in training", low=2)
        form: Literal["sequence", "grid"] = option("grid", "patches as a grid, or one after another, row by row")
        patch: int = option(1, "pixels p of a patch's side; p × p pixels are a token", low=1)
        shift: int = option(0, "training images move by up to so many pixels along either axis; black comes in", low=0)
        pool: Literal["mean", "last"] = option("mean", "what the classifier reads of a row's tokens")

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._loaded: tuple[Pictures, Scale] | None = None

    def load(self) -> None:
        if self._loaded is None:
            pictures = open_pictures(self.options, labelled=True, classes=self.options.classes)
            check_patch(self.options.patch, *pictures.size[:2])
            self._loaded = pictures, scale_of(pictures.rows["train"].images)

    @property
    def _ready(self) -> tuple[Pictures, Scale]:
        if self._loaded is None:
            raise DataError("the images aren't ready: call prepare(folder) first")
        return self._loaded

    def labels(self, part: Part) -> NDArray[np.int64]:
        return self._ready[0].rows[part].labels

    def batch(self, part: Part, chosen: NDArray[np.int64]) -> Batch:
        pictures, scale = self._ready
        rows = pictures.rows[part].chosen(chosen)
        tokens = patches(scale(rows.images), self.options.patch)
        return Batch(inputs=torch.from_numpy(tokens), targets=torch.from_numpy(rows.labels), shape=self.grid)

    def train_batch(self, seed: int, step: int, rows: int) -> Batch:
        batch = super().train_batch(seed, step, rows)
        most, patch = int(self.options.shift), int(self.options.patch)
        if not most:
            return batch
        pictures, scale = self._ready
        height, width, channels = pictures.size
        # the lower half of the keys is that of the orders of epochs
        generator = np.random.Generator(np.random.Philox(key=np.array([seed, (1 << 63) + step], np.uint64)))
        offsets = generator.integers(-most, most + 1, size=(rows, 2))
        black = scale(np.zeros(channels, np.uint8))
        images = whole(batch.inputs.numpy(), patch, height=height, width=width)
        images = moved(images, offsets, fill=black, height=height, width=width)
        return replace(batch, inputs=torch.from_numpy(patches(images, patch)))

    def told(self) -> Mapping[str, Any]:
        return self._ready[1].told()

    def take(self, told: Mapping[str, Any]) -> None:
        self._loaded = self._ready[0], Scale.of(told)

    @property
    def classes(self) -> int:
        return self._ready[0].classes

    @property
    def vocabulary(self) -> int:
        return self.classes

    @property
    def features(self) -> int:
        return int(self.options.patch**2 * self._ready[0].size[2])

    @property
    def pool(self) -> Literal["mean", "last"]:
        chosen: Literal["mean", "last"] = self.options.pool
        return chosen

    @property
    def _patches(self) -> tuple[int, int]:
        height, width, _ = self._ready[0].size
        return height // self.options.patch, width // self.options.patch

    @property
    def length(self) -> int:
        high, wide = self._patches
        return high * wide

    @property
    def grid(self) -> tuple[int, ...] | None:
        return self._patches if self.options.form == "grid" else None

    @property
    def summary(self) -> str:
        height, width, channels = self._ready[0].size
        return f"{super().summary}; images of {height} × {width} × {channels} as {self.length} tokens"

    @property
    def standard(self) -> Standard:
        floor = nearest_mean(self._blocks("train"), self._blocks("test"), classes=self.classes)
        return Standard(
            metric="accuracy",
            chance=1 / self.classes,
            floor=floor,
            trivial="the class whose mean training image is nearest",
        )

    def _blocks(self, part: Part) -> Iterator[Block]:
        rows = self._ready[0].rows[part]
        for chosen in blocks(len(rows.labels)):
            yield rows.images[chosen], rows.labels[chosen]
