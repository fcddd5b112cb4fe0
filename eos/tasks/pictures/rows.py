"""Labelled pictures in three parts, checked, with the parts that a source lacks split off its training part."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eos.errors import DataError
from eos.tasks.labelled.task import check_labels

Part = Literal["train", "validation", "test"]
#: Of red, green and blue in a grey picture, in thousandths (ITU-R BT.601).
LUMA = np.array([299, 587, 114], np.int32)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Pictures of one size.

    Arguments:
        images: [N,H,W,C], uint8, with C = 1 or 3.
        labels: [N], ≥ 0; all 0 where a source was not asked for them.
        where: the file, folder or dataset they are from.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    where: str

    def chosen(self, places: NDArray[np.int64]) -> "Rows":
        """Those of these places."""
        return replace(self, images=self.images[places], labels=self.labels[places])


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a source holds.

    Arguments:
        rows: of the parts that it has: train at least.
        classes: how many labels there are, where the source says so; None: as many as the training part shows.
        levels: values of a pixel, 0 … levels − 1.
    """

    rows: Mapping[Part, Rows]
    classes: int | None = None
    levels: int = 256


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Three parts of pictures of one size, each with a row at least."""

    rows: Mapping[Part, Rows]
    classes: int
    levels: int

    @property
    def size(self) -> tuple[int, int, int]:
        """Height, width and channels of a picture."""
        _, height, width, channels = self.rows["train"].images.shape
        return height, width, channels


def rows_of(images: NDArray[np.uint8], labels: NDArray[np.int64] | None, *, where: str, labels_in: str = "") -> Rows:
    """Pictures [N,H,W] or [N,H,W,C] and their labels, or label 0 for all.

    Raises:
        DataError: none, another number of labels, or pictures that are neither grey nor of three colours.
    """
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise DataError(f"{where} must hold pictures [N, H, W] or [N, H, W, 1 or 3], got the shape {images.shape}")
    if not images.size:
        raise DataError(f"{where} holds no pictures: its shape is {images.shape}")
    if labels is None:
        labels = np.zeros(len(images), np.int64)
    if labels.shape != images.shape[:1]:
        raise DataError(
            f"{where} holds {len(images):,} pictures and {labels_in or 'it'} labels of the shape {labels.shape}; "
            "there must be one label a picture"
        )
    return Rows(images=images, labels=labels, where=where)


def completed(
    found: Found, *, grey: bool, classes: int | None, validation: float, test: float, labelled: bool
) -> Pictures:
    """Three parts of what a source holds; rows are split off by a random order that is always the same.

    Arguments:
        grey: make colours grey.
        classes: how many there are; None: as the source says.
        validation, test: shares of the training part that become these, where the source lacks them.
        labelled: labels are wanted.

    Raises:
        DataError: pictures of several sizes, a label out of range, or a part without rows.
    """
    rows: dict[Part, Rows] = {name: _grey(part) if grey else part for name, part in found.rows.items()}
    train = rows["train"]
    for part in rows.values():
        if part.images.shape[1:] != train.images.shape[1:]:
            raise DataError(
                f"{part.where} holds pictures of {_size(part)}, and {train.where} of {_size(train)}: all parts must "
                "be of one size (task.grey=true makes colours grey)"
            )
    classes = classes or found.classes or int(train.labels.max()) + 1
    if classes > len(train.labels) + 1:
        raise DataError(
            f"{train.where}: labels go up to {classes - 1}, in {len(train.labels)} pictures; number classes from 0"
        )
    if labelled:
        for part in rows.values():
            check_labels(part.labels, classes=classes, where=part.where)
        if classes < 2:
            raise DataError(f"{train.where} shows one class only, and a classifier needs at least two")
    shares: dict[Part, float] = {"test": test, "validation": validation}
    for name, share in shares.items():
        if name not in rows:
            rows["train"], rows[name] = _split(rows["train"], share, name)
    return Pictures(rows=rows, classes=classes, levels=found.levels)


def _split(rows: Rows, share: float, name: Part) -> tuple[Rows, Rows]:
    size = len(rows.labels)
    taken = round(share * size)
    if not 0 < taken < size:
        raise DataError(
            f"{rows.where}: a share of {share} of {size:,} pictures is {taken:,}, and both the {name} part and what is "
            f"left to train on need one at least; change task.{name}"
        )
    order = np.random.Generator(np.random.Philox(key=0)).permutation(size)
    return rows.chosen(order[taken:]), rows.chosen(order[:taken])


def _grey(rows: Rows) -> Rows:
    if rows.images.shape[-1] == 1:
        return rows
    luma = (rows.images.astype(np.int32) @ LUMA + 500) // 1000
    return replace(rows, images=luma[..., None].astype(np.uint8))


def _size(rows: Rows) -> str:
    return " × ".join(map(str, rows.images.shape[1:]))
