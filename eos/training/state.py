"""What a run must remember, beside weights and optimiser, to go on as if it had never stopped."""

import random
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from eos.tasks.task import Counts


@dataclass(kw_only=True)
class TrainingState:
    """The run's position; every field is in the checkpoint.

    Arguments:
        step: optimiser steps done.
        tokens: tokens read by them.
        seconds: training time before the latest start.
        nats: training loss summed since the latest row of the log.
        counts: what those nats are divided by.
        log_bytes: length of metrics.csv; what lies beyond belongs to steps that will be done again.
        validated_step: step of the latest validation.
        best_step, best_loss: step and nats per target of the best validation.
        stale: validations since the best.
        reached: whether a validation was as good as training was to become.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    nats: float = 0.0
    counts: Counts = field(default_factory=Counts)
    log_bytes: int = 0
    validated_step: int | None = None
    best_step: int | None = None
    best_loss: float | None = None
    stale: int = 0
    reached: bool = False

    def to_plain(self) -> dict[str, Any]:
        """Numbers and dictionaries alone, so that a checkpoint is loaded without running code."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "TrainingState":
        """The inverse of :meth:`to_plain`."""
        return cls(**{**plain, "counts": Counts(**plain["counts"])})


class Clock:
    """Seconds of training, those before the latest start included."""

    def __init__(self, before: float = 0.0) -> None:
        self._origin = time.monotonic() - before

    def seconds(self) -> float:
        """Training time so far."""
        return time.monotonic() - self._origin


def random_state() -> dict[str, Any]:
    """The state of every global generator that a model or a stage may draw from."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """The inverse of :func:`random_state`; CUDA states are left alone on a machine with another number of devices."""
    kind, keys, position, has_gauss, gauss = state["numpy"]
    random.setstate(state["python"])
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def seed_everything(seed: int) -> None:
    """Seed every generator that :func:`random_state` saves."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
