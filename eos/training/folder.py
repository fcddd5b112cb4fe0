"""The folder of a run: what lies where, and who may write to it."""

import datetime as dt
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from eos.errors import RunError
from eos.training.checkpoint import Checkpoints
from eos.training.files import TEMPORARY, discard


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def record(self) -> Path:
        """Seed, and of each start: time, command, versions, commit, device."""
        return self.path / "run.json"

    @property
    def metrics(self) -> Path:
        """The log, one row a number."""
        return self.path / "metrics.csv"

    @property
    def checkpoints(self) -> Checkpoints:
        """What a run that was stopped goes on from."""
        return Checkpoints(self.path / "checkpoints")

    @property
    def weights(self) -> Path:
        """The weights of the best validation, written when training is done."""
        return self.path / "weights.safetensors"

    @property
    def result(self) -> Path:
        """How the run ended; absent while it runs and after it was killed."""
        return self.path / "result.json"

    @property
    def learned(self) -> Path:
        """What the trained model shows of itself."""
        return self.path / "learned.json"

    def create(self) -> None:
        """Make the folder.

        Raises:
            RunError: the path is taken.
        """
        claim(self.path)
        self.checkpoints.path.mkdir()

    def require(self) -> None:
        """Refuse a path that holds no run.

        Raises:
            RunError: there is no run.
        """
        if not self.recipe.is_file():
            raise RunError(f"{self.path} holds no run (there is no {self.recipe.name} in it)")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process from training in this folder; half-written files of a killed one are removed.

        Raises:
            RunError: another process is training here.
        """
        with locked(self.path):
            for leftover in list(self.path.rglob(f"*{TEMPORARY}")):
                discard(leftover)
            yield


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep every other process out of a folder that asks likewise.

    Raises:
        RunError: another process is training here.
    """
    with (path / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{path} is in use: another process is training in it") from None
        yield


def claim(path: Path) -> None:
    """Make a folder that must not exist yet.

    Raises:
        RunError: the path is taken.
    """
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise taken(path) from None


def taken(path: Path) -> RunError:
    """The refusal of a path where something stands already."""
    begun = RunFolder(path).recipe.is_file() or (path / "sweep.json").is_file()
    way = "add resume=true to go on with it, or choose another" if begun else "choose another"
    return RunError(f"{path} exists already; {way} run=PATH")


def new_folder(root: Path, name: str) -> Path:
    """A path that is not taken: ``root/<today>-<name>``, with -2, -3 … where there is one already."""
    stem = f"{dt.date.today().isoformat()}-{name}"
    path, number = root / stem, 2
    while path.exists():
        path, number = root / f"{stem}-{number}", number + 1
    return path
