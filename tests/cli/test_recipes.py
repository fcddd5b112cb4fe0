"""Which recipes a run is made of: defaults, choices, experiments, and experiments that want too much."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from eos import registry
from eos.cli.recipes import load_run_recipe
from eos.config import EOSMixer, SoftmaxMixer
from eos.errors import RecipeError

Add = Callable[[str, str], Path]

EXPERIMENT = """
defaults: [{override /model: gla}, {override /training: hour}]
model:
  layers: 3
  mixers: {main: {expand: elu, output: {norm: layer}}}
training: {rows: 5}
"""


@pytest.fixture
def add(plugins: Add) -> Callable[[str], Path]:
    """Writes the experiment ``mine`` and makes it known."""

    def write(text: str) -> Path:
        folder = plugins("recipes/experiment/mine.yaml", text)
        registry.use_plugins(folder)
        return folder / "recipes/experiment/mine.yaml"

    return write


def test_a_silent_command_line_takes_the_defaults() -> None:
    run = load_run_recipe([])
    assert run.names == {"model": "hgrn2", "task": "text", "training": "default"}
    assert run.task.name == "text"


def test_each_part_can_be_chosen_and_changed() -> None:
    run = load_run_recipe(["layers=2", "model=gla", "training=hour", "expand=elu", "length=64"])
    assert run.names == {"model": "gla", "task": "text", "training": "hour"}
    mixer = run.model.mixers["main"]
    assert isinstance(mixer, EOSMixer)
    assert (run.model.layers, mixer.expand.name, run.task.options.length, run.training.minutes) == (2, "elu", 64, 60)


def test_an_experiment_chooses_and_changes(add: Callable[[str], Path]) -> None:
    add(EXPERIMENT)
    run = load_run_recipe(["experiment=mine"])
    assert run.names == {"model": "gla", "task": "text", "training": "hour", "experiment": "mine"}
    mixer = run.model.mixers["main"]
    assert isinstance(mixer, EOSMixer)
    assert (run.model.layers, run.training.rows, run.training.minutes) == (3, 5, 60)
    assert mixer.expand.name == "elu", "a new stage, without the options of the one before"
    assert mixer.output.norm == "layer"
    assert mixer.output.gate is not None, "what the experiment leaves alone stays"


def test_an_experiment_changes_every_mixer_of_a_kind(add: Callable[[str], Path]) -> None:
    add("model: {layers: 2, every: {eos: {heads: 2, key_size: 5, expand: elu}, softmax: {heads: 8}}}")
    hybrid = load_run_recipe(["experiment=mine", "model=hybrid"]).model
    main, local = hybrid.mixers["main"], hybrid.mixers["local"]
    assert isinstance(main, EOSMixer)
    assert (main.heads, main.key_size, main.expand.name, main.oscillation[0].name) == (2, 5, "elu", "head_rate")
    assert isinstance(local, SoftmaxMixer)
    assert (local.heads, local.window) == (8, 128)
    llama = load_run_recipe(["experiment=mine", "model=llama"]).model.mixers["main"]
    assert isinstance(llama, SoftmaxMixer)
    assert llama.heads == 8
    average = load_run_recipe(["experiment=mine", "model=lightnet"]).model.mixers["average"]
    assert isinstance(average, EOSMixer)
    assert average.heads == 4, "it stands in no layer"


def test_a_kind_of_mixer_that_there_is_not_is_named(add: Callable[[str], Path]) -> None:
    add("model: {every: {softmaxx: {heads: 8}}}")
    with pytest.raises(RecipeError, match=r"unknown kind of mixer 'softmaxx'\. Did you mean 'softmax'"):
        load_run_recipe(["experiment=mine"])


def test_the_command_line_has_the_last_word(add: Callable[[str], Path]) -> None:
    add(EXPERIMENT)
    run = load_run_recipe(["experiment=mine", "layers=4", "training=default"])
    assert (run.model.layers, run.training.rows, run.training.minutes) == (4, 5, None)


def test_every_experiment_of_the_project_composes() -> None:
    for name in registry.recipes("experiment"):
        assert load_run_recipe([f"experiment={name}"]).names["experiment"] == name


def test_recipes_of_plugins_are_chosen_like_any_other(plugins: Add) -> None:
    text = registry.recipe("model", "hgrn2").read_text().replace("layers: 6", "layers: 7")
    registry.use_plugins(plugins("recipes/model/mine.yaml", text))
    assert load_run_recipe(["model=mine"]).model.layers == 7


def test_a_fault_names_the_recipe_and_the_experiment(add: Callable[[str], Path]) -> None:
    add("model: {layers: x}")
    with pytest.raises(RecipeError, match=r'hgrn2\.yaml with experiment=mine: layers must be a whole number, got "x"'):
        load_run_recipe(["experiment=mine"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=lightnot"], r"unknown model recipe 'lightnot'\. Did you mean 'lightnet'"),
        (["experiment=dmo"], r"unknown experiment recipe 'dmo'\. Did you mean 'demo'"),
        (["model=gla", "model=tnl"], "model is chosen twice: gla and tnl"),
        (["model=../model/gla"], r"unknown model recipe '\.\./model/gla'"),
        (["model=[gla,tnl]"], "unknown model recipe"),
        (["model=gla,tnl"], "unknown model recipe"),
        (["hydra=x"], "unknown key 'hydra'"),
        (["hydra/launcher=joblib"], "a key is words joined by dots"),
        (["+hydra/launcher=joblib"], "a key is words joined by dots"),
        (["hydra.searchpath=[file:///tmp]"], "unknown key 'hydra'"),
    ],
)
def test_a_choice_that_is_none_is_an_error(overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_run_recipe(overrides)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "defaults: [{override hydra/launcher: joblib}]",
            "'override hydra/launcher': 'joblib'} is not a default of an",
        ),
        ("defaults: [{override /hydra/launcher: joblib}]", "is not a default of an experiment"),
        ("defaults: [{override /model@_global_: gla}]", "is not a default of an experiment"),
        ("defaults: [{override /model: ../model/gla}]", "is not a default of an experiment"),
        ("defaults: [{/model: gla}]", "is not a default of an experiment"),
        ("defaults: [other]", "'other' is not a default of an experiment"),
        ("defaults: gla", "'gla' is not a default of an experiment"),
        ("hydra: {run: {dir: /tmp}}", "unknown key 'hydra'"),
        ("hydra: {launcher: {_target_: os.system}}", "the key '_target_' is not allowed"),
        ("task: {source: '${oc.env:HOME}'}", "an interpolation"),
        ("modle: {layers: 1}", r"unknown key 'modle'\. Did you mean 'model'"),
    ],
)
def test_an_experiment_that_is_more_than_choices_and_values_is_refused(
    add: Callable[[str], Path], text: str, message: str
) -> None:
    path = add(text)
    with pytest.raises(RecipeError, match=message) as caught:
        load_run_recipe(["experiment=mine"])
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "text", ["defaults: [{/hydra/launcher: joblib}]\nlayers: 1", "layers: 1\nwidth: ${oc.env:HOME}"]
)
def test_a_model_recipe_that_wants_to_compose_is_refused(plugins: Add, text: str) -> None:
    folder = plugins("recipes/model/mine.yaml", text)
    registry.use_plugins(folder)
    with pytest.raises(RecipeError, match=r"only an experiment has defaults|an interpolation") as caught:
        load_run_recipe(["model=mine"])
    assert str(folder) in str(caught.value)


def test_no_state_of_hydra_is_left_behind() -> None:
    load_run_recipe([])
    assert not GlobalHydra.instance().is_initialized()
