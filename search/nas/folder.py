"""The folder of an architecture search: what was asked for, and what each phase has left."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eos.compose.check import check
from eos.compose.model import flat, leaves
from eos.compose.reader import value_text
from eos.compose.run import PARTS, check_run
from eos.errors import RunError
from eos.training.config import MANNER, TrainingOptions
from eos.training.files import json_numbers, read_json, write_json
from eos.training.run import make_task
from eos.training.world import ALONE
from search.nas.recipe import NASRecipe
from search.nas.space import Space
from search.space import Recipe

#: In their order.
PHASES = ("table", "supernet", "score", "rank", "evolve", "finalists", "retrain", "report")
#: A key that may change between two commands, and the phases that are done anew where it has.
_OPEN, _ANEW = "nas.retrain.networks", ("retrain", "report")
#: And what changes no number that the search goes by.
_FREE = {_OPEN, *(f"base.training.{name}" for name in MANNER - {"device"})}


class Stopped(Exception):
    """A signal came; what was done is kept.

    Arguments:
        signal: its number.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal


@dataclass(frozen=True)
class NASFolder:
    """The files of a search.

    Arguments:
        path: of the folder.
    """

    path: Path

    @property
    def record(self) -> Path:
        """What was asked for."""
        return self.path / "nas.json"

    @property
    def data(self) -> Path:
        """What the task keeps."""
        return self.path / "data"

    @property
    def supernet(self) -> Path:
        """The run that trained shared weights."""
        return self.path / "supernet"

    @property
    def scored(self) -> Path:
        """Networks with their scores."""
        return self.path / "scored.jsonl"

    @property
    def retrained(self) -> Path:
        """Runs from scratch."""
        return self.path / "retrained"

    def left(self, phase: str) -> Path:
        """What a phase leaves when it is done; its being there says so."""
        return self.path / f"{phase}.json"

    def done(self, phase: str) -> bool:
        """Whether a phase is."""
        return self.left(phase).exists()

    def read(self, phase: str) -> Any:
        """What a phase has left.

        Raises:
            RunError: it is not done.
        """
        if not self.done(phase):
            raise RunError(f"{self.path}: the phase {phase} is not done; run eos nas without skip={phase}")
        return read_json(self.left(phase))

    def leave(self, phase: str, value: dict[str, Any]) -> None:
        """A phase is done; what is no number, as the agreement with what is all alike, is left as null."""
        write_json(self.left(phase), json_numbers(value))


def remember(folder: NASFolder, nas: NASRecipe, base: Recipe) -> None:
    """Write down what is asked for, or see that it is what was asked for before.

    Raises:
        RunError: the search in this folder was begun otherwise; every difference is told.
    """
    asked = {"nas": flat(nas), "base": _plain(base)}
    if not folder.record.exists():
        folder.path.mkdir(parents=True, exist_ok=True)
        write_json(folder.record, asked)
        return
    before, now = dict(leaves(read_json(folder.record))), dict(leaves(asked))
    lines = [
        f"{key} was {value_text(before.get(key))}, and is {value_text(now.get(key))} now"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and key not in _FREE
    ]
    if lines:
        raise RunError(
            f"the search in {folder.path} was begun otherwise:\n"
            + "\n".join(f"  {line}" for line in lines)
            + "\nGo on with it as it was begun, or begin another with name=NAME"
        )
    if before[_OPEN] != now[_OPEN]:
        for phase in _ANEW:
            folder.left(phase).unlink(missing_ok=True)
    write_json(folder.record, asked)


def reopened(path: Path) -> tuple[NASFolder, Space, Recipe]:
    """The search in a folder, its space, and the run that all networks differ from.

    Raises:
        RunError: there is none.
    """
    folder = NASFolder(path)
    if not folder.record.exists():
        raise RunError(f"{path} holds no architecture search: there is no {folder.record.name}")
    asked = read_json(folder.record)
    nas = check(NASRecipe, asked["nas"], source=str(folder.record))
    data, names = dict(asked["base"]), asked["base"]["names"]
    del data["names"]
    base = check_run(data, (), training=TrainingOptions, names=names, sources=dict.fromkeys(PARTS, str(folder.record)))
    return folder, opened(folder, nas, base), base


def opened(folder: NASFolder, nas: NASRecipe, base: Recipe) -> Space:
    """The space of a search, with its data made ready.

    Raises:
        DataError: the data are not what the search was begun with.
        RecipeError: there is no such space.
        RunError: the base run is one of several processes.
    """
    task = make_task(base)
    # shared weights are trained by one process
    ALONE.refuse(task, base.model, base.training)
    folder.data.mkdir(parents=True, exist_ok=True)
    task.prepare(folder.data)
    return Space(nas=nas, model=base.model, task=task)


def _plain(base: Recipe) -> dict[str, Any]:
    return {
        "model": flat(base.model),
        "task": {"name": base.task.name, **flat(base.task.options)},
        "training": flat(base.training),
        "names": dict(base.names),
    }
