"""eos sweep, as a person types it."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from eos import registry
from eos.cli.sweep import locate
from eos.cli.sweep_request import split
from eos.training.sweep import begin
from tests.cli.conftest import Outcome

SMALL = "task=overwriting pairs=2 epoch=64 held_out=8 layers=1 width=16 rows=4 device=cpu validate_every=2".split()
#: Weights grow a hundredfold a step.
DIVERGES = "model=gla weight_decay=10 clip=null schedule=constant warmup=0 steps=12".split()

Run = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def start(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "eos.cli.main", "sweep", *SMALL, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def starts(run: Path) -> int:
    return len(json.loads((run / "run.json").read_text())["starts"])


def test_it_trains_every_combination_and_compares(eos: Run, tmp_path: Path) -> None:
    path = tmp_path / "sweep"
    line = ("sweep", *SMALL, "model=gla,llama", "steps=2", "jobs=2", f"run={path}")
    done = eos(*line)
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("test accuracy (higher is better; chosen on the validation part; chance 0.0156, ")
    assert [line.split()[0] for line in lines[1:]] == ["gla", "llama", "folder"]
    found = json.loads((path / "sweep.json").read_text())
    assert [score["value"] for score in found["scores"]] == ["gla", "llama"]
    assert all(0 <= score["score"] <= 1 for score in found["scores"])
    assert all(point["status"] == "finished" and point["seconds"] > 0 for point in found["points"].values())
    assert "test accuracy" in (path / "model=gla.log").read_text()
    said = done.err.splitlines()
    assert "in all    2 combinations" in said
    assert any(line.startswith("time      about ") and line.endswith("by a few steps measured now") for line in said)
    assert any(": finished; 1 of 2 done" in line for line in said)
    assert any(line.endswith(": finished; 2 of 2 done") for line in said)

    again = eos(*line)
    assert (again.status, again.out) == (0, done.out)
    assert "time      nothing is left to do" in again.err.splitlines()
    assert starts(path / "model=gla") == 1
    other = eos("sweep", *SMALL, "model=gla,hgrn2", "steps=2", f"run={path}")
    assert other.status == 2
    assert "was begun with other choices than these" in other.err


def test_what_failed_is_trained_again_only_when_asked(eos: Run, tmp_path: Path) -> None:
    path = tmp_path / "sweep"
    line = ("sweep", *SMALL, *DIVERGES, "learning_rate=1e-4,10", "jobs=2", f"run={path}")
    bad = path / "learning_rate=10"
    assert (first := eos(*line)).status == 2
    assert "nothing has finished" in first.out
    assert "not finite" in (path / "learning_rate=10.log").read_text()
    points = json.loads((path / "sweep.json").read_text())["points"]
    assert [points[name]["status"] for name in ("learning_rate=1e-4", "learning_rate=10")] == ["finished", "failed"]
    retry = f"1 of 2 failed: learning_rate=10. To train them again: eos sweep run={path} resume=true jobs=2 --retry"
    assert retry in first.err

    kept = eos("sweep", f"run={path}", "resume=true", "jobs=2")
    assert kept.status == 2
    assert retry in kept.err
    assert "failed         1, which --retry trains again" in kept.err.splitlines()
    assert starts(bad) == 1
    plan = eos("sweep", f"run={path}", "resume=true", "--plan", "--retry")
    assert "to do          1" in plan.out.splitlines()
    assert plan.out.splitlines()[-1].endswith("by the 1 that have finished")
    assert eos("sweep", f"run={path}", "resume=true", "jobs=2", "--retry").status == 2
    assert (starts(bad), starts(path / "learning_rate=1e-4")) == (2, 1)


def test_a_plan_says_what_is_left_out_and_why(eos: Run, tmp_path: Path) -> None:
    stages = ("model=gla", "oscillation=key_gate,delta", "expand=linear,{name: learned, over: key_value}")
    plan = eos("sweep", *SMALL, *stages, "steps=2", f"run={tmp_path / 'sweep'}", "--plan").out.splitlines()
    assert "in all       3 combinations, 1 left out" in plan
    (line,) = (line for line in plan if line.startswith("left out"))
    assert "oscillation=delta expand={name: learned, over: key_value}: mixers.main" in line
    assert "erase" in line


BREAKS = """\"\"\"A stage with a mistake in it.\"\"\"

from torch import Tensor

from eos.stage import AbstractExpand


class Broken(AbstractExpand):
    \"\"\"Raises where it holds numbers.\"\"\"

    def forward(self, z: Tensor) -> Tensor:
        if ALWAYS or z.device.type != "meta":
            raise ValueError("my own mistake")
        return z.new_empty(z.shape[0], z.shape[1], self.context.groups, self.context.key_size)
"""


def test_a_stage_that_raises_stops_no_other_combination(
    eos: Run, plugins: Callable[[str, str], Path], tmp_path: Path
) -> None:
    plugins("stages/expand/early.py", BREAKS.replace("ALWAYS", "True"))
    mine = plugins("stages/expand/late.py", BREAKS.replace("ALWAYS", "False"))
    path = tmp_path / "sweep"
    line = ("sweep", "--plugins", str(mine), *SMALL, "model=gla", "expand=linear,early,late", "steps=2", "jobs=2")
    done = eos(*line, f"run={path}")
    assert done.status == 2
    points = json.loads((path / "sweep.json").read_text())["points"]
    assert [point["status"] for point in points.values()] == ["finished", "refused", "failed"]
    said = done.err.splitlines()
    early, late = (
        f"ValueError: my own mistake ({mine / 'stages' / 'expand' / name}, line 13)"
        for name in (
            "early.py",
            "late.py",
        )
    )
    assert f"left out  expand=early: {early}" in said
    assert f"time      not known before the first has finished: {late}" in said
    retry = f"eos --plugins {shlex.quote(str(mine))} sweep run={path} resume=true jobs=2 --retry"
    assert said[-1].endswith(f"1 of 2 failed: expand=late. To train them again: {retry}")
    assert "my own mistake" in (path / "expand=late.log").read_text()


def test_what_is_printed_to_go_on_with_names_the_plugins(
    eos: Run, plugins: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = "{width: 16, layers: 1}, task: {pairs: 2, epoch: 64}, training: {rows: 4, steps: 2, device: cpu}"
    chosen = "defaults: [override /model: gla, override /task: overwriting, override /training: default]"
    text = f"{{{chosen}, model: {sizes}, vary: {{expand: [linear, elu]}}}}"
    folder = plugins("recipes/experiment/mine.yaml", text).rename(tmp_path / "my own")
    path = tmp_path / "a sweep"
    line = ("sweep", "--plugins", str(folder), "experiment=mine", f"run={path}")
    assert "2 combinations" in eos(*line, "--plan").out
    begin(*reversed(locate(split(line[3:]), "sweep")[:2]))
    monkeypatch.setattr(registry, "_folders", ())
    said = eos(*line, "steps=3").err
    command = said.rpartition("go on with its own: ")[2].strip()
    assert shlex.split(command) == ["eos", "--plugins", str(folder), "sweep", f"run={path}", "resume=true"]
    monkeypatch.setattr(registry, "_folders", ())
    assert "to do     2" in eos(*shlex.split(command)[1:], "--plan").out.splitlines()


def test_a_path_that_is_taken_is_refused_before_anything_is_measured(eos: Run, tmp_path: Path) -> None:
    said = eos("sweep", "model=gla", "learning_rate=1e-3,1e-2", f"run={tmp_path}", "--plan")
    assert (said.status, said.err) == (2, f"eos: error: {tmp_path} exists already; choose another run=PATH\n")


@pytest.mark.slow
def test_ctrl_c_saves_and_a_resumed_sweep_ends_as_one_that_ran_through(tmp_path: Path) -> None:
    choice, budget = "learning_rate=1e-3,1e-2", "steps=400"
    process = start("model=gla", choice, budget, f"run={tmp_path / 'stopped'}")
    log = tmp_path / "stopped" / "learning_rate=1e-3" / "metrics.csv"
    until = time.monotonic() + 120
    while not log.exists() or log.read_text().count("\n") < 10:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT, err
    assert "To go on: eos sweep run=" in err
    points = json.loads((tmp_path / "stopped" / "sweep.json").read_text())["points"]
    assert [point["status"] for point in points.values()] == ["stopped", "waiting"]
    assert not (tmp_path / "stopped" / "learning_rate=1e-2").exists()
    command = [sys.executable, "-m", "eos.cli.main", "sweep", f"run={tmp_path / 'stopped'}", "resume=true"]
    subprocess.run(command, check=True, capture_output=True)
    whole = start("model=gla", choice, budget, f"run={tmp_path / 'whole'}")
    whole.communicate(timeout=240)
    scores = [json.loads((tmp_path / name / "sweep.json").read_text())["scores"] for name in ("stopped", "whole")]
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_data_that_were_missing_are_found_when_asked_again(eos: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abc " * 2000)
    sources = f"task.source={tmp_path / 'a.txt'},{tmp_path / 'b.txt'}"
    sizes = "task=text length=16 layers=1 width=16 rows=4 steps=2 device=cpu model=gla".split()
    line = ("sweep", *sizes, sources, f"run={tmp_path / 'sweep'}")
    first = eos(*line)
    assert (first.status, "1 of 2 failed" in first.err) == (2, True), first.err
    assert os.fspath(tmp_path / "b.txt") in first.err
    (tmp_path / "b.txt").write_text("abd " * 2000)
    assert eos(*line).status == 2
    assert eos(*line, "--retry").status == 0
