"""Arrays that take time to make, kept between runs and found again by the hash of what they were made from."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from eos.errors import DataError

Arrays = dict[str, NDArray[Any]]
#: Told how many more of the parts are made.
Advance = Callable[[int], None]


def cached(cache: str, identity: Mapping[str, Any], make: Callable[[Advance], Arrays], *, what: str, of: int) -> Arrays:
    """The arrays that ``make`` makes, mapped into memory and read-only; made once for one identity.

    Arguments:
        cache: folder that keeps them.
        identity: all that decides what is made, with a number that changes with the code; JSON.
        make: makes them, and tells how far it is.
        what: what is made, for the progress bar that a terminal shows.
        of: how many parts there are to make.

    Raises:
        DataError: the folder cannot be written.
    """
    name = sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:20]
    folder = Path(cache).expanduser() / name
    if (found := _load(folder)) is not None:
        return found
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=of)
        arrays = make(lambda done: bar.advance(task, done))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
        try:
            for key, array in arrays.items():
                np.save(building / f"{key}.npy", array)
            # Last: without it the folder counts as empty.
            (building / _INDEX).write_text(json.dumps(sorted(arrays)), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(building, folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        # Another process may have been faster, with the same arrays.
        if (found := _load(folder)) is not None:
            return found
        raise DataError(
            f"cannot write {folder}: {error.strerror or error}; make room there, or name another place with "
            "task.cache=FOLDER"
        ) from error
    found = _load(folder)
    return arrays if found is None else found


_INDEX = "index.json"


def _load(folder: Path) -> Arrays | None:
    """What an earlier call left, or None where that is nothing, or damaged."""
    try:
        names = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}
    except (OSError, ValueError, EOFError):
        return None
