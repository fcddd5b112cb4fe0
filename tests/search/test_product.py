"""Every combination of stages that the predicate allows can be built, and trained for a step."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations
from typing import Any

import pytest
import torch

from eos import registry
from eos.cli.recipes import load_run_recipe
from eos.compose import refuse
from eos.compose.check import check
from eos.tasks.task import AbstractTask
from eos.training.evaluation import summed_nats
from eos.training.optimizer import adamw
from search.chooser import Chosen
from search.recipe import SearchRecipe
from search.space import Space
from tests.search.conftest import SMALL

KINDS = ("expand", "oscillation", "shrink")
Combination = tuple[str, str, str]


@cache
def combinations_of_all_stages() -> list[Any]:
    """Every one that can be built, in the order of the registries."""
    return [tuple(candidate.params[kind] for kind in KINDS) for candidate in space().every()]


@cache
def space() -> Space:
    base = load_run_recipe(SMALL)
    task: AbstractTask = registry.task(base.task.name).load()(base.task.options)
    return Space(check(SearchRecipe, {"options": "none"}, source="the test"), base, task=task)


def covering(every: Sequence[Combination]) -> list[Combination]:
    """Some of them that hold every pair of stages that any of them holds: always the one that adds most."""
    pairs = {one: {(i, one[i], j, one[j]) for i, j in combinations(range(3), 2)} for one in every}
    missing, chosen = set().union(*pairs.values()), []
    while missing:
        best = max(every, key=lambda one: len(pairs[one] & missing))
        chosen.append(best)
        missing -= pairs[best]
    return chosen


def takes_a_step(combination: Combination) -> str | None:
    """Why it does not, or None."""
    params = dict(zip(KINDS, combination, strict=True))
    recipe = space().compose(Chosen(params)).recipe
    if reason := refuse(recipe.model):
        return reason
    torch.manual_seed(0)
    model = space().task.model(recipe.model)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    batch = space().task.train_batch(0, 0, 2)
    loss = summed_nats(model, batch, "float32")
    loss.backward()  # type: ignore[no-untyped-call]
    if not loss.isfinite():
        return "the loss is not finite"
    optimizer = adamw(model, recipe.training)
    optimizer.step()
    after = list(model.parameters())
    if not all(parameter.isfinite().all() for parameter in after):
        return "a parameter is not finite after a step"
    return None if any(not torch.equal(old, new) for old, new in zip(before, after, strict=True)) else "nothing learned"


def failures(chosen: Sequence[Combination]) -> dict[Combination, str]:
    found: dict[Combination, str] = {}
    for combination in chosen:
        try:
            reason = takes_a_step(combination)
        except Exception as error:  # noqa: BLE001  (whatever it is, it belongs in the list)
            reason = f"{type(error).__name__}: {error}"
        if reason is not None:
            found[combination] = reason
    return found


def test_every_pair_of_stages_is_trained_for_a_step() -> None:
    assert failures(covering(combinations_of_all_stages())) == {}


@pytest.mark.slow
def test_every_combination_of_stages_is_trained_for_a_step() -> None:
    every = combinations_of_all_stages()
    assert len(every) > 1000
    assert failures(every) == {}


def test_every_stage_stands_in_some_combination_unless_a_layer_option_is_needed(
    record_property: Callable[[str, Any], None],
) -> None:
    """Those that stand in none need a layer option (a first pass, input=layer), and are refused with that reason."""
    every = combinations_of_all_stages()
    for place, kind in enumerate(KINDS):
        missing = set(registry.stages(kind)) - {one[place] for one in every}
        record_property(kind, sorted(missing))
        for name in missing:
            others = {"expand": "linear", "oscillation": "none", "shrink": "linear", kind: name}
            params = {other: others[other] for other in KINDS}
            with pytest.raises(Exception, match="makes no sense"):
                space().compose(Chosen(params))
