"""Experiments that vary some keys: every combination can be built, and what is typed changes them."""

from pathlib import Path

import pytest
import torch

from eos import registry
from eos.cli.recipes import load_ablation, load_run_recipe
from eos.cli.sweep_request import asked, split
from eos.models import LanguageModel
from eos.training.run import make_task, train

VARIED = {name: vary for name in registry.recipes("experiment") if (vary := load_ablation(name).vary)}
LADDERS = [name for name, vary in VARIED.items() if "size" in vary]
ABLATIONS = [name for name in VARIED if name not in LADDERS]


@pytest.mark.parametrize("name", LADDERS)
def test_every_rung_of_every_ladder_builds(name: str) -> None:
    found, recipes = asked(split((f"experiment={name}",)))
    assert not found.refused
    for recipe in recipes.values():
        with torch.device("meta"):
            LanguageModel(recipe.model, 257)


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_combination_of_every_experiment_builds(name: str) -> None:
    found, recipes = asked(split((f"experiment={name}",)))
    for recipe in recipes.values():
        with torch.device("meta"):
            make_task(recipe).model(recipe.model)
    # What eos train trains of it, ignoring what varies, is the first combination.
    assert load_run_recipe([f"experiment={name}"]) == recipes[found.combinations()[0].folder]


@pytest.mark.parametrize("name", ABLATIONS)
def test_the_last_combination_of_every_experiment_trains(name: str, tmp_path: Path) -> None:
    parts = [f"task.{part}=[{{length: 32, pairs: 4, rows: 8}}]" for part in ("train", "validation", "test")]
    _, recipes = asked(split((f"experiment={name}", "steps=2", "rows=4", "device=cpu", *parts)))
    assert train(list(recipes.values())[-1], tmp_path / "run").status == "finished"


def test_the_published_protocol_takes_the_same_choices() -> None:
    found, recipes = asked(split(("experiment=lcsm_mqar_64", "vary=lcsm_tau", "learning_rate=1e-4,1e-3")))
    assert (found.axes["oscillation.tau"], found.by) == (["16", "1", "2", "4", "8", "32", "64"], ["oscillation.tau"])
    assert len(recipes) == 14
    assert {recipe.task.options.vocabulary for recipe in recipes.values()} == {8192}


@pytest.mark.parametrize("name", ABLATIONS)
def test_what_an_experiment_varies_suits_the_published_size(name: str) -> None:
    found, recipes = asked(split(("experiment=wikitext103", "model=lcsm", "heads=1", f"vary={name}")))
    assert not found.refused
    for recipe in recipes.values():
        assert (recipe.model.width, recipe.task.options.length, recipe.training.steps) == (512, 512, 50000)


def test_what_is_typed_replaces_what_an_experiment_varies() -> None:
    found, recipes = asked(
        split(("experiment=lcsm_dependence", "shrink=linear", "oscillation=none,key_gate", "steps=3"))
    )
    assert found.axes == {"expand": ["linear", "{name: learned, over: key_value}"], "oscillation": ["none", "key_gate"]}
    assert found.by == ["oscillation", "expand"]
    assert {recipe.training.steps for recipe in recipes.values()} == {3}
    tau = {"model.mixers.main.oscillation.tau": ["1", "2"]}
    assert asked(split(("experiment=lcsm_tau", "model.mixers.main.oscillation.tau=1,2")))[0].axes == tau
