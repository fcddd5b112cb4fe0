"""eos sweep, as a person types it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SMALL = "task=overwriting pairs=2 epoch=64 held_out=8 layers=1 width=16 rows=4 device=cpu validate_every=2".split()


def start(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "eos.cli.main", "sweep", *SMALL, *arguments]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=one_thread)


def test_it_trains_every_combination_and_compares(tmp_path: Path) -> None:
    process = start("model=gla,llama", "steps=2", "jobs=2", f"run={tmp_path / 'sweep'}")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("test accuracy (higher is better; chosen on the validation part; chance 0.0156, ")
    assert [line.split()[0] for line in lines[1:]] == ["gla", "llama", "folder"]
    found = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert [score["value"] for score in found["scores"]] == ["gla", "llama"]
    assert all(0 <= score["score"] <= 1 for score in found["scores"])
    assert "test accuracy" in (tmp_path / "sweep" / "model=gla.log").read_text()
    assert sum(line.endswith(": finished") for line in err.splitlines()) == 2


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
    assert not (tmp_path / "stopped" / "learning_rate=1e-2").exists()
    command = [sys.executable, "-m", "eos.cli.main", "sweep", f"run={tmp_path / 'stopped'}", "resume=true"]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True)
    whole = start("model=gla", choice, budget, f"run={tmp_path / 'whole'}")
    whole.communicate(timeout=240)
    scores = [json.loads((tmp_path / name / "sweep.json").read_text())["scores"] for name in ("stopped", "whole")]
    assert scores[0] == scores[1]
