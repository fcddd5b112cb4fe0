"""The commands: a search is begun, stopped, gone on with, shown and exported."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from eos import registry
from eos.cli.main import main
from search.live import ranked
from search.study import join
from tests.search.conftest import SMALL

NARROW = ["search.expand=[linear,elu]", "search.oscillation=[none,key_gate]", "search.shrink=fixed",
          "search.options=none", "search.vary={}", "search.first=[]"]  # fmt: skip
BEGUN = ["search", *SMALL, *NARROW, "study=tested"]
LOG = "runs/search/tested/study.log"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["eos"])
    # What --plugins adds is of one test alone.
    monkeypatch.setattr(registry, "_folders", registry._folders)


def test_a_search_is_begun_gone_on_with_shown_and_exported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BEGUN, "trials=2"]) == 0
    said = capsys.readouterr()
    assert re.search(r"trial 1  accuracy [\d.]+  expand=\w+ oscillation=\w+  \(2 of 2 trials\)", said.err)
    assert "eos search export runs/search/tested N" in said.out
    assert not list(Path("runs").rglob("weights.safetensors"))

    assert main([*BEGUN, "trials=3"]) == 0
    study = join(LOG)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3
    assert study.trials[0].user_attrs["seconds"] > 0

    capsys.readouterr()
    assert main(["search", "show", "tested"]) == 0
    assert "study tested: 3 of 3 trials" in capsys.readouterr().out

    assert main(["search", "export", "tested", "1", "--name", "mine", "--into", "plugin"]) == 0
    assert "eos --plugins plugin train experiment=mine" in capsys.readouterr().out
    assert main(["--plugins", "plugin", "train", "experiment=mine", "run=again"]) == 0
    logs = [Path(place) / "metrics.csv" for place in ("runs/search/tested/trials/0001/seed-1", "again")]
    values = [re.findall(r"validation/accuracy,([\d.]+)", log.read_text()) for log in logs]
    assert values[0] == values[1] != []


def test_a_search_that_was_begun_otherwise_says_what_changed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BEGUN, "trials=1"]) == 0
    changed = [text.replace("[linear,elu]", "[linear,ones]") for text in BEGUN]
    capsys.readouterr()
    assert main([*changed, "layers=2"]) == 2
    said = capsys.readouterr().err
    assert "space: expand: +ones −elu" in said
    assert "model.layers: 1 → 2" in said
    # What was found with one layer says nothing of two.
    assert said.strip().endswith("or begin another: study=tested-2")
    assert main(changed) == 2
    assert "take over what is still valid: study=tested-2 from=tested" in capsys.readouterr().err
    assert main([*changed[:-1], "study=tested-2", "from=tested", "trials=2"]) == 0
    assert re.search(r"[01] trials taken over from tested", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("key", "meant"), [("trial=3", "trials"), ("job=2", "jobs"), ("folders=x", "folder"), ("hour=1", "hours")]
)
def test_a_misspelt_key_of_the_search_is_told_with_the_right_one(
    key: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*BEGUN, key]) == 2
    assert f"unknown key '{key.partition('=')[0]}'. Did you mean '{meant}'?" in capsys.readouterr().err


def test_what_was_typed_is_blamed_and_leaves_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BEGUN, "search.sampler=tp"]) == 2
    assert "search.sampler=tp" in capsys.readouterr().err
    assert main([*BEGUN, "search.metric=beauty"]) == 2
    assert main([*BEGUN, "search.match={params: 5}"]) == 2
    assert not Path("runs/search/tested").exists()


def test_a_failure_is_found_again(capsys: pytest.CaptureFixture[str]) -> None:
    rates = [text.replace("search.vary={}", "search.vary={learning_rate: [0.01, 0.02]}") for text in BEGUN]
    assert main([*rates, "search.sampler=grid"]) == 0
    study = join(LOG)
    study.optuna.add_trial(
        optuna.trial.create_trial(state=TrialState.FAIL, user_attrs={"reason": "a stage of one's own: no"})
    )
    capsys.readouterr()
    assert main(["search", "show", "tested"]) == 0
    said = capsys.readouterr().out
    assert f"trial {len(study.trials) - 1} failed: a stage of one's own: no" in said
    assert f"the best 5 of {len(study.trials) - 1}" in said


def test_of_several_objectives_the_front_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    several = ["search.objectives=[quality,parameters]", "search.sampler=random", "search.vary={layers: [1, 2]}"]
    assert main([*(text for text in BEGUN if "vary" not in text), *several, "trials=5"]) == 0
    study = join(LOG)
    order = ranked(study.trials, study.record)
    front = {trial.number for trial in study.optuna.best_trials}
    assert {trial.number for trial in order[: len(front)]} == front
    assert re.search(r"front\s+choices", capsys.readouterr().out)


def test_commands_to_type_next_name_the_plugins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine" / "recipes").mkdir(parents=True)
    assert main(["--plugins", "mine", *BEGUN, "trials=1"]) == 0
    assert f"eos --plugins {tmp_path / 'mine'} search export runs/search/tested N" in capsys.readouterr().out
    assert main(["search", "export", "tested", "0", "--name", "gla"]) == 2
    assert "there is a model recipe gla already; choose another --name" in capsys.readouterr().err
    assert not Path("plugin").exists()


def test_a_study_whose_plugins_are_missing_says_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = Path(registry.stage("expand", "elu").path).read_text(encoding="utf-8")
    (tmp_path / "mine" / "stages" / "expand").mkdir(parents=True)
    (tmp_path / "mine" / "stages" / "expand" / "own.py").write_text(stage)
    assert main(["--plugins", "mine", *BEGUN, "trials=1", "search.expand=[own]"]) == 0
    registry._folders = ()
    for command in (["search", "export", "tested", "0"], ["worker", "runs/search/tested"]):
        capsys.readouterr()
        assert main(command) == 2
        said = capsys.readouterr().err
        assert f"was begun with --plugins {tmp_path / 'mine'}: say so again" in said


def test_slurm_is_not_played_by_this_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")  # there may be one here
    assert main([*BEGUN, "on=slurm", "jobs=2", "trials=2"]) == 2
    assert "there is no SLURM here (no srun)" in capsys.readouterr().err


def test_a_grid_is_every_candidate_once() -> None:
    continuous = "search.vary={learning_rate: {low: 1e-3, high: 1e-2}}"
    assert main([*BEGUN, continuous, "search.sampler=grid"]) == 2
    assert main([*BEGUN, "search.sampler=grid"]) == 0
    found = {tuple(trial.params.items()) for trial in join(LOG).trials}
    assert len(found) == len(join(LOG).trials) == 4


def test_several_objectives_have_a_value_each() -> None:
    assert main([*BEGUN, "trials=2", "search.objectives=[quality,state]", "search.sampler=nsga2"]) == 0
    assert all(len(trial.values) == 2 for trial in join(LOG).trials)


def test_a_bad_candidate_is_pruned() -> None:
    pruned = ["search.pruner=median", "search.startup=1", "steps=8", "validate_every=1"]
    assert main([*BEGUN, *pruned, "trials=6"]) == 0
    states = [trial.state for trial in join(LOG).trials]
    assert set(states) <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert all(trial.intermediate_values for trial in join(LOG).trials)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([*BEGUN, "search.metric=acuracy"], "Did you mean 'accuracy'"),
        ([*BEGUN, "search.samplr=tpe"], "Did you mean 'sampler'"),
        ([*BEGUN, "trials=many"], "trials must be a whole number"),
        ([*BEGUN, "hours=-1"], "hours must be a number above 0"),
        ([*BEGUN, "search.match={params: 10}"], "10 parameters"),
        ([*BEGUN, "storage=postgresql://nobody@127.0.0.1:1/eos"], "cannot be used"),
        ([*BEGUN, "search.pruner=asha", "validate_every=null"], "set training.validate_every"),
        (["search", "show", "nowhere"], "nowhere is no folder of a search"),
        (["worker", "nowhere"], "nowhere is no folder of a search"),
        (["search", "nonsense"], "nonsense"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[-1],
)
def test_bad_input_is_one_clear_line(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert reason in capsys.readouterr().err


def eos(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "eos.cli.main", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def until(condition: object, *, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def begun(steps: int) -> bool:
    logs = list(Path("runs/search/tested/trials").glob("*/seed-1/metrics.csv")) if Path(LOG).exists() else []
    return any(len(path.read_text().splitlines()) > steps for path in logs)


def test_ctrl_c_keeps_what_was_done_and_the_same_command_goes_on() -> None:
    slow = [*BEGUN, "trials=2", "steps=500", "validate_every=null", "log_every=1"]
    process = eos(*slow)
    until(lambda: begun(20))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT, said
    assert "To go on: eos search" in said
    assert [trial.state for trial in join(LOG).trials] == [TrialState.WAITING] * 2
    params = join(LOG).trials[0].params
    process = eos(*slow)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    trials = join(LOG).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert trials[0].params == params
    log = Path("runs/search/tested/trials/0000/seed-1/metrics.csv").read_text().splitlines()
    steps = [int(line.split(",")[0]) for line in log[1:] if "nats" in line and "train" in line]
    assert steps == list(range(1, 501))


@pytest.mark.slow
def test_workers_share_a_search_and_a_killed_one_loses_nothing() -> None:
    process = eos(*BEGUN, "trials=6", "jobs=2", "steps=400", "validate_every=null", "log_every=1")
    until(lambda: begun(5))
    workers = subprocess.run(["pgrep", "-f", "eos.cli.main worker .*study=tested"], capture_output=True, text=True)
    os.kill(int(workers.stdout.split()[0]), signal.SIGKILL)
    _, said = process.communicate(timeout=300)
    trials = join(LOG).trials
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(done) == 6, said
    assert process.returncode == 2  # a worker was killed, and that is said
    assert len({str(trial.params) for trial in done}) >= 1


@pytest.mark.slow
def test_workers_may_be_jobs() -> None:
    """Of submitit, whose local cluster stands for SLURM here."""
    where = ["on=slurm", "jobs=2", "options={cluster: local, timeout_min: 5}"]
    process = eos(*BEGUN, "trials=3", *where)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert [trial.state for trial in join(LOG).trials] == [TrialState.COMPLETE] * 3
    assert list(Path("runs/search/tested/slurm").glob("*_log.out"))
