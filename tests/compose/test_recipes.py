"""Model recipes from file to model: what is filled in, what is refused before anything is built, and how it is said."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from eos import registry
from eos.compose import build, load_model_recipe, refuse
from eos.config import EOSMixer, ModelRecipe, StageRecipe
from eos.errors import CompositionError, RecipeError

Add = Callable[[str, str], Path]

MINE = """
layers: 2
width: 8
mixers:
  main:
    heads: 2
    expand: elu
    oscillation: head_gate
    shrink: {name: linear, activation: relu}
layout: [main]
"""


def main_of(recipe: ModelRecipe) -> EOSMixer:
    mixer = recipe.mixers["main"]
    assert isinstance(mixer, EOSMixer)
    return mixer


def test_every_model_recipe_is_complete_and_makes_sense() -> None:
    for name in registry.recipes("model"):
        recipe = load_model_recipe(name)
        assert refuse(recipe) is None, name
        for mixer in recipe.mixers.values():
            if isinstance(mixer, EOSMixer):
                options = registry.stage("expand", mixer.expand.name).load().Options
                assert options(**mixer.expand.options)


def test_a_recipe_gets_every_option_of_its_stages(add_recipe: Add) -> None:
    add_recipe("model/mine", MINE)
    mixer = main_of(load_model_recipe("mine"))
    assert mixer.expand == StageRecipe(name="elu")
    assert [part.name for part in mixer.oscillation] == ["head_gate"]
    defaults = registry.stage("shrink", "linear").load().Options()
    assert mixer.shrink.options == vars(defaults) | {"activation": "relu"}


def test_overrides_change_a_recipe(add_recipe: Add) -> None:
    add_recipe("model/mine", MINE)
    recipe = load_model_recipe("mine", ["oscillation=none", "shrink.bias=true", "layers=3", "output.norm=layer"])
    assert recipe.layers == 3
    assert main_of(recipe).oscillation == []
    assert main_of(recipe).shrink.options["activation"] == "relu"
    assert main_of(recipe).shrink.options["bias"] is True
    assert main_of(recipe).output.norm == "layer"


def test_a_model_is_built_from_a_name_or_a_recipe(add_recipe: Add) -> None:
    add_recipe("model/mine", MINE)
    by_name = build("mine", ["layers=1"], vocabulary=11)
    by_recipe = build(load_model_recipe("mine"), ["layers=1"], vocabulary=11)
    shapes = {name: value.shape for name, value in by_name.state_dict().items()}
    assert shapes == {name: value.shape for name, value in by_recipe.state_dict().items()}
    assert by_name.recipe == by_recipe.recipe


def test_a_recipe_made_in_python_is_checked_like_a_file(add_recipe: Add) -> None:
    add_recipe("model/mine", MINE)
    recipe = load_model_recipe("mine")
    mixer = replace(main_of(recipe), shrink=StageRecipe(name="linear", options={"activation": "rleu"}))
    with pytest.raises(RecipeError, match=r"mixers\.main\.shrink\.activation has the unknown value 'rleu'"):
        build(replace(recipe, mixers={"main": mixer}))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("layers: 2", "layer: 2", r"unknown key 'layer'\. Did you mean 'layers'"),
        ("layers: 2", "layers: two", 'layers must be a whole number, got "two"'),
        ("layers: 2", "layers: true", "layers must be a whole number, got true"),
        ("layers: 2", "layers: 0", "layers must be greater than or equal to 1, got 0"),
        ("heads: 2", "head: 2", r"in mixers\.main: unknown key 'head'\. Did you mean 'heads'"),
        ("heads: 2", "kind: sofmax", r"mixers\.main has the unknown kind 'sofmax'\. Did you mean 'softmax'"),
        (
            "heads: 2",
            "output: {norm: rsm}",
            r"mixers\.main\.output\.norm has the unknown value 'rsm'\. Did you mean 'rms'",
        ),
        ("heads: 2", "output: rms", r'mixers\.main\.output must be a mapping, got "rms"'),
        ("heads: 2", "output: {gate: {rnk: 2}}", r"in mixers\.main\.output\.gate: unknown key 'rnk'"),
        ("expand: elu", "", r"mixers\.main\.expand is missing: what is written"),
        ("expand: elu", "expand: elo", r"mixers\.main\.expand: unknown expand stage 'elo'\. Did you mean 'elu'"),
        ("expand: elu", "expand: 3", r"mixers\.main\.expand must be a mapping, got 3"),
        ("expand: elu", "expand: {size: 3}", r"mixers\.main\.expand\.name is missing"),
        ("head_gate", "head_gate+head_gat", r"oscillation\.1: unknown oscillation stage 'head_gat'"),
        ("oscillation: head_gate", "oscillation: 3", r"oscillation must be a list, got 3"),
        (
            "activation: relu",
            "activation: rleu",
            r"shrink stage 'linear': mixers\.main\.shrink\.activation has the unknown",
        ),
        (
            "activation: relu",
            "actvation: relu",
            r"in mixers\.main\.shrink: unknown key 'actvation'. Did you mean 'acti",
        ),
        ("[main]", "[main, min]", r"layout: unknown mixer in layout 'min'\. Did you mean 'main'"),
        ("[main]", "3", "layout must be a list or a mapping, got 3"),
        ("[main]", "{first: main, rest: mian}", "unknown mixer in layout 'mian'"),
        ("[main]", "[]", "layout: an empty layout; allowed is"),
        ("[main]", "{0.5: main, 0.9: main}", r"layout: fractions of depth must be > 0 and end with 1\.0"),
        (MINE, "mixers: [a]", "mixers must be a mapping"),
        (MINE, "mixers: {main: 3}", r"mixers\.main must be a mapping, got 3"),
    ],
)
def test_a_fault_is_named_by_file_and_key(add_recipe: Add, old: str, new: str, message: str) -> None:
    path = add_recipe("model/mine", MINE.replace(old, new))
    with pytest.raises(RecipeError, match=message) as caught:
        load_model_recipe("mine")
    assert str(path) in str(caught.value)


def test_all_faults_are_told_at_once(add_recipe: Add) -> None:
    add_recipe("model/mine", MINE.replace("layers: 2", "layers: 0\nwdth: 3").replace("heads: 2", "heads: x"))
    with pytest.raises(RecipeError) as caught:
        load_model_recipe("mine")
    assert len(str(caught.value).splitlines()) == 3


def test_an_unknown_recipe_shows_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"unknown model recipe 'lightnot'\. Did you mean 'lightnet'"):
        load_model_recipe("lightnot")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["heads=3"], "3 heads do not divide"),
        (["oscillation=rotation", "key_size=5"], "rotation"),
        (["oscillation=value_gate+delta"], "erase does not multiply with value"),
    ],
)
def test_stages_that_make_no_sense_together_are_refused_before_building(
    add_recipe: Add, overrides: list[str], message: str
) -> None:
    add_recipe("model/mine", MINE)
    with pytest.raises(CompositionError, match=message) as caught:
        build("mine", overrides)
    assert "mixers.main" in str(caught.value)


HOSTILE = {
    "target": "_target_: os.system\n_args_: ['touch {trap}']",
    "target_in_a_stage": MINE.replace("expand: elu", "expand: {_target_: os.system, _args_: ['touch {trap}']}"),
    "python_tag": "layers: !!python/object/apply:os.system ['touch {trap}']",
    "python_name": "layers: !!python/name:os.system",
    "python_module": "layers: !!python/module:antigravity",
    "resolver": "layers: 2\nwidth: ${oc.env:HOME}",
    "resolver_in_a_key": "'${oc.env:HOME}': 2",
    "hydra_launcher": "hydra: {launcher: {path: os.system}}",
    "hydra_defaults": "defaults: [{override hydra/launcher: joblib}]",
    "bomb": "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]",
    "deep": "layers: " + "[" * 5000,
    "stage_path": MINE.replace("expand: elu", "expand: ../../evil"),
    "stage_module": MINE.replace("expand: elu", "expand: os.system"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_recipe_runs_no_code(add_recipe: Add, tmp_path: Path, acts: list[str], name: str) -> None:
    trap = tmp_path / "trap"
    path = add_recipe("model/hostile", HOSTILE[name].replace("{trap}", str(trap)))
    with pytest.raises(RecipeError) as caught:
        load_model_recipe("hostile")
    assert acts == []
    assert not trap.exists()
    assert "antigravity" not in sys.modules
    assert str(path) in str(caught.value)
    assert os.environ["HOME"] not in str(caught.value).replace(str(path), "")


def test_the_watch_over_hostile_recipes_sees_a_command(acts: list[str]) -> None:
    os.system("true")
    subprocess.run(["true"], check=True)
    assert {"os.system", "subprocess.Popen"} <= set(acts)
