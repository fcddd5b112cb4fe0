"""A training step of every recipe against what the cost model predicts of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from eos import registry
from eos.bench.check import Check
from eos.bench.lengths import training_step
from eos.bench.measure import side_by_side
from eos.compose import load_model_recipe
from eos.compose.cost import PASSES, ModelCost, cost_of

TOKENS, LENGTH, ROUNDS = 4096, 1024, 5
SIZE = ("size=small",)
#: No recipe may be slower than predicted from the fastest of its class by more.
BOUND = 1.5
#: Of what the machine's rates are measured on: tokens, and the entries of each before and after a projection.
ROWS, BEFORE, AFTER, TIMES = 4096, 256, 1024, 10


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What the machine does in this run: floating-point operations and bytes a second, seconds a launch."""

    matrix: float
    stream: float
    launch: float


def checks() -> Iterator[Check]:
    """Of each recipe's small size: seconds over predicted seconds, over the same of the best recipe of its class.

    A class is the algorithm that the engine chooses for a recipe's mixers; softmax is one.
    """
    costs = {name: cost_of(load_model_recipe(name, SIZE), length=LENGTH) for name in registry.recipes("model")}
    steps = {name: training_step(name, LENGTH, tokens=TOKENS, sizes=SIZE) for name in costs}
    seconds = side_by_side({**steps, **operations()}, rounds=ROUNDS)
    machine = rates(seconds)
    over = {name: seconds[name] / predicted(cost, machine) for name, cost in costs.items()}
    best: dict[str, str] = {}
    for name in sorted(over, key=lambda name: over[name]):
        best.setdefault(algorithm_of(costs[name]), name)
    for name, ratio in over.items():
        algorithm = algorithm_of(costs[name])
        yield Check(
            name=f"{name}: a step over its prediction from {best[algorithm]} ({algorithm})",
            value=ratio / over[best[algorithm]],
            bound=BOUND,
            side="at most",
            detail=f"{seconds[name] * 1e3:.0f} ms for {TOKENS} tokens",
        )


def operations() -> dict[str, Callable[[], object]]:
    """What the machine's rates are read from: a projection, a pass over memory, and next to nothing, ten times each."""
    x, weight, y, one = torch.randn(ROWS, BEFORE), torch.randn(AFTER, BEFORE), torch.randn(ROWS, AFTER), torch.ones(1)
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


def predicted(cost: ModelCost, machine: Rates) -> float:
    """Seconds of a step by the cost model's operations, bytes and launches of algorithms, at the machine's rates."""
    planned = [(mixer.plan.cost.launches, len(mixer.layers) or 1) for mixer in cost.mixers.values() if mixer.plan]
    launches = PASSES * sum(each * layers for each, layers in planned)
    moved = cost.training.flops / machine.matrix + cost.training.bytes / machine.stream
    return TOKENS * moved + launches * machine.launch


def algorithm_of(cost: ModelCost) -> str:
    """The algorithm of the mixer that takes most; softmax where none is the engine's."""
    planned = [mixer for mixer in cost.mixers.values() if mixer.plan is not None and mixer.layers]
    if not planned:
        return "softmax"
    heaviest = max(planned, key=lambda mixer: mixer.forward.flops * len(mixer.layers))
    assert heaviest.plan is not None
    return heaviest.plan.algorithm
