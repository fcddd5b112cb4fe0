"""Recall tasks train and are graded, for a model of stages, a hybrid and softmax attention."""

from pathlib import Path

import pytest

from eos.cli.recipes import load_run_recipe
from eos.errors import DataError, RecipeError
from eos.tasks.task import Counts
from eos.training.evaluation import evaluate
from eos.training.folder import RunFolder
from eos.training.log import read_metrics
from eos.training.run import train
from eos.training.trained import load_for_decoding, load_for_evaluation

#: What makes a task's rows few and short.
SMALL = {
    "mqar": [
        "task=mqar_small",
        "task.train=[{length: 16, pairs: 2, rows: 8}, {length: 24, pairs: 3, rows: 8}]",
        "task.validation=[{length: 16, pairs: 2, rows: 5}]",
        "task.test=[{length: 16, pairs: 2, rows: 6}]",
    ],
    "overwriting": ["task=overwriting", "pairs=3", "epoch=64", "held_out=6"],
}


@pytest.mark.parametrize("model", ["gla", "hybrid", "llama"])
@pytest.mark.parametrize("name", SMALL)
def test_it_trains_and_is_graded(name: str, model: str, tmp_path: Path) -> None:
    budget = ["steps=4", "rows=4", "log_every=2", "validate_every=2", "device=cpu"]
    recipe = load_run_recipe([f"model={model}", "layers=2", "width=16", *SMALL[name], *budget])
    result = train(recipe, tmp_path / "run")
    for part in ("validation", "test"):
        accuracy = result.metrics[part]["accuracy"]
        assert accuracy is not None
        assert 0.0 <= accuracy <= 1.0
    logged = {row.metric for row in read_metrics(RunFolder(tmp_path / "run").metrics)}
    assert {"train/nats_per_answer", "validation/accuracy"} <= logged
    trained = load_for_evaluation(tmp_path / "run")
    again = evaluate(trained.model, trained.task, "test", rows=3, precision="float32")
    assert again.metrics["accuracy"] == pytest.approx(result.metrics["test"]["accuracy"], abs=1e-9)
    assert again.counts.rows == 6
    prompt = load_for_decoding(tmp_path / "run").task.encode("1 2")
    assert prompt == [1, 2]


def test_a_run_is_asked_the_questions_of_another_task(tmp_path: Path) -> None:
    budget = ["steps=1", "rows=4", "device=cpu"]
    train(load_run_recipe(["model=gla", "layers=1", "width=16", *SMALL["overwriting"], *budget]), tmp_path / "run")
    other = [*SMALL["mqar"][1:3], "task.test=[{length: 24, pairs: 3, rows: 6}, {length: 16, pairs: 2, rows: 3}]"]
    trained = load_for_evaluation(tmp_path / "run", ["task=mqar_small", "task.vocabulary=64", *other])
    assert trained.recipe.names["task"] == "mqar_small"
    found = evaluate(trained.model, trained.task, "test", rows=3, precision="float32")
    assert found.counts.rows == 9
    assert {"accuracy", "accuracy_24x3", "accuracy_16x2"} <= found.metrics.keys()
    with pytest.raises(DataError, match="built for vocabulary = 64, and this task has 256"):
        load_for_evaluation(tmp_path / "run", ["task=mqar_small"])
    with pytest.raises(RecipeError, match="task is chosen twice"):
        load_for_evaluation(tmp_path / "run", ["task=mqar_small", "task=mqar"])


def test_groups_of_rows_add_up() -> None:
    left = Counts(targets=3, rows=2, right=1.5, groups={"a": (2.0, 1.5)})
    right = Counts(targets=4, rows=3, right=1.0, groups={"a": (1.0, 1.0), "b": (2.0, 0.0)})
    assert left + right == Counts(targets=7, rows=5, right=2.5, groups={"a": (3.0, 2.5), "b": (2.0, 0.0)})
