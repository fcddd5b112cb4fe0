"""The tasks of the Long Range Arena train and are graded, for a model of stages, a hybrid and softmax attention."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eos.cli.recipes import load_run_recipe
from eos.errors import CompositionError, DataError
from eos.training.evaluation import evaluate
from eos.training.run import resume, train
from eos.training.trained import load_for_evaluation


def _listops(folder: Path) -> list[str]:
    return ["task=listops_small", "above=3", "below=20", "task.train=40", "task.validation=5", "task.test=6"]


def _text(folder: Path) -> list[str]:
    for part, count in (("train", 12), ("test", 3)):
        for name in ("neg", "pos"):
            (folder / part / name).mkdir(parents=True)
            for index in range(count):
                (folder / part / name / f"{index}_1.txt").write_text(f"{name} " * (index % 3 + 1))
    return ["task=lra_text", f"source={folder}", "longest=16"]


def _retrieval(folder: Path) -> list[str]:
    folder.mkdir()
    for name, count in (("train", 12), ("eval", 5), ("test", 6)):
        rows = [f"{row % 2}.0\tP\tQ\t{'a' * (row + 1)}\t{'b' * (9 - row % 4)}\n" for row in range(count)]
        (folder / f"new_aan_pairs.{name}.tsv").write_text("".join(rows))
    return ["task=lra_retrieval", f"source={folder}", "longest=16"]


def _pathfinder(folder: Path) -> list[str]:
    inner = folder / "curv_contour_length_14"
    (inner / "metadata").mkdir(parents=True)
    (inner / "imgs" / "0").mkdir(parents=True)
    for row in range(60):
        Image.fromarray(np.full((4, 4), 4 * row, np.uint8)).save(inner / "imgs" / "0" / f"sample_{row}.png")
    lines = [f"imgs/0 sample_{row}.png {row} {row % 2} 1.8" for row in range(60)]
    (inner / "metadata" / "0.npy").write_text("\n".join(lines) + "\n")
    return ["task=lra_pathfinder", f"source={folder}", "task.size=4"]


DATA = {"listops": _listops, "text": _text, "retrieval": _retrieval, "pathfinder": _pathfinder}


@pytest.mark.one_in(2)
@pytest.mark.parametrize("model", ["gla", "hybrid", "llama"])
@pytest.mark.parametrize("name", DATA)
def test_it_trains_and_is_graded(name: str, model: str, tmp_path: Path) -> None:
    make: Callable[[Path], list[str]] = DATA[name]
    budget = ["steps=2", "rows=4", "log_every=1", "validate_every=2", "device=cpu"]
    chosen = [*make(tmp_path / "data"), f"task.cache={tmp_path / 'cache'}"]
    result = train(
        load_run_recipe([f"model={model}", "model.layers=2", "width=16", *chosen, *budget]), tmp_path / "run"
    )
    for part in ("validation", "test"):
        accuracy = result.metrics[part]["accuracy"]
        assert accuracy is not None
        assert 0.0 <= accuracy <= 1.0
    trained = load_for_evaluation(tmp_path / "run")
    again = evaluate(trained.model, trained.task, "test", rows=4, precision="float32")
    assert again.metrics["accuracy"] == pytest.approx(result.metrics["test"]["accuracy"], abs=1e-9)
    assert again.counts.rows == 6


@pytest.mark.parametrize("name", ["listops", "retrieval"])
def test_a_recipe_may_let_its_model_see_both_sides(name: str, tmp_path: Path) -> None:
    chosen = [*DATA[name](tmp_path / "data"), f"task.cache={tmp_path / 'cache'}", "mixers.main.direction=both"]
    budget = ["steps=2", "rows=4", "device=cpu"]
    result = train(load_run_recipe(["model=gla", "model.layers=1", "width=16", *chosen, *budget]), tmp_path / "run")
    assert result.status == "finished"


@pytest.mark.parametrize("name", ["text", "retrieval"])
def test_mixers_that_cannot_tell_documents_apart_take_padding_as_tokens(name: str, tmp_path: Path) -> None:
    chosen = [*DATA[name](tmp_path / "data"), f"task.cache={tmp_path / 'cache'}", "padded=seen"]
    budget = ["steps=2", "rows=4", "device=cpu"]
    result = train(load_run_recipe(["model=tnn", "model.layers=1", "width=16", *chosen, *budget]), tmp_path / "run")
    assert result.status == "finished"


def test_data_that_changed_are_refused_where_a_run_goes_on(tmp_path: Path) -> None:
    rows = [f"{n % 2}\ttext number {n}" for n in range(60)]
    table = tmp_path / "train.tsv"
    table.write_text("\n".join(["label\ttext", *rows]) + "\n")
    chosen = ["task=lra_text", f"task.source={tmp_path}", f"task.cache={tmp_path / 'cache'}", "model=gla"]
    small = ["model.layers=1", "width=16", "steps=1", "rows=4", "device=cpu"]
    run = tmp_path / "run"
    train(load_run_recipe([*chosen, *small]), run)
    with pytest.raises(DataError, match="built for pool = mean, and this task has last"):
        load_for_evaluation(run, ["task.pool=last"])
    (run / "result.json").unlink()
    table.write_text("\n".join(["label\ttext", *reversed(rows)]) + "\n")
    with pytest.raises(DataError, match=r"not those that the run in .* was begun with"):
        resume(run)


def test_a_model_that_takes_padding_for_text_is_refused_before_training(tmp_path: Path) -> None:
    chosen = ["task=listops_small", "task.train=40", "task.validation=8", "task.test=8"]
    small = ["model.layers=1", "width=16", "steps=1", "rows=4", f"task.cache={tmp_path / 'cache'}", "device=cpu"]
    with pytest.raises(CompositionError, match=r"direction=all .*; set task\.padded=seen"):
        train(load_run_recipe([*chosen, *small, "model=linear_attention", "direction=all"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()
