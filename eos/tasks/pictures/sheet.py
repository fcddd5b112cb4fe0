"""A sheet of pictures, and its file."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from eos.errors import DataError

GAP = 1
#: Sheets of small pictures are enlarged until they are about as wide.
WIDTH = 640
_PAPER = 128


def sheet(
    pictures: Sequence[UInt8[np.ndarray, "H W C"]], *, above: Sequence[UInt8[np.ndarray, "H W C"]] = ()
) -> UInt8[np.ndarray, "high wide C"]:
    """Pictures of one size in about as many rows as columns, one grey pixel between.

    Arguments:
        pictures: at least one.
        above: as many, each to stand above one of the pictures; or none.
    """
    height, width, channels = pictures[0].shape
    layers = [above, pictures] if above else [pictures]
    columns = math.ceil(math.sqrt(len(pictures) * len(layers)))
    rows = math.ceil(len(pictures) / columns) * len(layers)
    paper = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels), _PAPER, np.uint8)
    for layer, shown in enumerate(layers):
        for place, picture in enumerate(shown):
            row, column = divmod(place, columns)
            down = GAP + (row * len(layers) + layer) * (height + GAP)
            right = GAP + column * (width + GAP)
            paper[down : down + height, right : right + width] = picture
    return paper


def check_file(file: Path) -> None:
    """Refuse a file that no PNG can be written to.

    Raises:
        DataError: its name says something else, or its folder is not there.
    """
    if file.suffix.lower() != ".png":
        raise DataError(f"pictures are written as PNG: name a file that ends in .png, got {file}")
    if not file.parent.is_dir():
        raise DataError(f"cannot write {file}: there is no folder {file.parent}")


def save_picture(pixels: UInt8[np.ndarray, "H W C"], file: Path) -> None:
    """Write pixels of one or three channels as a PNG, every pixel a square where the picture is small.

    Raises:
        DataError: the file is no .png, or cannot be written.
    """
    check_file(file)
    times = max(1, WIDTH // pixels.shape[1])
    large = pixels.repeat(times, 0).repeat(times, 1)
    try:
        Image.fromarray(large[..., 0] if large.shape[-1] == 1 else large).save(file)
    except OSError as error:
        raise DataError(f"cannot write {file}: {error.strerror or error}") from error
