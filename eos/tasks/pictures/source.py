"""Where pictures come from, and the options that say so."""

from pathlib import Path

import numpy as np

from eos.config import option, options
from eos.errors import DataError
from eos.tasks.fetch import PREFIX
from eos.tasks.pictures import arrays, files
from eos.tasks.pictures.rows import Found, Pictures, completed, rows_of


@options
class AbstractPictureOptions:
    """Which pictures, and how they are parted: what the options of every task on pictures begin with."""

    source: str | None = option(
        None,
        "a folder of images (CLASS/*.png or train/CLASS/*.png) or of idx files, an idx file of images, an npz file, "
        "or hf:DATASET; null: scikit-learn's digits",
    )
    subset: str | None = option(None, "configuration of the dataset")
    image: str | None = option(None, "column of the dataset that holds the pictures; null: the first of that kind")
    label: str | None = option(None, "column of the dataset that holds the labels; null: the first of that kind")
    grey: bool = option(False, "make colours grey")
    validation: float = option(0.1, "share of the training part to validate on, where the source has none", above=0)
    test: float = option(0.2, "share of all to test on, where the source has no test part", above=0)
    cache: str = option("~/.cache/eos", "folder that keeps decoded pictures between runs")


def open_pictures(chosen: AbstractPictureOptions, *, labelled: bool, classes: int | None = None) -> Pictures:
    """The pictures that a recipe names, in three parts.

    Arguments:
        chosen: which.
        labelled: whether labels are wanted; else every label is 0.
        classes: how many there are; None: as many as the source says, or shows in training.

    Raises:
        DataError: nothing is there, or it cannot be used: with file and row.
    """
    return completed(
        _found(chosen, labelled=labelled),
        grey=chosen.grey,
        classes=classes,
        validation=chosen.validation,
        test=chosen.test,
        labelled=labelled,
    )


def _found(chosen: AbstractPictureOptions, *, labelled: bool) -> Found:
    source = chosen.source
    if source is None:
        return _digits()
    if source.startswith(PREFIX):
        name = source.removeprefix(PREFIX)
        return files.dataset(
            name, subset=chosen.subset, image=chosen.image, label=chosen.label, labelled=labelled, cache=chosen.cache
        )
    path = Path(source).expanduser()
    if path.is_dir():
        return arrays.idx_folder(path, labelled=labelled) or files.folder(path, cache=chosen.cache)
    if path.is_file():
        if path.suffix == ".npz":
            return arrays.archive(path, labelled=labelled)
        return arrays.idx_file(path, labelled=labelled)
    raise DataError(
        f"there is no file or folder {source!r} (looked from {Path.cwd()}); for a Hugging Face dataset write "
        f"{PREFIX}{source}"
    )


def _digits() -> Found:
    """1,797 digits of 8 × 8 pixels in 17 greys, that come with scikit-learn."""
    # Only now: importing it takes a second, and other sources have no need of it.
    from sklearn.datasets import load_digits

    held = load_digits()
    images, labels = held.images.astype(np.uint8), held.target.astype(np.int64)
    return Found(rows={"train": rows_of(images, labels, where="scikit-learn's digits")}, classes=10, levels=17)
