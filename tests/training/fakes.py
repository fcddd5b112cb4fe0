"""A model of two lines and a task of five, to test training by itself."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from eos.config import option, options
from eos.tasks.task import IGNORED, AbstractTask, Batch, Counts, Split, Standard
from eos.training.config import TrainingOptions
from eos.training.fit import fit, steps_of
from eos.training.folder import RunFolder
from eos.training.module import TrainingModule
from eos.training.report import SilentReport
from eos.training.state import seed_everything
from eos.training.stopping import StopRequest

VOCABULARY = 11


class TinyModel(nn.Module):
    def __init__(self, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 8)
        self.norm = nn.LayerNorm(8)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(8, VOCABULARY)

    def forward(self, tokens: Tensor, *, reset: Tensor | None = None) -> Tensor:
        logits: Tensor = self.head(self.dropout(self.norm(self.embedding(tokens))))
        return logits


class CountingTask(AbstractTask):
    """The next token is one more; some targets are ignored, more in some rows than in others."""

    @options
    class Options:
        length: int = option(7, "T", low=1)

    def prepare(self, folder: Path) -> None:
        return None

    def prepare_other(self, folder: Path) -> None:
        return None

    def restore(self, folder: Path) -> None:
        return None

    @property
    def summary(self) -> str:
        return "counting"

    @property
    def standard(self) -> Standard:
        return Standard(metric="nats_per_token", higher=False, chance=2.4, floor=2.4, trivial="any token")

    @property
    def vocabulary(self) -> int:
        return VOCABULARY

    @property
    def length(self) -> int:
        length: int = self.options.length
        return length

    def train_batch(self, seed: int, step: int, rows: int) -> Batch:
        generator = torch.Generator().manual_seed(seed * 100_003 + step)
        starts = torch.randint(VOCABULARY, (rows, 1), generator=generator)
        inputs = (starts + torch.arange(self.length)) % VOCABULARY
        targets = (inputs + 1) % VOCABULARY
        ignored = torch.arange(self.length) < torch.randint(self.length, (rows, 1), generator=generator)
        return Batch(inputs=inputs, targets=targets.masked_fill(ignored, IGNORED))

    def evaluation_batches(self, split: Split, rows: int) -> Iterator[Batch]:
        for step in range(3):
            yield self.train_batch(1 if split == "validation" else 2, 2**20 + step, rows)

    def count(self, batch: Batch) -> Counts:
        return Counts(targets=int((batch.targets != IGNORED).sum()))

    def metrics(self, nats: float, counts: Counts) -> dict[str, float]:
        return {"nats_per_token": nats / counts.targets}

    def encode(self, text: str) -> list[int]:
        return [int(word) for word in text.split()]

    def decode(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))


def counting_task() -> CountingTask:
    return CountingTask(CountingTask.Options())


def training_options(**changes: object) -> TrainingOptions:
    """A short run on the CPU that logs, validates and saves at steps of its own."""
    chosen: dict[str, object] = {
        "steps": 24,
        "rows": 4,
        "learning_rate": 0.02,
        "validate_every": 8,
        "validation_tokens": None,
        "evaluation_rows": 4,
        "checkpoint_every": 5,
        "log_every": 3,
        "device": "cpu",
    }
    return TrainingOptions(**{**chosen, **changes})  # type: ignore[arg-type]


class Killed(Exception):
    """Stands for a process that vanished."""


class StoppingModel(TinyModel):
    """Ends the run in the middle of a training step: by a signal to the process, or as if it was killed."""

    def __init__(self, *, at: int, how: Literal["signal", "kill"]) -> None:
        super().__init__()
        self._left = at
        self._how = how

    def forward(self, tokens: Tensor, *, reset: Tensor | None = None) -> Tensor:
        if self.training:
            self._left -= 1
            if self._left == 0:
                if self._how == "kill":
                    raise Killed
                os.kill(os.getpid(), signal.SIGINT)
        return super().forward(tokens, reset=reset)


def fit_in(path: Path, model: nn.Module, options: TrainingOptions, task: AbstractTask | None = None) -> TrainingModule:
    """Train in a folder, from its checkpoint if there is one; weights are set from the seed."""
    folder = RunFolder(path)
    if not path.exists():
        folder.create()
    seed_everything(options.seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    task = task or counting_task()
    module = TrainingModule(model, options, steps=steps_of(options, length=task.length, parameters=0))
    with StopRequest() as stop:
        fit(module, task, folder=folder, device=torch.device("cpu"), stop=stop, report=SilentReport())
    return module
