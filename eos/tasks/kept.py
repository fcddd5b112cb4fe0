"""What a run keeps of its task: what its model was built for, and the data that it was begun with."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eos.errors import DataError

#: Stands in a run's folder.
KEPT = "task.json"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What stands in task.json.

    Arguments:
        model: what its model was built for, by names: kind, number of tokens, of classes …
        digest: of the data; empty where the recipe alone decides them.
        told: what else the model's inputs depend on, such as the mean of training pixels.
    """

    model: Mapping[str, int | str]
    digest: str = ""
    told: Mapping[str, Any] = field(default_factory=dict)


def keep(folder: Path, kept: Kept) -> None:
    """Write it down; a run that goes on must have the same.

    Raises:
        DataError: the data are others than when the run was begun.
    """
    path = folder / KEPT
    if path.exists():
        before = read_kept(folder)
        _compare(before, kept.model)
        if before.digest != kept.digest:
            raise DataError(
                f"the data are not those that the run in {folder} was begun with; give it the old ones back, or begin "
                "a new run"
            )
        return
    path.write_text(json.dumps(asdict(kept)) + "\n", encoding="utf-8")


def read_kept(folder: Path) -> Kept:
    """What a run keeps.

    Raises:
        DataError: the folder holds no such run.
    """
    try:
        return Kept(**json.loads((folder / KEPT).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{folder} holds no run on a task of this kind: {KEPT} cannot be read ({error})") from error


def check_kept(folder: Path, model: Mapping[str, int | str]) -> Kept:
    """What a run keeps, whose model can be asked what this task asks.

    Raises:
        DataError: the model was built for something else, or the folder holds no such run.
    """
    before = read_kept(folder)
    _compare(before, model)
    return before


def _compare(before: Kept, model: Mapping[str, int | str]) -> None:
    for name in (*model, *before.model):
        known, wanted = before.model.get(name, "none"), model.get(name, "none")
        if known != wanted:
            raise DataError(f"the run's model was built for {name} = {known}, and this task has {wanted}")
