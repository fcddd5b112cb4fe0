"""Checkpoints: written whole or not at all, loaded without running code."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO

from eos.errors import RunError
from eos.training.files import replacing


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
        except Exception as error:
            raise RunError(f"{path} is not a checkpoint of a run, or damaged: {str(error).splitlines()[0]}") from error
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete ``path``."""
        Path(path).unlink(missing_ok=True)
