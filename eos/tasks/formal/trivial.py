"""What trivial methods get right, measured on the rows that models are graded on."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eos.tasks.generated.task import BLOCK, AbstractGeneratedTask
from eos.tasks.task import IGNORED, Batch


def guessing(task: AbstractGeneratedTask[Any], guess: Callable[[Batch], Tensor]) -> float:
    """The accuracy of ``guess`` on the test part: of a batch it makes ids [B,T]."""
    right, rows = 0.0, 0
    for batch in task.evaluation_batches("test", BLOCK):
        right += float(_shares(batch)[guess(batch) == batch.targets].sum())
        rows += len(batch.targets)
    return right / rows


def always_the_same(task: AbstractGeneratedTask[Any]) -> float:
    """The accuracy on the test part of the answer that is right most often."""
    right, rows = torch.zeros(task.vocabulary, dtype=torch.float64), 0
    for batch in task.evaluation_batches("test", BLOCK):
        asked = batch.targets != IGNORED
        right.index_add_(0, batch.targets[asked], _shares(batch)[asked])
        rows += len(batch.targets)
    return float(right.max()) / rows


def _shares(batch: Batch) -> Tensor:
    """What each position counts for in the accuracy of its row [B,T]."""
    asked = (batch.targets != IGNORED).double()
    return asked / asked.sum(1, keepdim=True).clamp(min=1)
