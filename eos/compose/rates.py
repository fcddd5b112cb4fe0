"""What a machine does in a second, and how long a training step takes at these rates by the cost model."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from eos.compose.cost import PASSES, ModelCost

#: Of what the rates are measured on: tokens, and the entries of each before and after a projection.
ROWS, BEFORE, AFTER, TIMES = 4096, 256, 1024, 10


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Floating-point operations and bytes a second, seconds a launch."""

    matrix: float
    stream: float
    launch: float


def operations(device: str = "cpu") -> dict[str, Callable[[], object]]:
    """What the rates are read from: a projection, a pass over memory, and next to nothing, ten times each."""
    x, weight = torch.randn(ROWS, BEFORE, device=device), torch.randn(AFTER, BEFORE, device=device)
    y, one = torch.randn(ROWS, AFTER, device=device), torch.ones(1, device=device)
    room = torch.empty_like(y)  # new pages would cost as much as the pass, in some runs and not in others
    once: dict[str, Callable[[], object]] = {
        "matrix": lambda: F.linear(x, weight),
        "stream": lambda: torch.sigmoid(y, out=room),
        "launch": lambda: one + one,
    }

    def repeated(run: Callable[[], object]) -> Callable[[], object]:
        return lambda: [run() for _ in range(TIMES)]

    return {name: repeated(run) for name, run in once.items()}


def rates(seconds: dict[str, float]) -> Rates:
    """The rates, from the seconds of :func:`operations`."""
    return Rates(
        matrix=TIMES * 2 * ROWS * BEFORE * AFTER / seconds["matrix"],
        stream=TIMES * 2 * 4 * ROWS * AFTER / seconds["stream"],
        launch=seconds["launch"] / TIMES,
    )


def step_seconds(cost: ModelCost, machine: Rates, *, tokens: int) -> float:
    """Seconds of a step by the cost model's operations, bytes and launches of algorithms, at the machine's rates."""
    planned = [(mixer.plan.cost.launches, len(mixer.layers) or 1) for mixer in cost.mixers.values() if mixer.plan]
    launches = PASSES * sum(each * layers for each, layers in planned)
    moved = cost.training.flops / machine.matrix + cost.training.bytes / machine.stream
    return tokens * moved + launches * machine.launch
