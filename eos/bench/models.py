"""A training step of every recipe against what the cost model predicts of it."""

from collections.abc import Iterator

from eos import registry
from eos.bench.check import Check
from eos.bench.lengths import training_step
from eos.bench.measure import side_by_side
from eos.compose import load_model_recipe
from eos.compose.cost import ModelCost, cost_of
from eos.compose.rates import operations, rates, step_seconds

TOKENS, LENGTH, ROUNDS = 4096, 1024, 5
SIZE = ("size=small",)
#: No recipe may be slower than predicted from the fastest of its class by more.
BOUND = 1.5


def checks() -> Iterator[Check]:
    """Of each recipe's small size: seconds over predicted seconds, over the same of the best recipe of its class.

    A class is the algorithm that the engine chooses for a recipe's mixers; softmax is one.
    """
    costs = {name: cost_of(load_model_recipe(name, SIZE), length=LENGTH) for name in registry.recipes("model")}
    steps = {name: training_step(name, LENGTH, tokens=TOKENS, sizes=SIZE) for name in costs}
    seconds = side_by_side({**steps, **operations()}, rounds=ROUNDS)
    machine = rates(seconds)
    over = {name: seconds[name] / step_seconds(cost, machine, tokens=TOKENS) for name, cost in costs.items()}
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


def algorithm_of(cost: ModelCost) -> str:
    """The algorithm of the mixer that takes most; softmax where none is the engine's."""
    planned = [mixer for mixer in cost.mixers.values() if mixer.plan is not None and mixer.layers]
    if not planned:
        return "softmax"
    heaviest = max(planned, key=lambda mixer: mixer.forward.flops * len(mixer.layers))
    assert heaviest.plan is not None
    return heaviest.plan.algorithm
