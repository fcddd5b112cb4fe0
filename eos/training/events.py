"""TensorBoard's view of a run: scalars, hyperparameters with final metrics, decays and texts, in its own folder."""

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from eos.compose.model import flat, leaves
from eos.compose.run import RunRecipe
from eos.config import EOSMixer
from eos.training.config import MANNER, TrainingOptions
from eos.training.learned import Learned
from eos.training.result import Result

Value = bool | int | float | str
#: The name of a stage, which stands under its short name too.
_NAMED = re.compile(r"\.mixers\.[^.]+\.((expand|shrink)|oscillation\[\d+\])\.name$")


class Events:
    """Writes a run's events, dated by training time: pauses between two starts leave no gap.

    Arguments:
        folder: of the run.
        seconds: training time so far.
    """

    def __init__(self, folder: Path, *, seconds: float = 0.0) -> None:
        self._origin = time.time() - seconds
        self._writer = SummaryWriter(str(folder))

    def begin(self, hyperparameters: Mapping[str, Value]) -> None:
        """What the HParams page compares runs by; no list of columns, so that it shows those of all runs."""
        _, started, _ = hparams(dict(hyperparameters), {})
        self._file.add_summary(started)

    def scalar(self, metric: str, value: float, *, step: int, seconds: float) -> None:
        """One number of the log."""
        self._writer.add_scalar(metric, value, step, walltime=self._origin + seconds)

    def end(self, result: Result, learned: Learned) -> None:
        """Final metrics under the names of the log, decay lengths as histograms, and texts."""
        for part, named in result.metrics.items():
            for name, value in named.items():
                if value is not None:
                    self._writer.add_scalar(f"final/{part}/{name}", value, result.steps)
        for kept in learned.memory:
            # Of those that never fade there is no length.
            lengths = [-1 / value for row in kept.log_decay for value in row if value < 0]
            if lengths:
                tag = f"memory/{kept.stack}/{kept.layer}/log10_decay_tokens"
                self._writer.add_histogram(tag, np.log10(lengths), result.steps)
        for number, text in enumerate(learned.samples):
            # A block that is set as it is: TensorBoard reads texts as Markdown.
            block = "\n".join(f"    {line}" for line in text.splitlines())
            self._writer.add_text(f"samples/{number}", block, result.steps)
        _, _, ended = hparams({}, {})
        self._file.add_summary(ended)

    def close(self) -> None:
        """Hand everything to the operating system."""
        self._writer.close()

    @property
    def _file(self) -> Any:
        # HParams has no other way that does not write to a folder of its own.
        return self._writer._get_file_writer()


def forget_events(folder: Path) -> None:
    """Delete the events of earlier starts, which are written anew."""
    for event in folder.glob("events.out.tfevents.*"):
        event.unlink()


def hyperparameters(recipe: RunRecipe[TrainingOptions]) -> dict[str, Value]:
    """Names and numbers of a recipe: stages by their short names, once; nothing that is null.

    TensorBoard shows five columns: those that differ between runs, by name.
    """
    stages: dict[str, Value] = {}
    mixers = [(name, mixer) for name, mixer in recipe.model.mixers.items() if isinstance(mixer, EOSMixer)]
    for name, mixer in mixers:
        prefix = "" if len(mixers) == 1 else f"{name}."
        stages[f"{prefix}expand"] = mixer.expand.name
        stages[f"{prefix}oscillation"] = "+".join(stage.name for stage in mixer.oscillation) or "none"
        stages[f"{prefix}shrink"] = mixer.shrink.name
    training = {key: value for key, value in flat(recipe.training).items() if key not in MANNER}
    parts = {"training": training, "model": flat(recipe.model), "task": flat(recipe.task.options)}
    known = {key: value for key, value in leaves(parts) if value is not None and not _NAMED.search(key)}
    return stages | {"model": recipe.names["model"], "task": recipe.task.name} | known
