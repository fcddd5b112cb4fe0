"""Checkpoints: written whole or not at all, known by their checksums, loaded without running code."""

import hashlib
import pickle
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO

from eos.errors import RunError
from eos.training.files import discard, read_json, replacing, write_json

#: Checkpoints that are kept: should the latest be damaged, the one before is there.
KEPT = 2
_NO_DIGIT = re.compile(r"\D")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A checkpoint.

    Arguments:
        step: that it was written after.
        sha256: of its file, or of the list of its files with theirs.
        best_step: step of the best validation so far, whose weights it refers to; None where there was none.
    """

    step: int
    sha256: str
    best_step: int | None


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run, and the weights of its best validations.

    Arguments:
        path: their folder.
    """

    path: Path

    @property
    def index(self) -> Path:
        """Says which there are, the latest last."""
        return self.path / "index.json"

    def at(self, step: int) -> Path:
        """The checkpoint written after a step: a file, or a folder where the model is sharded."""
        return self.path / f"step-{step}.ckpt"

    def best(self, step: int) -> Path:
        """The weights of the best validation so far, that of ``step``: a file or a folder, likewise."""
        return self.path / f"best-{step}.safetensors"

    def kept(self) -> list[Kept]:
        """What the index lists; where it is lost, the files that stand there, as they are.

        Raises:
            RunError: it is damaged, or the run was begun by an earlier version.
        """
        if not self.index.exists():
            if (self.path / "last.ckpt").exists():
                raise RunError(f"{self.path} was written by an earlier version, which alone can go on with it")
            return self._found()
        try:
            return [Kept(**each) for each in read_json(self.index)]
        except TypeError as error:
            raise RunError(f"{self.index} is damaged: {error}") from error

    def _found(self) -> list[Kept]:
        """The files of a folder whose index is lost; each stands there whole, as it was renamed into its place."""

        def steps(pattern: str) -> list[int]:
            return sorted(int(_NO_DIGIT.sub("", path.name)) for path in self.path.glob(pattern))

        best = steps("best-*.safetensors")
        return [
            Kept(step=step, sha256=_sha256(self.at(step)), best_step=max((b for b in best if b <= step), default=None))
            for step in steps("step-*.ckpt")
        ][-KEPT:]

    def add(self, step: int, *, best_step: int | None) -> None:
        """Count the file of a step among the checkpoints, and delete what none of those kept refers to."""
        known = [each for each in self.kept() if each.step < step]
        kept = [*known, Kept(step=step, sha256=_sha256(self.at(step)), best_step=best_step)][-KEPT:]
        write_json(self.index, [asdict(each) for each in kept])
        needed = {self.at(each.step) for each in kept}
        needed |= {self.best(each.best_step) for each in kept if each.best_step is not None}
        for path in (*self.path.glob("step-*.ckpt"), *self.path.glob("best-*.safetensors")):
            if path not in needed:
                discard(path)

    def latest(self) -> tuple[Path | None, list[Path]]:
        """The latest checkpoint that is as it was written, or None where there never was one; and damaged later ones.

        Raises:
            RunError: all are damaged.
        """
        damaged: list[Path] = []
        kept = self.kept()
        for each in reversed(kept):
            path = self.at(each.step)
            if path.exists() and _sha256(path) == each.sha256:
                return path, damaged
            damaged.append(path)
        if kept:
            names = ", ".join(path.name for path in damaged)
            raise RunError(
                f"{self.path}: every checkpoint is damaged ({names}), and nothing is left to go on from; put back a "
                "copy of one, or train anew with another run=PATH"
            )
        return None, []


def _sha256(path: Path) -> str:
    """Of a file, or of the names and checksums of what is in a folder."""
    if path.is_dir():
        listed = "".join(f"{each.name} {_sha256(each)}\n" for each in sorted(path.iterdir()))
        return hashlib.sha256(listed.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class AtomicCheckpointIO(CheckpointIO):
    """Writes beside the old checkpoint and takes its place; reads tensors and plain values alone."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Replace ``path``."""
        # Through a file of Python's, so that a full disk is told apart from other failures.
        with replacing(Path(path)) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """The content of ``path``.

        Raises:
            RunError: it is damaged, or holds more than tensors and plain values.
        """
        try:
            checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            # torch's own words tell how to run what is in it
            raise RunError(
                f"{path} is damaged, or holds more than tensors and plain values, which could run code: it is not read"
            ) from error
        except Exception as error:
            raise RunError(f"{path} is not a checkpoint of a run, or damaged: {str(error).splitlines()[0]}") from error
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete ``path``."""
        Path(path).unlink(missing_ok=True)
