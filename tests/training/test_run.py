"""A run is one folder, and that folder says all."""

import json
import math
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from eos.cli.recipes import load_run_recipe
from eos.errors import CompositionError, DataError, RecipeError, RunError
from eos.models import LanguageModel
from eos.training import bookkeeping
from eos.training import run as run_module
from eos.training.evaluation import Evaluation, evaluate
from eos.training.folder import RunFolder
from eos.training.group import resume_group, train_group
from eos.training.log import read_metrics
from eos.training.result import read_result
from eos.training.run import recipe_of, resume, train
from eos.training.trained import load_for_decoding, load_for_evaluation
from tests.training.conftest import Describe


def validations(path: Path) -> dict[int, float]:
    rows = read_metrics(RunFolder(path).metrics)
    return {row.step: row.value for row in rows if row.metric == "validation/nats_per_token"}


def signal_in_step(step: int, number: signal.Signals, patched: pytest.MonkeyPatch) -> None:
    """Let the process receive a signal in the middle of this step of training."""
    forward, left = LanguageModel.forward, [step]

    def interrupted(self: LanguageModel, *args: object, **named: object) -> torch.Tensor:
        left[0] -= self.training
        if left[0] == 0:
            os.kill(os.getpid(), number)
        return forward(self, *args, **named)  # type: ignore[arg-type]

    patched.setattr(LanguageModel, "forward", interrupted)


def test_folder_holds_all_of_a_run(describe: Describe, tmp_path: Path) -> None:
    recipe = describe()
    result = train(recipe, tmp_path / "run", command=["eos", "train"])
    folder = RunFolder(tmp_path / "run")
    assert read_result(folder.result) == result
    assert result.status == "finished"
    assert (result.steps, result.tokens, result.seed) == (12, 12 * 4 * 24, 1)
    assert result.names == recipe.names
    for part in ("validation", "test"):
        metrics = result.metrics[part]
        nats, bits = metrics["nats_per_token"], metrics["bits_per_byte"]
        assert nats is not None
        assert bits == pytest.approx(nats / math.log(2))
        assert nats < math.log(257)
    weights = load_file(folder.weights)
    assert result.parameters == sum(tensor.numel() for tensor in weights.values())
    assert result.peak_memory_bytes is not None
    assert result.peak_memory_bytes > 2**20
    # Two operations for each weight that meets a token, at least, and three passes of them in training.
    assert result.decoding_flops_per_token >= 2 * result.parameters
    assert result.training_flops_per_token >= 6 * result.parameters
    # One memory of K × V float32 per head and layer, whatever the length.
    assert (result.state_bytes, result.state_bytes_per_token) == (2 * 4 * 4 * 4 * 4, 0)
    assert 0 < result.training_seconds <= result.wall_seconds
    record = json.loads(folder.record.read_text())
    assert record["seed"] == 1
    assert [start["command"] for start in record["starts"]] == [["eos", "train"]]
    assert record["starts"][0]["versions"]["torch"] == torch.__version__
    assert recipe_of(folder) == recipe
    assert [row.step for row in read_metrics(folder.metrics) if row.metric == "train/learning_rate"] == [3, 6, 9, 12]
    assert sorted(validations(folder.path)) == [4, 8, 12]
    # The events of the log, and those of the end.
    assert len(list(folder.path.glob("events.out.tfevents.*"))) == 2
    assert not list(folder.path.rglob("*.partial"))


def losses_of_validations(losses: list[float], patched: pytest.MonkeyPatch) -> None:
    """Let the validations during training come to these losses; their metrics stay."""
    left = iter(losses)

    def told(*args: Any, **named: Any) -> Evaluation:
        return replace(evaluate(*args, **named), loss=next(left))

    patched.setattr(bookkeeping, "evaluate", told)


def test_weights_are_those_of_the_best_validation(
    describe: Describe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses_of_validations([3.0, 1.0, math.nan], monkeypatch)
    result = train(describe("validation_tokens=null"), tmp_path / "run")
    found = validations(tmp_path / "run")
    assert result.best_step == 8
    assert result.metrics["validation"]["nats_per_token"] == found[8] != found[12]


def test_same_recipe_gives_the_same_numbers_and_another_seed_others(describe: Describe, tmp_path: Path) -> None:
    first, second, other = (
        train(describe(*more), tmp_path / name) for name, more in {"a": (), "b": (), "c": ("seed=2",)}.items()
    )
    assert first.metrics == second.metrics
    assert first.metrics != other.metrics


@pytest.mark.parametrize("model", ["hgrn2", "gated_deltanet", "hybrid"])
def test_stopped_run_of_a_real_model_goes_on_to_the_same_numbers(
    describe: Describe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    recipe = describe(f"model={model}", "model.dropout=0.1")
    whole = train(recipe, tmp_path / "whole")
    with monkeypatch.context() as patched:
        signal_in_step(7, signal.SIGTERM, patched)
        stopped = train(recipe, tmp_path / "stopped")
    assert (stopped.status, stopped.steps, stopped.signal, stopped.metrics) == ("stopped", 7, signal.SIGTERM, {})
    resumed = resume(tmp_path / "stopped")
    assert resumed.metrics == whole.metrics
    assert len(json.loads(RunFolder(tmp_path / "stopped").record.read_text())["starts"]) == 2
    whole_weights, weights = (load_file(RunFolder(tmp_path / name).weights) for name in ("whole", "stopped"))
    assert all(torch.equal(weights[name], whole_weights[name]) for name in whole_weights)


def test_stop_during_the_last_evaluation_is_taken_up_there(
    describe: Describe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped_evaluate(*args: object, each, **named: object):  # type: ignore[no-untyped-def]
        os.kill(os.getpid(), signal.SIGINT)
        return evaluate(*args, each=each, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(run_module, "evaluate", stopped_evaluate)
        stopped = train(describe(), tmp_path / "run")
    assert (stopped.status, stopped.steps) == ("stopped", 12)
    log = RunFolder(tmp_path / "run").metrics.read_text()
    resumed = resume(tmp_path / "run")
    assert resumed.metrics == train(describe(), tmp_path / "whole").metrics
    assert RunFolder(tmp_path / "run").metrics.read_text() == log


def test_finished_run_is_left_as_it_is(describe: Describe, tmp_path: Path) -> None:
    result = train(describe(), tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.name != ".lock"}
    assert resume(tmp_path / "run") == result
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_damaged_result_is_found_again(describe: Describe, tmp_path: Path) -> None:
    result = train(describe(), tmp_path / "run")
    RunFolder(tmp_path / "run").result.write_text("{")
    assert resume(tmp_path / "run").metrics == result.metrics
    assert read_result(RunFolder(tmp_path / "run").result).metrics == result.metrics


def test_existing_folder_is_refused_and_untouched(describe: Describe, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"exists already; choose another run=PATH"):
        train(describe(), tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_failed_preparation_leaves_no_folder(describe: Describe, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        train(describe("task.source=/nowhere.txt"), tmp_path / "runs" / "group" / "run")
    assert not any(tmp_path.iterdir())


def test_senseless_model_is_refused_before_anything_is_made(describe: Describe, tmp_path: Path) -> None:
    with pytest.raises(CompositionError):
        train(describe("oscillation=delta+rotation", "key_size=7"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_cuda_is_asked_for_where_there_is_none(
    describe: Describe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RunError, match="PyTorch finds no CUDA device"):
        train(describe("device=cuda"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_failure_is_written_down(describe: Describe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = LanguageModel.forward

    def bursting(self: LanguageModel, *args: object, **named: object) -> torch.Tensor:
        return forward(self, *args, **named) * (float("nan") if self.training else 1.0)  # type: ignore[arg-type]

    monkeypatch.setattr(LanguageModel, "forward", bursting)
    with pytest.raises(RunError, match=r"^step 1: "):
        train(describe(), tmp_path / "run")
    result = read_result(RunFolder(tmp_path / "run").result)
    assert result.status == "failed"
    assert result.error is not None
    assert result.error.startswith("step 1: the loss is not finite; nothing was saved")


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (True, r"^step 1 needs more memory than cpu has; .*training\.accumulate is 1"),
        (False, r"^evaluating \d+ rows of \d+ tokens at once needs more memory .*training\.evaluation_rows"),
    ],
    ids=["a step", "an evaluation"],
)
def test_too_little_memory_is_told_in_one_line(
    training: bool, message: str, describe: Describe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = LanguageModel.forward

    def out_of_memory(self: LanguageModel, *args: Any, **named: Any) -> torch.Tensor:
        if self.training is training:
            raise torch.OutOfMemoryError("tried to allocate 1 TiB\nlong advice")
        return forward(self, *args, **named)

    monkeypatch.setattr(LanguageModel, "forward", out_of_memory)
    with pytest.raises(RunError, match=message) as raised:
        train(describe("validate_every=1"), tmp_path / "run")
    assert "\n" not in str(raised.value)


def test_patience_ends_training(describe: Describe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses_of_validations([5.0, 4.0, 4.5, 3.0, 3.5, 3.0], monkeypatch)
    result = train(describe("patience=2", "validate_every=1", "steps=400"), tmp_path / "run")
    assert (result.status, result.steps, result.best_step) == ("finished", 6, 4)
    RunFolder(tmp_path / "run").result.unlink()
    assert resume(tmp_path / "run").steps == 6


def test_minutes_end_training_and_resuming_adds_none(describe: Describe, tmp_path: Path) -> None:
    recipe = describe("steps=null", "minutes=0.02", "validate_every=null")
    result = train(recipe, tmp_path / "run")
    assert result.status == "finished"
    assert 1.2 <= result.training_seconds < 30
    RunFolder(tmp_path / "run").result.unlink()
    assert resume(tmp_path / "run").steps == result.steps


def test_token_budget_is_rounded_up_to_steps(describe: Describe, tmp_path: Path) -> None:
    assert train(describe("steps=null", "training.tokens=193"), tmp_path / "run").steps == 3


def test_a_budget_for_each_parameter_leaves_embedding_and_head_out(describe: Describe, tmp_path: Path) -> None:
    recipe = describe("steps=null", "training.tokens_per_parameter=0.05")
    result = train(recipe, tmp_path / "run")
    weights = load_file(RunFolder(tmp_path / "run").weights)
    inside = sum(tensor.numel() for name, tensor in weights.items() if not name.startswith(("embedding.", "head.")))
    assert result.non_embedding_parameters == inside
    assert result.steps == math.ceil(0.05 * inside / (recipe.training.rows * recipe.task.options.length))
    again = recipe.training.for_steps(7)
    assert (again.steps, again.tokens, again.tokens_per_parameter, again.minutes) == (7, None, None, None)


@pytest.mark.parametrize("words", [("training.tokens=5",), ("training.tokens_per_parameter=5",)])
def test_two_budgets_are_refused(words: tuple[str, ...], describe: Describe) -> None:
    with pytest.raises(RecipeError, match="several budgets: steps="):
        describe("steps=5", *words)


def test_bfloat16_trains_with_float32_weights(describe: Describe, tmp_path: Path) -> None:
    result = train(describe("precision=bfloat16"), tmp_path / "run")
    single = train(describe(), tmp_path / "single")
    nats, expected = (each.metrics["test"]["nats_per_token"] for each in (result, single))
    assert nats is not None
    assert expected is not None
    assert nats != expected
    # bfloat16 has three digits.
    assert nats == pytest.approx(expected, rel=0.05)
    assert {tensor.dtype for tensor in load_file(RunFolder(tmp_path / "run").weights).values()} == {torch.float32}


def test_trained_model_evaluates_to_its_result(describe: Describe, tmp_path: Path) -> None:
    result = train(describe(), tmp_path / "run")
    trained = load_for_evaluation(tmp_path / "run")
    options = trained.recipe.training
    found = evaluate(trained.model, trained.task, "test", rows=options.evaluation_rows, precision=options.precision)
    assert found.metrics == result.metrics["test"]


def test_trained_model_decodes_without_its_data(describe: Describe, tmp_path: Path, text: Path) -> None:
    copy = tmp_path / "copy.txt"
    copy.write_text(text.read_text())
    train(describe(f"task.source={copy}", "task.tokens=bpe", "vocabulary=270"), tmp_path / "run")
    copy.unlink()
    trained = load_for_decoding(tmp_path / "run", device="cpu")
    assert trained.task.decode(trained.task.encode("memory")) == "memory"
    assert trained.model(torch.tensor([trained.task.encode("memory")])).shape[-1] == 270


def test_group_is_a_run_for_each_seed(describe: Describe, tmp_path: Path) -> None:
    group = train_group(describe(), tmp_path / "group", [3, 5])
    assert group.status == "finished"
    spread = group.metrics["test"]["bits_per_byte"]
    alone = [read_result(RunFolder(tmp_path / "group" / f"seed-{seed}").result) for seed in (3, 5)]
    values = [result.metrics["test"]["bits_per_byte"] for result in alone]
    assert spread.values == values
    assert spread.mean == pytest.approx(sum(values) / 2)
    assert spread.std == pytest.approx(abs(values[0] - values[1]) / math.sqrt(2))
    # Student's t for two values: 12.706 standard errors on both sides
    half = 12.7062 * abs(values[0] - values[1]) / 2
    assert spread.interval == pytest.approx((spread.mean - half, spread.mean + half), rel=1e-4)
    assert json.loads((tmp_path / "group" / "group.json").read_text())["seeds"] == [3, 5]
    options = replace(describe().training, seed=5, data_seed=1)
    by_itself = train(replace(describe(), training=options), tmp_path / "alone")
    assert by_itself.metrics == alone[1].metrics


def test_the_last_weights_are_kept_where_they_are_asked_for(describe: Describe, tmp_path: Path) -> None:
    """At a rate that ruins the model, the best validation is not the last."""
    ruined = ("learning_rate=1", "schedule=constant", "warmup=0", "clip=null")
    best = train(describe(*ruined), tmp_path / "best")
    last = train(describe(*ruined, "keep=last"), tmp_path / "last")
    assert best.best_step == last.best_step != last.steps
    assert best.metrics["validation"]["nats_per_token"] < last.metrics["validation"]["nats_per_token"]


def test_rows_that_fill_no_batch_are_told_before_training(tmp_path: Path) -> None:
    task = ["task=mqar_small", "task.train=[{length: 32, pairs: 2, rows: 8}]"]
    with pytest.raises(RecipeError, match="no segment fills a batch of 9 rows"):
        train(load_run_recipe([*task, "rows=9", "steps=2"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_training_ends_where_its_goal_is_reached(describe: Describe, tmp_path: Path) -> None:
    """Fewer bits are better: a hundred of them are reached by any model, none is not."""
    early = train(describe("stop_at=100"), tmp_path / "early")
    assert (early.status, early.steps) == ("finished", describe().training.validate_every)
    whole = train(describe("stop_at=0"), tmp_path / "whole")
    assert whole.steps == describe().training.steps


def test_stopped_group_goes_on(describe: Describe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        signal_in_step(5, signal.SIGINT, patched)
        stopped = train_group(describe(), tmp_path / "group", [1, 2])
    assert (stopped.status, stopped.signal) == ("stopped", signal.SIGINT)
    assert not (tmp_path / "group" / "seed-2").exists()
    assert resume_group(tmp_path / "group") == train_group(describe(), tmp_path / "whole", [1, 2])


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_run_on_a_gpu_goes_on_after_a_stop(
    describe: Describe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    recipe = describe("device=cuda", f"precision={precision}", "model.dropout=0.1")
    whole = train(recipe, tmp_path / "whole")
    with monkeypatch.context() as patched:
        signal_in_step(7, signal.SIGTERM, patched)
        assert train(recipe, tmp_path / "stopped").steps == 7
    resumed = resume(tmp_path / "stopped")
    assert resumed.status == "finished"
    # Atomic additions in the gradient of the embedding come in any order.
    nats, expected = (each.metrics["test"]["nats_per_token"] for each in (resumed, whole))
    assert nats == pytest.approx(expected, rel=1e-3 if precision == "float32" else 1e-2)
    assert resumed.device == torch.cuda.get_device_name()
