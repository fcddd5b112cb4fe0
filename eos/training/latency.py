"""How long a forward pass takes."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from eos.tasks.task import AbstractTask
from eos.training.config import Precision

#: Passes before the clock counts, and at most and at least so many that count; between the two, seconds in all.
WARM, MOST, FEWEST, SECONDS = 3, 300, 5, 0.3


def latency(model: nn.Module, task: AbstractTask, *, precision: Precision, seconds: float = SECONDS) -> float:
    """Milliseconds of a forward pass of one row of the validation part, where the model is: the median of up to 300,
    which take no more than so many seconds where five do not.
    """
    device = next(model.parameters()).device
    batch = next(iter(task.evaluation_batches("validation", 1))).to(device)
    training = model.training
    model.eval()
    try:
        return timed(
            lambda: model(batch.inputs, **batch.arguments()), device=device, precision=precision, seconds=seconds
        )
    finally:
        model.train(training)


@torch.no_grad()
def timed(run: Callable[[], object], *, device: torch.device, precision: Precision, seconds: float = SECONDS) -> float:
    """Milliseconds of a call without gradients, what it starts on the device done: the median of up to 300."""
    taken: list[float] = []

    def once() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(WARM):
        once()
    while len(taken) < FEWEST or (len(taken) < MOST and sum(taken) < seconds):
        began = time.perf_counter()
        once()
        taken.append(time.perf_counter() - began)
    return 1000 * statistics.median(taken)
