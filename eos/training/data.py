"""Batches for training: step by step, whatever the number of workers."""

import itertools
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from eos.tasks.task import AbstractTask, Batch, Counts
from eos.training.config import TrainingOptions


@dataclass(frozen=True, kw_only=True)
class StepBatch:
    """The batch of one step, and what its targets stand for (counted before it moves to a device)."""

    batch: Batch
    counts: Counts


class Steps(Dataset[StepBatch]):
    """Item n is the batch of step n: a pure function of the seed of the data and n."""

    def __init__(self, task: AbstractTask, options: TrainingOptions) -> None:
        self._task = task
        self._seed = options.order
        self._rows = options.rows

    def __getitem__(self, step: int) -> StepBatch:
        batch = self._task.train_batch(self._seed, step, self._rows)
        return StepBatch(batch=batch, counts=self._task.count(batch))


class StepsFrom(Sampler[int]):
    """Step numbers from ``start`` on, without end: the trainer decides when to stop."""

    def __init__(self, start: int) -> None:
        self._start = start

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self._start)


class TrainingData(LightningDataModule):
    """Loads the batches that follow the step that training has reached."""

    def __init__(self, task: AbstractTask, options: TrainingOptions) -> None:
        super().__init__()
        self._task = task
        self._options = options

    def train_dataloader(self) -> DataLoader[StepBatch]:
        """Batches in the order of their steps; worker w of W prepares every W-th of them."""
        assert self.trainer is not None
        return DataLoader(
            Steps(self._task, self._options),
            sampler=StepsFrom(self.trainer.global_step),
            batch_size=None,
            num_workers=self._options.workers,
            worker_init_fn=leave_signals_to_parent,
        )


def leave_signals_to_parent(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal: workers go on until the training process has saved its step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def parts(batch: Batch, number: int) -> Iterator[Batch]:
    """The rows of ``batch`` in ``number`` equal parts."""
    size = batch.inputs.shape[0] // number
    for start in range(0, size * number, size):
        yield batch.rows(slice(start, start + size))
