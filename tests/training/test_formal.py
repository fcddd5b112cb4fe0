"""State tracking and formal languages train and are graded; parity tells models apart."""

from pathlib import Path

import pytest

from eos.cli.recipes import load_run_recipe
from eos.training.evaluation import evaluate
from eos.training.run import train
from eos.training.trained import load_for_evaluation

SPANS = [
    "task.train=[{length: 12, rows: 8}, {length: 16, shortest: 8, rows: 8}]",
    "task.validation=[{length: 12, rows: 5}]",
    "task.test=[{length: 12, rows: 4}, {length: 24, shortest: 16, rows: 4}]",
]
LENGTHS = [
    "task.train=[{length: 12, rows: 8}, {length: 16, rows: 8}]",
    "task.validation=[{length: 12, rows: 5}]",
    "task.test=[{length: 12, rows: 4}, {length: 24, rows: 4}]",
]
#: What makes a task's rows few and short, and the groups that its test part has.
SMALL = {
    "parity": (SPANS, {"12", "16_to_24"}),
    "modular_arithmetic": (SPANS, {"12", "16_to_24"}),
    "modular_arithmetic_brackets": (SPANS, {"12", "16_to_24"}),
    "word_problem_a5": (SPANS, {"12", "16_to_24"}),
    "word_problem_s5": ([*SPANS, "task.moved=2"], {"12", "16_to_24"}),
    "word_problem_z60": ([*SPANS, "task.last=2", "task.ask=last"], {"12", "16_to_24"}),
    "dyck": ([*LENGTHS, "task.depth=4"], {"12", "24"}),
    "induction_heads": (LENGTHS, {"12", "24"}),
    "needle": (
        [
            "task.train=[16]",
            "task.epoch=16",
            "task.validation=[16]",
            "task.test=[16, 20]",
            "depths=[0, 99]",
            "held_out=2",
        ],
        {"16_depth_0", "16_depth_99", "20_depth_0", "20_depth_99"},
    ),
}


@pytest.mark.one_in(5)
@pytest.mark.parametrize("model", ["gla", "hybrid", "llama"])
@pytest.mark.parametrize("name", SMALL)
def test_it_trains_and_is_graded(name: str, model: str, tmp_path: Path) -> None:
    small, groups = SMALL[name]
    budget = ["steps=4", "training.rows=4", "log_every=2", "validate_every=2", "device=cpu"]
    recipe = load_run_recipe([f"model={model}", "layers=2", "width=16", f"task={name}", *small, *budget])
    result = train(recipe, tmp_path / "run")
    found = result.metrics["test"]
    assert set(found) == {"accuracy", "nats_per_answer"} | {f"accuracy_{group}" for group in groups}
    assert all(value is not None and value >= 0 for value in found.values())
    trained = load_for_evaluation(tmp_path / "run")
    again = evaluate(trained.model, trained.task, "test", rows=3, precision="float32")
    assert again.counts.rows == 8
    assert again.metrics["accuracy"] == pytest.approx(found["accuracy"], abs=1e-9)


#: A memory that turns its sign follows parity, one that only fades does not, in 300 steps.
PARITY = {
    "delta": (["model=deltanet", "oscillation.high=2"], True),
    "signed": (["model=gla", "oscillation=signed_gate"], True),
    "positive_delta": (["model=deltanet"], False),
    "positive": (["model=gla"], False),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PARITY)
def test_parity_needs_a_sign(name: str, tmp_path: Path) -> None:
    chosen, solved = PARITY[name]
    result = train(load_run_recipe(["experiment=parity", *chosen, "device=cpu"]), tmp_path / "run")
    accuracy = result.metrics["test"]["accuracy_64"]
    assert accuracy is not None
    assert accuracy >= 0.99 if solved else accuracy <= 0.6
