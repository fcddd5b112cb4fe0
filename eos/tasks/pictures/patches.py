"""Pictures as tokens: patches row by row, and numbers around zero."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Integer, Num
from numpy.typing import NDArray

from eos.errors import DataError, RecipeError


def patches(pictures: Num[np.ndarray, "N *frames H W C"], size: int) -> Num[np.ndarray, "N T F"]:
    """Square patches as tokens, row by row, their pixels one after another: F = size² · C.

    Arguments:
        pictures: [N,H,W,C], or [N,T,H,W,C] frame after frame.
        size: pixels of a side; divides H and W.
    """
    *lead, height, width, channels = pictures.shape
    cut = pictures.reshape(*lead, height // size, size, width // size, size, channels).swapaxes(-4, -3)
    return cut.reshape(lead[0], -1, size * size * channels)


def whole(
    tokens: Num[np.ndarray, "N T F"], size: int, *, height: int, width: int
) -> Num[np.ndarray, "N {height} {width} C"]:
    """Pictures of these patches: the inverse of :func:`patches`."""
    rows, _, features = tokens.shape
    cut = tokens.reshape(rows, height // size, width // size, size, size, features // size**2)
    return cut.swapaxes(-4, -3).reshape(rows, height, width, -1)


def moved(
    pictures: Num[np.ndarray, "N H W C"],
    offsets: Integer[np.ndarray, "N 2"],
    *,
    fill: Num[np.ndarray, " C"],
    height: int,
    width: int,
) -> Num[np.ndarray, "N {height} {width} C"]:
    """Each picture in a frame of its own, its corner at an offset (down, right), which may be negative.

    Arguments:
        fill: what stands where no picture does.
    """
    rows, high, wide, _ = pictures.shape
    down, right = np.arange(height) - offsets[:, :1], np.arange(width) - offsets[:, 1:]
    inside = ((down >= 0) & (down < high))[:, :, None] & ((right >= 0) & (right < wide))[:, None]
    taken = pictures[
        np.arange(rows)[:, None, None], down.clip(0, high - 1)[:, :, None], right.clip(0, wide - 1)[:, None]
    ]
    return np.where(inside[..., None], taken, fill)


def check_patch(size: int, height: int, width: int) -> None:
    """Refuse patches that do not cover a picture.

    Raises:
        RecipeError: they do not divide it.
    """
    if height % size or width % size:
        raise RecipeError(f"task.patch = {size} must divide the height and width of the pictures, {height} × {width}")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Mean and standard deviation of each channel [C]."""

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]

    def __call__(self, pictures: NDArray[np.uint8]) -> Float32[np.ndarray, "*shape"]:
        """(pixel − mean) / deviation."""
        scaled: NDArray[np.float32] = (pictures.astype(np.float32) - self.mean) / self.deviation
        return scaled

    def told(self) -> dict[str, list[float]]:
        """For JSON; :meth:`of` reads it back to the last bit."""
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    @classmethod
    def of(cls, told: Mapping[str, list[float]]) -> "Scale":
        """What :meth:`told` told."""
        return cls(mean=np.array(told["mean"], np.float32), deviation=np.array(told["deviation"], np.float32))


def scale_of(pictures: NDArray[np.uint8]) -> Scale:
    """That of these pictures [N,H,W,C]; a channel that is the same everywhere is not divided."""
    # from counts of values, for pixels in double precision would take eight times the memory
    values = np.arange(256, dtype=np.float64)
    counts = np.stack([np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(pictures, -1, 0)])
    shares = counts / counts.sum(1, keepdims=True)
    mean = shares @ values
    deviation = np.sqrt((shares * (values - mean[:, None]) ** 2).sum(1))
    deviation = np.where(deviation > 0, deviation, 1.0)
    return Scale(mean=mean.astype(np.float32), deviation=deviation.astype(np.float32))


#: Pixels [N, …] and their classes [N].
Block = tuple[NDArray[np.uint8], NDArray[np.int64]]


def nearest_mean(train: Iterable[Block], test: Iterable[Block], *, classes: int) -> float:
    """How often the class whose mean training row is nearest is the right one.

    Arguments:
        train, test: blocks of rows, of which one at a time is held; each part has a row at least.
        classes: how many there are; one that training does not show is never nearest.
    """
    sums: NDArray[np.float64] | None = None
    counts = np.zeros(classes)
    for pixels, labels in train:
        of_class = (labels == np.arange(classes)[:, None]).astype(np.float64)
        added = of_class @ pixels.reshape(len(pixels), -1)
        sums = added if sums is None else sums + added
        counts += of_class.sum(1)
    seen = np.flatnonzero(counts)
    if sums is None:
        raise DataError("there are no training rows to take means of")
    means = sums[seen] / counts[seen, None]
    right = rows = 0
    for pixels, labels in test:
        # |x − m|² without |x|², which is the same for every class
        distance = (means**2).sum(1) - 2 * (pixels.reshape(len(pixels), -1) @ means.T)
        right += int((seen[distance.argmin(1)] == labels).sum())
        rows += len(labels)
    return right / rows


#: Rows of a block: what is held in double precision at once.
BLOCK = 512


def blocks(size: int) -> Iterator[NDArray[np.int64]]:
    """The numbers 0 … size − 1, some at a time."""
    for start in range(0, size, BLOCK):
        yield np.arange(start, min(start + BLOCK, size))
