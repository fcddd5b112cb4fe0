"""A run that was stopped and started again is the run that was never stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from eos.errors import RunError
from eos.training.folder import RunFolder
from eos.training.log import read_metrics
from tests.training.fakes import Killed, StoppingModel, TinyModel, fit_in, training_options


def numbers(path: Path) -> list[tuple[int, str, float]]:
    """Every number of the log but those that time decides."""
    rows = read_metrics(RunFolder(path).metrics)
    return [(row.step, row.metric, row.value) for row in rows if not row.metric.endswith("per_second")]


def events(path: Path) -> list[tuple[int, str, float]]:
    """The same, from the TensorBoard files."""
    accumulator = EventAccumulator(str(path), purge_orphaned_data=False)
    accumulator.Reload()
    return sorted(
        (event.step, tag, event.value)
        for tag in accumulator.Tags()["scalars"]
        if not tag.endswith("per_second")
        for event in accumulator.Scalars(tag)
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """The run that was never stopped."""
    path = tmp_path_factory.mktemp("whole") / "run"
    model = TinyModel()
    fit_in(path, model, training_options())
    # Steps 8 and 16 were the best for a while.
    kept = ["best-16.safetensors", "best-24.safetensors", "index.json", "step-20.ckpt", "step-24.ckpt"]
    assert sorted(file.name for file in (path / "checkpoints").iterdir()) == kept
    return path, model.state_dict()


def assert_same(path: Path, model: TinyModel, whole: tuple[Path, dict[str, torch.Tensor]]) -> None:
    expected_path, expected = whole
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert numbers(path) == numbers(expected_path)
    float32 = [(step, tag, float(torch.tensor(value))) for step, tag, value in numbers(expected_path)]
    assert events(path) == sorted(float32)


# Steps 5, 10 … are saved, 8 and 16 are validated: before, at and after each of them, the first and the last step.
@pytest.mark.parametrize(
    ("at", "workers", "then"), [(1, 0, 2), (5, 2, 0), (8, 0, 0), (9, 2, 2), (15, 0, 0), (24, 0, 0)]
)
@pytest.mark.parametrize("how", ["signal", "kill"])
def test_resumed_run_equals_uninterrupted(
    tmp_path: Path, whole: tuple[Path, dict[str, torch.Tensor]], at: int, workers: int, then: int, how: str
) -> None:
    path = tmp_path / "run"
    stopped = StoppingModel(at=at, how="signal" if how == "signal" else "kill")
    if how == "signal":
        module = fit_in(path, stopped, training_options(workers=workers))
        assert module.state.step == at
    else:
        with pytest.raises(Killed):
            fit_in(path, stopped, training_options(workers=workers))
    model = TinyModel()
    fit_in(path, model, training_options(workers=then))
    assert_same(path, model, whole)


def test_run_stopped_again_and_again_equals_uninterrupted(
    tmp_path: Path, whole: tuple[Path, dict[str, torch.Tensor]]
) -> None:
    path = tmp_path / "run"
    for _ in range(6):
        fit_in(path, StoppingModel(at=4, how="signal"), training_options())
    model = TinyModel()
    fit_in(path, model, training_options())
    assert_same(path, model, whole)


def test_run_killed_after_it_caught_up_equals_uninterrupted(
    tmp_path: Path, whole: tuple[Path, dict[str, torch.Tensor]]
) -> None:
    path = tmp_path / "run"
    # The signal leaves the validation of step 8 to the next start, which saves again, and is then killed.
    fit_in(path, StoppingModel(at=8, how="signal"), training_options())
    with pytest.raises(Killed):
        fit_in(path, StoppingModel(at=1, how="kill"), training_options())
    model = TinyModel()
    fit_in(path, model, training_options())
    assert_same(path, model, whole)


SLOW_RUN = """
import sys, time
from pathlib import Path
from tests.training.fakes import TinyModel, fit_in, training_options

class SlowModel(TinyModel):
    def forward(self, tokens, *, reset=None):
        time.sleep(0.02)
        return super().forward(tokens, reset=reset)

fit_in(Path(sys.argv[1]), SlowModel(), training_options(workers=2))
"""


def test_killed_process_goes_on(tmp_path: Path, whole: tuple[Path, dict[str, torch.Tensor]]) -> None:
    path = tmp_path / "run"
    command = [sys.executable, "-c", SLOW_RUN, str(path)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], env=os.environ | {"OMP_NUM_THREADS": "1"})
    until = time.monotonic() + 60
    while not RunFolder(path).checkpoints.index.exists():
        assert process.poll() is None, "the run ended before its first checkpoint"
        assert time.monotonic() < until, "the run saved nothing"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    model = TinyModel()
    fit_in(path, model, training_options())
    assert_same(path, model, whole)


@pytest.mark.parametrize("how", ["cut", "changed", "gone"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, whole: tuple[Path, dict[str, torch.Tensor]], how: str
) -> None:
    path = tmp_path / "run"
    fit_in(path, StoppingModel(at=16, how="signal"), training_options())
    checkpoints = RunFolder(path).checkpoints
    last = checkpoints.at(checkpoints.kept()[-1].step)
    data = last.read_bytes()
    if how == "gone":
        last.unlink()
    else:
        last.write_bytes(data[: len(data) // 2] + (b"" if how == "cut" else b"?" + data[len(data) // 2 + 1 :]))
    assert checkpoints.latest() == (checkpoints.at(checkpoints.kept()[0].step), [last])
    model = TinyModel()
    fit_in(path, model, training_options())
    assert_same(path, model, whole)


def test_a_lost_index_loses_no_training(tmp_path: Path, whole: tuple[Path, dict[str, torch.Tensor]]) -> None:
    path = tmp_path / "run"
    fit_in(path, StoppingModel(at=16, how="signal"), training_options())
    checkpoints = RunFolder(path).checkpoints
    kept = checkpoints.kept()
    checkpoints.index.unlink()
    assert checkpoints.kept() == kept
    model = TinyModel()
    fit_in(path, model, training_options())
    assert_same(path, model, whole)


def test_damaged_checkpoints_alone_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    fit_in(path, StoppingModel(at=16, how="signal"), training_options())
    for each in RunFolder(path).checkpoints.path.glob("step-*.ckpt"):
        each.write_bytes(b"")
    with pytest.raises(RunError, match=r"every checkpoint is damaged \(step-16\.ckpt, step-15\.ckpt\)"):
        fit_in(path, TinyModel(), training_options())
    RunFolder(path).checkpoints.index.unlink()
    (path / "checkpoints" / "last.ckpt").touch()
    with pytest.raises(RunError, match="written by an earlier version"):
        fit_in(path, TinyModel(), training_options())
