"""Which way a digit moves: short videos as grids of three axes, whose class neither space nor time shows alone.

Equation: place at frame t = p + t v, folded back at the sides; the class is v, one of eight: (−s, 0, s)² without (0, 0)
Metric: accuracy, the share of videos whose direction is right
Chance: 1/8
Floor: the class whose mean training video is nearest
Source: arXiv:1502.04681 (moving MNIST), whose direction is asked here
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from eos.config import option, options
from eos.errors import DataError, RecipeError
from eos.tasks.labelled.task import AbstractLabelledTask, Part
from eos.tasks.pictures.patches import Block, Scale, blocks, check_patch, moved, nearest_mean, patches, scale_of
from eos.tasks.pictures.rows import Pictures
from eos.tasks.pictures.source import AbstractPictureOptions, open_pictures
from eos.tasks.task import Batch, Standard

#: Down and right, in steps of a frame.
DIRECTIONS = np.array([pair for pair in product((-1, 0, 1), repeat=2) if pair != (0, 0)], np.int64)
_KEYS: dict[Part, int] = {"train": 1, "validation": 2, "test": 3}


class MovingDigitsTask(AbstractLabelledTask):
    """The digit distracts: a direction comes with all digits, and with all places that leave its first step free.

    Which digit moves, from where and which way is drawn once, for every run alike; test videos show test digits.
    """

    @options
    class Options(AbstractPictureOptions):
        """Which pictures move, and how."""

        frames: int = option(8, "frames of a video", low=2, high=1024)
        frame: int = option(16, "height and width of a frame in pixels", low=3)
        speed: int = option(1, "pixels s from frame to frame along an axis", low=1)
        patch: int = option(4, "pixels p of a patch's side; p × p pixels of a frame are a token", low=1)
        train_rows: int = option(20_000, "training videos", low=1)
        held_out: int = option(1024, "videos of the validation and of the test part", low=1)

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        check_patch(options.patch, options.frame, options.frame)
        self._loaded: tuple[Pictures, Scale] | None = None
        self._drawn: dict[Part, tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = {}

    def load(self) -> None:
        if self._loaded is not None:
            return
        pictures = open_pictures(self.options, labelled=False)
        height, width, _ = pictures.size
        rooms = np.array([self.options.frame - height, self.options.frame - width])
        speed = int(self.options.speed)
        if rooms.min() < 2 * speed:
            raise RecipeError(
                f"task.frame = {self.options.frame} leaves no room to move by {speed}: with pictures of {height} × "
                f"{width} it must be at least {max(height, width) + 2 * speed}"
            )
        for part, key in _KEYS.items():
            rows = int(self.options.train_rows if part == "train" else self.options.held_out)
            generator = np.random.Generator(np.random.Philox(key=key))
            # every direction as often as every other, but for the last rows
            labels = generator.permutation(np.arange(rows, dtype=np.int64) % len(DIRECTIONS))
            which = generator.integers(len(pictures.rows[part].images), size=rows)
            # whatever the direction, so that where a digit starts tells nothing of it
            starts = generator.integers(speed, rooms - speed + 1, size=(rows, 2))
            self._drawn[part] = labels, which, starts
        self._loaded = pictures, scale_of(pictures.rows["train"].images)

    @property
    def _ready(self) -> tuple[Pictures, Scale]:
        if self._loaded is None:
            raise DataError("the videos aren't ready: call prepare(folder) first")
        return self._loaded

    def labels(self, part: Part) -> NDArray[np.int64]:
        self._ready  # noqa: B018
        return self._drawn[part][0]

    def batch(self, part: Part, chosen: NDArray[np.int64]) -> Batch:
        _, scale = self._ready
        tokens = patches(scale(self.videos(part, chosen)), self.options.patch)
        return Batch(
            inputs=torch.from_numpy(tokens), targets=torch.from_numpy(self.labels(part)[chosen]), shape=self.grid
        )

    def videos(self, part: Part, chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames of the videos of these numbers, [B,T,H,W,C]."""
        pictures, _ = self._ready
        labels, which, starts = (drawn[chosen] for drawn in self._drawn[part])
        frames, side = int(self.options.frames), int(self.options.frame)
        height, width, channels = pictures.size
        steps = np.arange(frames)[:, None] * int(self.options.speed)
        rooms = np.array([side - height, side - width])
        # there and back again: a place on a circle twice as long as the room, folded in the middle
        places = rooms - np.abs((starts[:, None] + steps * DIRECTIONS[labels][:, None]) % (2 * rooms) - rooms)
        images = pictures.rows[part].images[which].repeat(frames, 0)
        black = np.zeros(channels, np.uint8)
        video = moved(images, places.reshape(-1, 2), fill=black, height=side, width=side)
        return video.reshape(len(chosen), frames, side, side, channels)

    def told(self) -> Mapping[str, Any]:
        return self._ready[1].told()

    def take(self, told: Mapping[str, Any]) -> None:
        self._loaded = self._ready[0], Scale.of(told)

    @property
    def classes(self) -> int:
        return len(DIRECTIONS)

    @property
    def vocabulary(self) -> int:
        return self.classes

    @property
    def features(self) -> int:
        return int(self.options.patch**2 * self._ready[0].size[2])

    @property
    def pool(self) -> Literal["mean", "last"]:
        return "mean"

    @property
    def grid(self) -> tuple[int, ...]:
        side = self.options.frame // self.options.patch
        return int(self.options.frames), side, side

    @property
    def length(self) -> int:
        frames, high, wide = self.grid
        return frames * high * wide

    @property
    def standard(self) -> Standard:
        floor = nearest_mean(self._blocks("train"), self._blocks("test"), classes=self.classes)
        return Standard(
            metric="accuracy",
            chance=1 / self.classes,
            floor=floor,
            trivial="the class whose mean training video is nearest",
        )

    def _blocks(self, part: Part) -> Iterator[Block]:
        labels = self.labels(part)
        for chosen in blocks(len(labels)):
            yield self.videos(part, chosen), labels[chosen]
