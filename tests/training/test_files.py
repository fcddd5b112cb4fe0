"""Files are the old or the new one; a full disk is told in one line and costs nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from eos.errors import RunError
from eos.training.checkpoint import AtomicCheckpointIO
from eos.training.files import replacing, write_json
from eos.training.folder import RunFolder, new_folder
from eos.training.log import MetricsLog, read_metrics
from tests.training.fakes import TinyModel, fit_in, training_options

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full, which plays the full disk")


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text(f"new {1 / 0}")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_reader_of_the_old_file_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with path.open() as reader:
        with replacing(path) as temporary:
            temporary.write_text("new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_numbers_that_are_not_finite_are_not_written_as_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


@needs_full
def test_full_disk_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, path)
    (tmp_path / "last.ckpt.partial").symlink_to(FULL)
    with pytest.raises(RunError, match=rf"^the disk is full: {path} could not be written") as raised:
        AtomicCheckpointIO().save_checkpoint({"step": 2, "weights": torch.zeros(10**6)}, path)
    assert "\n" not in str(raised.value)
    assert AtomicCheckpointIO().load_checkpoint(path) == {"step": 1}


@needs_full
def test_run_on_a_full_disk_can_go_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run"
    save = AtomicCheckpointIO.save_checkpoint

    def second_save_fills_the_disk(self: AtomicCheckpointIO, checkpoint: Any, where: Path, **_: Any) -> None:
        if checkpoint["global_step"] != 5:
            where.with_name(where.name + ".partial").symlink_to(FULL)
        save(self, checkpoint, where)

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", second_save_fills_the_disk)
    with pytest.raises(RunError, match="the disk is full"):
        fit_in(path, TinyModel(), training_options(validate_every=None))
    monkeypatch.undo()
    assert AtomicCheckpointIO().load_checkpoint(RunFolder(path).checkpoints.at(5))["global_step"] == 5
    module = fit_in(path, TinyModel(), training_options(validate_every=None))
    assert module.state.step == 24


@needs_full
def test_full_disk_is_told_by_the_log(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.csv")
    log._file.close()
    log._file = FULL.open("wb", buffering=0)
    with pytest.raises(RunError, match="the disk is full"):
        log.write(step=1, seconds=0.0, values={"train/loss": 1.0})


def test_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    torch.save({"state_dict": Hostile()}, tmp_path / "last.ckpt")
    with pytest.raises(RunError, match=r"holds more than tensors and plain values.*: it is not read"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt")
    assert not (tmp_path / "ran").exists()


def test_cut_log_holds_what_the_checkpoint_knew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    log = MetricsLog(path)
    log.write(step=1, seconds=0.5, values={"train/loss": 0.1})
    known = log.length
    log.write(step=2, seconds=1.0, values={"train/loss": 0.2})
    log.close()
    with path.open("a") as file:
        file.write("3,1.5,train/lo")
    again = MetricsLog(path, length=known, seconds=0.5)
    again.write(step=2, seconds=1.0, values={"train/loss": 0.3})
    again.close()
    assert [(row.step, row.value) for row in read_metrics(path)] == [(1, 0.1), (2, 0.3)]


def test_log_shorter_than_its_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step")
    with pytest.raises(RunError, match="shorter than its checkpoint knew"):
        MetricsLog(tmp_path / "metrics.csv", length=100)


def test_folder_in_use_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with folder.locked(), pytest.raises(RunError, match="in use"), folder.locked():
        pass
    with folder.locked():
        pass


def test_new_folders_never_collide(tmp_path: Path) -> None:
    paths = []
    for _ in range(3):
        paths.append(new_folder(tmp_path, "a-b-1"))
        paths[-1].mkdir()
    assert [path.name[11:] for path in paths] == ["a-b-1", "a-b-1-2", "a-b-1-3"]


def test_json_is_readable(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1, None]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1, None]}
