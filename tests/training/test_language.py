"""Text in words and masked text train and are graded; the curve over lengths; for a model of each kind."""

import re
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from eos.cli.main import main
from eos.cli.recipes import load_run_recipe
from eos.training.evaluation import evaluate
from eos.training.folder import RunFolder
from eos.training.run import recipe_of, train
from eos.training.trained import load_for_decoding, load_for_evaluation

WORDS = ["task=wikitext2", "task.vocabulary=300", "length=12"]
MASKED = ["experiment=masked", "task.vocabulary=300", "length=16"]
BUDGET = ["steps=4", "rows=4", "log_every=2", "validate_every=2", "device=cpu", "evaluation_tokens=400", "sample=8"]


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    folder = tmp_path / "parts"
    folder.mkdir()
    for name, repeats in {"train": 200, "valid": 40, "test": 40}.items():
        (folder / f"{name}.txt").write_text(" the cat sat on the <unk> mat , and slept . \n" * repeats)
    return folder


def small(model: str, parts: Path, *more: str) -> list[str]:
    place = [f"task.source={parts}", f"task.cache={parts.parent / 'cache'}"]
    return [f"model={model}", "layers=2", "width=16", *place, *BUDGET, *more]


@pytest.mark.parametrize("model", ["gla", "hybrid", "llama"])
@pytest.mark.parametrize("task", [WORDS, MASKED], ids=["words", "masked"])
def test_it_trains_and_is_graded(model: str, task: list[str], parts: Path, tmp_path: Path) -> None:
    recipe = load_run_recipe([*task, *small(model, parts)])
    result = train(recipe, tmp_path / "run")
    metric = "perplexity_per_word" if task is WORDS else "accuracy"
    assert result.standard is not None
    assert result.standard["metric"] == metric
    trained = load_for_evaluation(tmp_path / "run")
    again = evaluate(trained.model, trained.task, "test", rows=3, precision="float32", tokens=None)
    whole = evaluate(trained.model, trained.task, "test", rows=32, precision="float32", tokens=None)
    assert again.metrics[metric] == pytest.approx(whole.metrics[metric], rel=1e-5)
    assert set(result.metrics["test"]) == set(again.metrics)


def test_words_are_written_and_masks_are_not(parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", f"run={tmp_path / 'words'}", *WORDS, *small("gla", parts)]) == 0
    trained = load_for_decoding(tmp_path / "words")
    assert trained.task.decode(trained.task.encode("the cat\n")) == " the cat \n"
    capsys.readouterr()
    assert main(["generate", str(tmp_path / "words"), "the cat", "--tokens", "3"]) == 0
    assert len(capsys.readouterr().out.split(" ")) == 2 + 3
    assert main(["train", f"run={tmp_path / 'masked'}", *MASKED, *small("gla", parts)]) == 0
    assert main(["generate", str(tmp_path / "masked"), "the cat"]) == 2
    assert "writes nothing" in capsys.readouterr().err


def test_a_curve_over_lengths_is_what_eval_says(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["train", f"run={run}", "task=text", "length=12", "task.parts=given", *small("gla", parts)]) == 0
    capsys.readouterr()
    assert main(["lengths", str(run), "--lengths", "48,12,12"]) == 0
    head, *lines, _ = capsys.readouterr().out.splitlines()
    assert head.split("  ")[1:3] == ["rows of", "bits per byte"]
    assert {len(line) for line in lines} == {len(head)}
    printed = [line.split() for line in lines]
    assert [row[0] for row in printed] == ["12", "48"]
    evaluated = recipe_of(RunFolder(run)).training.evaluation_rows
    for row in printed:
        # the same rows at once, so that float32 sums are taken in the same order
        rows = f"evaluation_rows={evaluated * 12 // int(row[0])}"
        assert main(["eval", str(run), f"task.evaluation_length={row[0]}", "evaluation_tokens=null", rows]) == 0
        assert re.search(rf"test bits per byte +{row[1]}\n", capsys.readouterr().out)
    events = EventAccumulator(str(run / "lengths"))
    events.Reload()
    assert [each.step for each in events.Scalars("test/bits_per_byte over length")] == [12, 48]


def test_a_length_that_cannot_be_is_refused(parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["train", f"run={run}", "task=text", "length=12", "task.parts=given", *small("gla", parts)]) == 0
    for lengths, said in {
        "12,x": "whole numbers of tokens, as 512,1024,2048; got '12,x'",
        "0": "whole numbers of tokens",
        "100000": "--lengths 100000: the test part holds one row of 1800 tokens at most; choose up to 1800",
    }.items():
        assert main(["lengths", str(run), "--lengths", lengths]) == 2
        assert said in capsys.readouterr().err
        assert not (run / "lengths").exists()
