"""Datasets of Hugging Face, fetched once or read from where they are kept."""

from typing import Any

from eos.errors import DataError, install

PREFIX = "hf:"


def fetch(name: str, *, subset: str | None, split: str | None = None) -> Any:
    """What the package ``datasets`` loads: all splits by name, or one.

    Arguments:
        name: on the hub, or a folder.
        subset: its configuration.
        split: None for all.

    Raises:
        DataError: the package is not installed, or the dataset cannot be loaded.
    """
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"the source {PREFIX}{name} needs the package datasets: {install('datasets')}") from error
    try:
        return datasets.load_dataset(name, subset, split=split)
    # A RuntimeError is a dataset that is a program.
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        asked = f"task.subset={subset}" + ("" if split is None else f", task.split={split}")
        raise DataError(
            f"cannot load the dataset {name!r} ({asked}): {reason}; without a network, name files with task.source=PATH"
        ) from error
