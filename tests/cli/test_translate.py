"""eos translate, as a person types it."""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from eos.cli.main import main
from tests.cli.conftest import Outcome


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run whose data are gone."""
    folder = tmp_path_factory.mktemp("run")
    pairs = folder / "pairs.tsv"
    pairs.write_text("".join(f"number {n} of {n % 7}\tZahl {n} von {n % 7}\n" for n in range(60)), encoding="utf-8")
    small = [
        "task=translation",
        "model=gla",
        "layers=1",
        "width=16",
        "initial_std=0.5",
        "tied=false",
        "steps=2",
        "rows=4",
    ]
    data = ["task.vocabulary=300", f"task.source={pairs}", f"task.cache={folder / 'cache'}", "device=cpu"]
    assert main(["train", *small, *data, f"run={folder / 'run'}"]) == 0
    pairs.unlink()
    return folder / "run"


def test_lines_of_the_output_belong_to_lines_of_the_input(
    run: Path, eos: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["number 3 of 4", "", "number 12", "of"]
    (tmp_path / "asked.txt").write_text("\n".join(asked) + "\n", encoding="utf-8")
    whole = eos("translate", str(run), "--input", str(tmp_path / "asked.txt"), "--rows", "2")
    assert whole.status == 0
    each = [eos("translate", str(run), text).out if text else "\n" for text in asked]
    assert whole.out == "".join(each)
    assert len(whole.out.splitlines()) == 4
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\r\n".join(asked).encode())))
    assert eos("translate", str(run)).out == whole.out
    assert eos("translate", str(run), asked[0], "--beams", "4", "--penalty", "0.6").status == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["a", "--beams", "0"], "eos: error: beams must be ≥ 1, got 0\n"),
        (["a", "--rows", "0"], "eos: error: --rows must be ≥ 1, got 0\n"),
        (["a", "--penalty", "-1"], "eos: error: --penalty must be ≥ 0, got -1.0\n"),
        (["--input", "BAD"], "line 2: byte 1 of the line is not UTF-8\n"),
        (["a", "--input", "BAD"], "eos: error: give a sentence or --input FILE, not both\n"),
    ],
)
def test_faults_are_one_line(
    run: Path, eos: Callable[..., Outcome], tmp_path: Path, options: list[str], said: str
) -> None:
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"a\n\xff\n")
    outcome = eos("translate", str(run), *(str(bad) if each == "BAD" else each for each in options))
    assert outcome.status == 2
    assert outcome.err.endswith(said)
    assert outcome.err.count("\n") == 1
    assert outcome.out == ""


def test_a_run_of_another_task_is_told_what_it_is_for(eos: Callable[..., Outcome], tmp_path: Path) -> None:
    small = ["task=overwriting", "pairs=3", "epoch=64", "held_out=6", "model=gla", "layers=1", "width=16"]
    assert eos("train", *small, "steps=2", "rows=4", "device=cpu", f"run={tmp_path / 'run'}").status == 0
    outcome = eos("translate", str(tmp_path / "run"), "a")
    assert outcome.err == (
        f"eos: error: {tmp_path / 'run'} is no run of task=translation; where its model writes, eos generate "
        f"{tmp_path / 'run'} lets it\n"
    )
    assert eos("translate", str(tmp_path / "nowhere"), "a").status == 2
