"""The space is read off the stages, and holds nothing that cannot be built."""

import random
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from eos import registry
from eos.cli.recipes import load_run_recipe
from eos.compose import load_model_recipe, refuse
from eos.compose.check import check
from eos.config import option_fields
from eos.errors import RecipeError
from search.chooser import AbstractChooser, Accept
from search.match import matched
from search.recipe import SearchRecipe
from search.space import Space, version_of
from tests.search.conftest import SMALL

Spaces = Callable[..., Space]


class Drawn(AbstractChooser):
    """Values drawn evenly until one is accepted."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def choose(self, name: str, distribution: BaseDistribution, default: Any, accept: Accept) -> Any:
        for _ in range(50):
            match distribution:
                case CategoricalDistribution():
                    value = self.random.choice(distribution.choices)
                case FloatDistribution() | IntDistribution():
                    value = self.random.uniform(distribution.low, distribution.high)
                    value = round(value) if isinstance(distribution, IntDistribution) else value
            if accept(value):
                return value
        return default


def test_every_declared_option_with_a_range_is_a_dimension(space_of: Spaces) -> None:
    dimensions = space_of().dimensions
    for kind in ("expand", "oscillation", "shrink"):
        for name, entry in registry.stages(kind).items():
            for field in option_fields(entry.load().Options).values():
                bounded = field.high is not None and (field.low is not None or field.above is not None)
                assert (f"{kind}.{name}.{field.name}" in dimensions) == bool(field.choices or bounded)
        stages = set(registry.stages(kind)) | ({"none"} if kind == "oscillation" else set())
        assert set(dimensions[kind].choices) == stages


def test_defaults_lie_within_the_distributions(space_of: Spaces) -> None:
    space = space_of()
    for name, default in space._defaults.items():
        distribution = space.dimensions[name]
        assert distribution._contains(distribution.to_internal_repr(default)), name


@pytest.mark.parametrize("seed", range(8))
def test_what_is_composed_can_be_built(space_of: Spaces, seed: int) -> None:
    space = space_of(couple="any", vary={"heads": [1, 2, 4], "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}})
    for turn in range(5):
        candidate = space.compose(Drawn(1000 * seed + turn))
        assert refuse(candidate.recipe.model, causal=True) is None
        again = space.candidate(candidate.params)
        assert again == candidate


def test_no_combination_is_left_out_and_none_is_refused(space_of: Spaces) -> None:
    space = space_of(expand=["linear", "modes", "ones"], oscillation="any", shrink=["linear", "modes"], options="none")
    found = {tuple(candidate.params.values()) for candidate in space.every()}
    mixer = space.base.model.mixers["main"]
    for expand in ("linear", "modes", "ones"):
        for oscillation in ("none", *registry.stages("oscillation")):
            for shrink in ("linear", "modes"):
                parts = [] if oscillation == "none" else [oscillation]
                stages = replace(mixer, expand=expand, oscillation=parts, shrink=shrink)
                model = replace(space.base.model, mixers={"main": stages})
                assert ((expand, oscillation, shrink) in found) == (refuse(model) is None)


def test_a_recipe_narrows_the_space(space_of: Spaces) -> None:
    space = space_of(
        expand=["linear", {"name": "linear", "activation": "silu"}],
        oscillation=["key_gate", "head_decay+rotation", "none"],
        shrink="fixed",
        options=["activation", "tau"],
        vary={"layers": [1, 2]},
    )
    assert set(space.dimensions) == {
        "expand",
        "expand.linear.activation",
        "oscillation",
        "oscillation.key_gate.tau",
        "layers",
    }
    candidate = space.candidate({"expand": "linear activation=silu", "oscillation": "head_decay+rotation", "layers": 2})
    mixer = candidate.recipe.model.mixers["main"]
    assert [part.name for part in mixer.oscillation] == ["head_decay", "rotation"]
    assert mixer.expand.options["activation"] == "silu"
    assert candidate.recipe.model.layers == 2
    assert mixer.shrink == space.base.model.mixers["main"].shrink


def test_every_layer_may_choose_for_itself(base: Any, task: Any, space_of: Spaces) -> None:
    hybrid = load_run_recipe([*(text for text in SMALL if "=gla" not in text and "heads" not in text), "model=hybrid",
                              "mixers.main.heads=2", "mixers.local.heads=2", "layers=3"])  # fmt: skip
    search = check(
        SearchRecipe,
        {
            "expand": "fixed",
            "oscillation": ["head_decay", "none"],
            "shrink": "fixed",
            "options": "none",
            "each_layer": True,
            "mixers": ["main", "local"],
        },
        source="the test",
    )
    space = Space(search, hybrid, task=task)
    candidate = space.candidate(
        {"layer0.mixer": "local", "layer1.mixer": "main", "layer1.oscillation": "none", "layer2.mixer": "main"}
    )
    mixers = [candidate.recipe.model.mixers[f"layer{layer}"] for layer in range(3)]
    assert [mixer.kind for mixer in mixers] == ["softmax", "eos", "eos"]
    assert [len(mixer.oscillation) for mixer in mixers[1:]] == [0, 1]
    assert sum(1 for _ in space.every()) == 3**3


@pytest.mark.parametrize("name", ["linear_attention", "gla", "hgrn2", "mamba2", "mlstm"])
def test_a_known_recipe_is_a_candidate(space_of: Spaces, name: str) -> None:
    candidate, known = space_of().known(name), load_model_recipe(name).mixers["main"]
    mixer = candidate.recipe.model.mixers["main"]
    assert (mixer.expand, mixer.oscillation, mixer.shrink) == (known.expand, known.oscillation, known.shrink)


def test_another_space_has_another_version(space_of: Spaces) -> None:
    narrow = {"expand": ["linear", "elu"], "shrink": "fixed", "oscillation": "fixed"}
    first, again, other = (space_of(**narrow, options=which).description for which in ("any", "any", "none"))
    assert version_of(first) == version_of(again) != version_of(other)


@pytest.mark.parametrize(
    ("search", "reason"),
    [
        ({"expand": "fixed", "oscillation": "fixed", "shrink": "fixed"}, "the space is empty: nothing varies"),
        ({"expand": []}, "search.expand is an empty list"),
        ({"expand": ["liner"]}, "Did you mean 'linear'"),
        ({"expand": ["linear", "linear"]}, "search.expand has linear twice"),
        ({"expand": [{"name": "linear", "activaton": "silu"}]}, "Did you mean 'activation'"),
        ({"expand": ["linear+elu"]}, "must be one stage"),
        ({"expand": ["linear"], "oscillation": ["none"], "shrink": ["softmax"]}, "the space is empty"),
        ({"vary": {"layers": []}}, "search.vary.layers is an empty list"),
        ({"vary": {"layrs": [1]}}, "Did you mean 'layers'"),
        ({"vary": {"learning_rate": {"low": 2, "high": 1}}}, "low=2.0 is above high=1.0"),
        ({"objectives": ["quality", "state"], "sampler": "gp"}, "several objectives need"),
        ({"mixers": ["main"]}, "set each_layer=true"),
    ],
    ids=str,
)
def test_a_space_that_makes_no_sense_is_refused(space_of: Spaces, search: dict[str, Any], reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        space_of(**search)


@pytest.mark.parametrize("budget", [{"params": 50}, {"params": 1e10}, {"flops": 50}], ids=str)
def test_a_budget_out_of_reach_is_refused_by_a_sample_that_is_named(
    space_of: Spaces, budget: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    monkeypatch.setattr("search.space.matched", lambda *args, **named: tried.append(1) or matched(*args, **named))
    with pytest.raises(RecipeError, match=r"the space is empty: .* are out of reach of all") as refused:
        space_of(couple="fixed", match=budget)
    assert not tried, "the whole space was searched"
    found = re.search(r"from ([\d,]+) \((.*?)\) to ([\d,]+) \((.*?)\)", str(refused.value))
    assert found is not None
    for text, stages in ((found[1], found[2]), (found[3], found[4])):
        said = dict(part.split("=") for part in stages.split())
        alone = {kind: [label] for kind, label in said.items()}
        # The end of the range is what this candidate is brought to.
        space_of(**alone, vary={"learning_rate": [1e-3]}, match={next(iter(budget)): float(text.replace(",", ""))})


def test_a_stage_that_was_named_and_that_no_candidate_has_is_told(space_of: Spaces) -> None:
    space = space_of(expand=["linear", "channel"], oscillation=["delta", "none"], shrink="fixed", options="none")
    assert space.never() == {}
    space = space_of(
        expand=["linear", "channel"], oscillation=["delta"], shrink="fixed", options="none", vary={"heads": [1, 2]}
    )
    assert list(space.never()) == ["expand=channel"]
    assert "delta" in space.never()["expand=channel"] or "erase" in space.never()["expand=channel"]
    # What was not named is not missed.
    assert space_of(oscillation=["delta"], shrink="fixed", options="none").never() == {}


def test_a_value_that_is_not_of_the_space_is_refused(space_of: Spaces) -> None:
    space = space_of(options="none")
    with pytest.raises(RecipeError, match="expand = liner is not of the space"):
        space.candidate({"expand": "liner"})
    with pytest.raises(RecipeError, match="not a parameter of this candidate"):
        space.candidate({"expand": "linear", "layers": 3})
    with pytest.raises(RecipeError, match="makes no sense with what else was chosen"):
        space.candidate({"expand": "linear", "oscillation": "key_gate", "shrink": "modes"})
