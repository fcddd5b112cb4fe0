"""Every task on pictures trains and is graded, for a model of stages, a hybrid and softmax attention; and draws."""

from pathlib import Path

import pytest
from PIL import Image

from eos.cli.main import main
from eos.cli.recipes import load_run_recipe
from eos.training.evaluation import evaluate
from eos.training.run import train
from eos.training.trained import load_for_evaluation

BUDGET = ["layers=2", "width=16", "steps=2", "rows=2", "log_every=1", "validate_every=1", "device=cpu"]
#: Few rows to validate and to test.
FEW = ["validation=0.005", "test=0.005"]
#: A recipe of each task, and its metric that counts.
TASKS = {
    "digits": ("accuracy", ["patch=4", *FEW]),
    "digits_sequence": ("accuracy", ["patch=2", *FEW]),
    "moving_digits": ("accuracy", ["train_rows=8", "held_out=4", "frames=2", "patch=8"]),
    "image_generation": ("bits_per_dim", FEW),
}


@pytest.fixture(autouse=True)
def _few_threads(one_thread: None) -> None:
    """Tensors are tiny."""


@pytest.mark.one_in(2)
@pytest.mark.parametrize("model", ["gla", "hybrid", "llama"])
@pytest.mark.parametrize("name", TASKS)
def test_it_trains_and_is_graded(name: str, model: str, tmp_path: Path) -> None:
    metric, changes = TASKS[name]
    recipe = load_run_recipe([f"model={model}", f"task={name}", *BUDGET, *changes])
    result = train(recipe, tmp_path / "run")
    found = result.metrics["test"][metric]
    assert found is not None
    assert 0 <= found <= 8
    trained = load_for_evaluation(tmp_path / "run")
    again = evaluate(trained.model, trained.task, "test", rows=100, precision="float32")
    assert again.metrics[metric] == pytest.approx(found, abs=1e-4)
    assert result.standard is not None
    assert result.standard["metric"] == metric


def test_a_trained_model_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    train(load_run_recipe(["model=gla", "task=image_generation", *BUDGET, *FEW]), run)
    sheet, halves = tmp_path / "a.png", tmp_path / "b.png"
    assert main(["generate", str(run), "--out", str(sheet), "--samples", "4"]) == 0
    assert f"4 images of 8 × 8 × 1 in {sheet}" in capsys.readouterr().err
    with Image.open(sheet) as drawn:
        assert drawn.size == (19 * 33, 19 * 33)
    assert main(["generate", str(run), "--out", str(halves), "--samples", "2", "--complete", "0.5"]) == 0
    with Image.open(halves) as drawn:
        times = drawn.width // 19
        small = drawn.resize((19, 19), Image.Resampling.NEAREST)
    assert times == 33
    for column in (1, 10):
        known, made = (small.crop((column, row, column + 8, row + 4)).tobytes() for row in (1, 10))
        assert known == made
    for arguments, said in (
        ([], "say where to, with --out FILE.png"),
        (["--out", "a.jpg"], "name a file that ends in .png"),
        (["a", "--out", str(sheet)], "takes no prompt in text"),
        (["--out", str(sheet), "--samples", "0"], "0 is not in the range x>=1"),
    ):
        assert main(["generate", str(run), *arguments]) == 2
        assert said in capsys.readouterr().err


def test_other_runs_draw_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, few, said in (
        ("overwriting", ["pairs=2", "held_out=4"], "--out and --complete are for runs on images"),
        ("digits", FEW, "writes nothing"),
    ):
        run = tmp_path / name
        train(load_run_recipe(["model=gla", f"task={name}", *BUDGET, *few]), run)
        assert main(["generate", str(run), "--out", str(tmp_path / "a.png")]) == 2
        assert said in capsys.readouterr().err
