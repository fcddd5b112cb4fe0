"""The short grammar: which key is meant, and what a new stage leaves of the old one."""

from copy import deepcopy
from typing import Any

import pytest

from eos.compose.override import apply, merge
from eos.config import option, options
from eos.errors import RecipeError

MODEL: dict[str, Any] = {
    "layers": 2,
    "mixers": {
        "main": {
            "expand": {"name": "ones", "size": 3},
            "oscillation": [{"name": "key_gate", "lower_bound": True}, {"name": "rotation", "base": 5}],
            "shrink": {"name": "linear"},
        },
    },
    "layout": ["main"],
}
SOFTMAX: dict[str, Any] = {"kind": "softmax", "heads": 2}


@options
class TaskOptions:
    length: int = option(8, "tokens")
    tokens: str = option("bytes", "what a token is")


@options
class TrainingOptions:
    rate: float = option(1.0, "how fast")
    tokens: int = option(9, "how many")


def model_after(*overrides: str, **mixers: Any) -> dict[str, Any]:
    model = MODEL | {"mixers": MODEL["mixers"] | mixers}
    changed: dict[str, Any] = apply({"model": model}, overrides)["model"]
    return changed


def main_after(*overrides: str) -> dict[str, Any]:
    mixer: dict[str, Any] = model_after(*overrides)["mixers"]["main"]
    return mixer


def run_after(*overrides: str) -> dict[str, Any]:
    recipe = {"model": MODEL, "task": {"name": "copying"}, "training": {}}
    return apply(recipe, overrides, {"task": TaskOptions, "training": TrainingOptions})


def test_the_recipe_itself_stays_as_it_was() -> None:
    before = deepcopy(MODEL)
    main_after("expand=elu", "oscillation.rotation.base=7", "output.gate.rank=2")
    assert before == MODEL


def test_a_new_stage_drops_the_options_of_the_old_one() -> None:
    assert main_after("expand=elu")["expand"] == {"name": "elu"}
    assert main_after("expand.name=elu")["expand"] == {"name": "elu"}
    assert main_after("expand={name: elu, scale: 2}")["expand"] == {"name": "elu", "scale": 2}


def test_a_stage_that_stays_keeps_its_options() -> None:
    assert main_after("expand=ones")["expand"] == {"name": "ones", "size": 3}
    assert main_after("oscillation=delta+key_gate")["oscillation"] == [
        {"name": "delta"},
        {"name": "key_gate", "lower_bound": True},
    ]
    assert main_after("oscillation=key_gate+key_gate")["oscillation"] == [
        {"name": "key_gate", "lower_bound": True},
        {"name": "key_gate"},
    ]


def test_a_product_is_chosen_whole() -> None:
    assert main_after("oscillation=head_decay+delta")["oscillation"] == [{"name": "head_decay"}, {"name": "delta"}]
    assert main_after("oscillation=none")["oscillation"] == []
    assert main_after("oscillation=[{name: a, x: 1}, b]")["oscillation"] == [{"name": "a", "x": 1}, {"name": "b"}]


def test_a_part_of_a_product_is_named_by_place_or_stage() -> None:
    assert main_after("oscillation.0.lower_bound=false")["oscillation"][0] == {"name": "key_gate", "lower_bound": False}
    assert main_after("oscillation.rotation.base=7")["oscillation"][1] == {"name": "rotation", "base": 7}
    assert main_after("oscillation.1=delta")["oscillation"][1] == {"name": "delta"}
    assert main_after("oscillation.rotation=delta")["oscillation"][1] == {"name": "delta"}


def test_the_only_part_of_a_product_needs_no_name() -> None:
    assert main_after("oscillation=delta", "oscillation.high=2")["oscillation"] == [{"name": "delta", "high": 2}]


def test_a_joint_stage_comes_and_goes() -> None:
    assert main_after("couple=pad")["couple"] == {"name": "pad"}
    assert main_after("couple=pad", "couple.x=1")["couple"] == {"name": "pad", "x": 1}
    assert main_after("couple=pad", "couple=none")["couple"] is None


def test_later_overrides_see_earlier_ones() -> None:
    assert main_after("expand=elu", "expand.scale=2", "expand.scale=3")["expand"] == {"name": "elu", "scale": 3}


def test_keys_are_found_in_model_mixer_task_and_training() -> None:
    changed = run_after("layers=4", "heads=8", "length=16", "rate=2", "output.gate.rank=4")
    assert changed["model"]["layers"] == 4
    assert changed["model"]["mixers"]["main"]["heads"] == 8
    assert changed["model"]["mixers"]["main"]["output"] == {"gate": {"rank": 4}}
    assert changed["task"] == {"name": "copying", "length": 16}
    assert changed["training"] == {"rate": 2}


def test_a_prefix_says_which_part_is_meant() -> None:
    changed = run_after(
        "task.tokens=bpe", "training.tokens=5", "model.layers=4", "model.heads=8", "mixers.main.skip=true"
    )
    assert changed["task"]["tokens"] == "bpe"
    assert changed["training"]["tokens"] == 5
    assert changed["model"]["layers"] == 4
    assert changed["model"]["mixers"]["main"]["heads"] == 8
    assert changed["model"]["mixers"]["main"]["skip"] is True


def test_of_several_mixers_the_one_that_has_the_key_is_meant() -> None:
    mixers = model_after("expand=elu", "window=4", local=SOFTMAX)["mixers"]
    assert mixers["main"]["expand"] == {"name": "elu"}
    assert mixers["local"] == {"kind": "softmax", "heads": 2, "window": 4}


def test_a_mixer_can_be_added_whole() -> None:
    assert model_after("mixers.extra={kind: softmax}")["mixers"]["extra"] == {"kind": "softmax"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("heads=2", r"heads stands in several places: model\.mixers\.main\.heads, model\.mixers\.local\.heads"),
        ("model.heads=2", "heads stands in several places"),
        ("mixers.loca.heads=2", r"unknown mixer 'loca'\. Did you mean 'local'"),
    ],
)
def test_an_ambiguous_or_unknown_mixer_is_an_error(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        model_after(override, local=SOFTMAX)
    assert f"override {override!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tokens=4", r"tokens stands in several places: task\.tokens, training\.tokens; say which"),
        ("laters=4", r"unknown key 'laters'\. Did you mean 'layers'"),
        ("training.rte=4", r"unknown key 'rte'\. Did you mean 'rate'\? Known: rate, tokens\."),
        ("trainig.rate=4", "unknown key 'trainig'"),
        ("model=other", r"model has many keys; model\.KEY=VALUE"),
        ("layers", "must read key=value"),
        ("layers=", "must read key=value"),
        ("+layers=4", "a key is words joined by dots"),
        ("~layers=4", "a key is words joined by dots"),
        ("hydra/launcher=basic", "a key is words joined by dots"),
        ("hydra.run.dir=/tmp", "unknown key 'hydra'"),
        ("layers.x=1", "layers is 2, which has no keys"),
        ("layers=${oc.env:HOME}", "an interpolation"),
        ("expand={_target_: os.system}", "the key '_target_' is not allowed"),
        ("oscillation.2.x=1", "has 2 parts, counted from 0: key_gate, rotation"),
        ("oscillation.rotatoin.base=1", r"unknown part of the oscillation 'rotatoin'\. Did you mean 'rotation'"),
        ("couple.x=1", "there is no couple stage whose option it could set"),
    ],
)
def test_an_override_that_means_nothing_is_an_error(override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        run_after(override)
    assert repr(override) in str(caught.value)


def test_a_stage_that_stands_twice_is_named_by_place() -> None:
    with pytest.raises(RecipeError, match=r"stands several times in the product; say oscillation\.0, oscillation\.1"):
        main_after("oscillation=rotation+rotation", "oscillation.rotation.base=1")


def test_merging_drops_what_another_name_or_kind_leaves_behind() -> None:
    old = {"a": 1, "stage": {"name": "x", "p": 1}, "mixer": {"kind": "eos", "q": 1}, "list": [1, 2]}
    new = {"b": 2, "stage": {"name": "y"}, "mixer": {"kind": "softmax"}, "list": [3]}
    assert merge(old, new) == {"a": 1, "b": 2, "stage": {"name": "y"}, "mixer": {"kind": "softmax"}, "list": [3]}
    assert merge(old, {"stage": {"name": "x", "r": 2}})["stage"] == {"name": "x", "p": 1, "r": 2}
    assert merge(old, {"stage": {"p": 3}})["stage"] == {"name": "x", "p": 3}
