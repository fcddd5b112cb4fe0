"""The tasks of MAD train and are graded; its suites name recipes and keys that are there, and suit any model."""

import warnings
from pathlib import Path

import pytest
import torch

from eos import registry
from eos.cli.recipes import load_run_recipe
from eos.compose import refuse
from eos.compose.reader import read_recipe
from eos.errors import DataError
from eos.models import AutoEncoder
from eos.training.evaluation import evaluate
from eos.training.folder import RunFolder
from eos.training.log import read_metrics
from eos.training.run import make_task, train
from eos.training.trained import load_for_decoding, load_for_evaluation

TASKS = "in_context_recall noisy_recall fuzzy_recall memorization compression selective_copying".split()
#: What makes rows short.
SMALL = {"selective_copying": ["copied=3"], "fuzzy_recall": ["task.key_motif=2"]}
SUITES = ["mad", "mad_small"]


@pytest.mark.one_in(4)
@pytest.mark.parametrize("model", ["gla", "hybrid", "llama"])
@pytest.mark.parametrize("name", TASKS)
def test_it_trains_and_is_graded(name: str, model: str, tmp_path: Path) -> None:
    short = [f"task=mad_{name}", "task.length=16", "task.epoch=8", "task.held_out=6", *SMALL.get(name, [])]
    budget = ["training=mad", "steps=4", "rows=4", "log_every=2", "validate_every=2", "device=cpu", "precision=float32"]
    recipe = load_run_recipe([f"model={model}", "layers=2", "width=16", *short, *budget])
    result = train(recipe, tmp_path / "run")
    for part in ("validation", "test"):
        assert result.metrics[part].keys() == {"macro_accuracy", "accuracy", "nats_per_answer"}
        assert all(0.0 <= (result.metrics[part][name] or 0.0) <= 1.0 for name in ("macro_accuracy", "accuracy"))
    assert result.standard is not None
    assert result.standard["metric"] == "macro_accuracy"
    logged = {row.metric for row in read_metrics(RunFolder(tmp_path / "run").metrics)}
    assert {"train/nats_per_answer", "validation/macro_accuracy"} <= logged
    trained = load_for_evaluation(tmp_path / "run")
    again = evaluate(trained.model, trained.task, "test", rows=4, precision="float32")
    assert again.metrics == pytest.approx(result.metrics["test"], abs=1e-6)
    assert again.counts.rows == 6
    if name == "compression":
        assert isinstance(trained.model, AutoEncoder)
        with pytest.raises(DataError, match="writes nothing"):
            load_for_decoding(tmp_path / "run")
    else:
        assert load_for_decoding(tmp_path / "run").task.encode("1 2") == [1, 2]


@pytest.mark.parametrize("suite", SUITES)
def test_the_grid_of_a_suite_can_be_run(suite: str) -> None:
    data = read_recipe(registry.recipe("suite", suite))
    assert set(data["settings"]) == set(TASKS)
    for key, values in data["vary"].items():
        for value in values:
            recipe = load_run_recipe(
                [*data["overrides"], *data["settings"]["compression"]["baseline"], f"{key}={value}"]
            )
            assert getattr(recipe.training, key) == value


SETTINGS = [("mad_small", name) for name in TASKS]
SETTINGS_OF_ALL = [pytest.param("mad", name, marks=pytest.mark.slow) for name in TASKS]


@pytest.mark.parametrize(("suite", "name"), [*SETTINGS, *SETTINGS_OF_ALL])
def test_the_settings_of_a_suite_can_be_run(suite: str, name: str) -> None:
    data = read_recipe(registry.recipe("suite", suite))
    baseline = load_run_recipe([*data["overrides"], *data["settings"][name]["baseline"]])
    seen = []
    for setting in data["settings"][name].values():
        recipe = load_run_recipe([*data["overrides"], *setting])
        task = make_task(recipe)
        batch = task.train_batch(1, 0, recipe.training.rows)
        assert batch.inputs.shape == (recipe.training.rows, task.length)
        assert recipe.model == baseline.model
        if suite == "mad":
            # as many rows as 200 epochs
            assert recipe.training.steps == 200 * recipe.task.options.epoch / recipe.training.rows
            changed = [key for key in vars(recipe.task.options) if _of(recipe, key) != _of(baseline, key)]
            assert len(changed) == (setting is not data["settings"][name]["baseline"])
        seen.append(recipe.task.options)
    assert len(set(map(repr, seen))) == len(seen)


def _of(recipe: object, key: str) -> object:
    return getattr(recipe.task.options, key)  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("model", sorted(registry.recipes("model")))
def test_a_suite_suits_every_model(model: str, suite: str) -> None:
    data = read_recipe(registry.recipe("suite", suite))
    for name in ("fuzzy_recall", "compression"):
        recipe = load_run_recipe([f"model={model}", *data["overrides"], *data["settings"][name]["baseline"]])
        task = make_task(recipe)
        if refuse(recipe.model, causal=task.causal):
            pytest.skip("this model sees what comes later")
        batch = task.train_batch(1, 0, 2)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            logits = task.model(recipe.model)(batch.inputs)
        assert logits.shape == (*batch.inputs.shape, task.vocabulary)
        assert logits.isfinite().all()
