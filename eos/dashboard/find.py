"""Which runs, studies and ladders stand below some folders."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eos.dashboard.ladders import LADDER
from eos.errors import DataError
from eos.training.folder import RunFolder
from eos.training.group import RECORD as GROUP

#: What a folder of a search holds beside its trials.
STUDY = "study.json"
#: Folders of a run that hold no runs.
_INSIDE = {"checkpoints", "data", "report"}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found.

    Arguments:
        runs: folders of single runs, sorted.
        studies: folders of searches.
        ladders: folders of ladders whose laws were fitted.
        closed: folders that may not be read, with the reason.
    """

    runs: list[Path] = field(default_factory=list)
    studies: list[Path] = field(default_factory=list)
    ladders: list[Path] = field(default_factory=list)
    closed: dict[Path, str] = field(default_factory=dict)


def find(roots: Sequence[Path]) -> Found:
    """All runs, studies and ladders in and below ``roots``, each once.

    Raises:
        DataError: one of them is no folder.
    """
    runs: dict[Path, Path] = {}
    studies: dict[Path, Path] = {}
    ladders: dict[Path, Path] = {}
    closed: dict[Path, str] = {}
    for root in roots:
        if not root.is_dir():
            raise DataError(f"{root} is no folder: name folders that hold runs, or train some first (eos train)")
        for folder in _folders(root, set(), closed):
            held = RunFolder(folder)
            try:
                # A group's folder has a recipe too, but its runs stand in folders of their own.
                if (held.recipe.exists() or held.result.exists()) and not (folder / GROUP).exists():
                    runs.setdefault(folder.resolve(), folder)
                if (folder / STUDY).exists():
                    studies.setdefault(folder.resolve(), folder)
                if (folder / LADDER).exists():
                    ladders.setdefault(folder.resolve(), folder)
            except OSError as error:
                closed[folder] = str(error.strerror)
    return Found(
        runs=sorted(runs.values()),
        studies=sorted(studies.values()),
        ladders=sorted(ladders.values()),
        closed=closed,
    )


def _folders(folder: Path, above: set[tuple[int, int]], closed: dict[Path, str]) -> Iterator[Path]:
    """``folder`` and those below it; a link that leads back up is not followed, and what may not be read is told."""
    try:
        held = folder.stat()
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except FileNotFoundError:
        return  # it went between two looks
    except OSError as error:
        closed[folder] = str(error.strerror)
        return
    place = (held.st_dev, held.st_ino)
    if place in above:
        return
    yield folder
    for name in names:
        if name not in _INSIDE:
            yield from _folders(folder / name, above | {place}, closed)
