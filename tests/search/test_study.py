"""Studies: what they hold, who works on them, and what happens to those who are gone."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from eos.errors import DataError, RunError
from search.liveness import Watcher, ended, worker_name
from search.objective import Outcome
from search.place import located, point
from search.space import Candidate, Space
from search.storage import StudyError, open_storage, without_password
from search.study import (
    LOST,
    REASON,
    RECORD,
    RETRY_OF,
    WORKER,
    Study,
    begin,
    carry_over,
    differences,
    join,
    lost,
    read_record,
)
from search.worker import work

Spaces = Callable[..., Space]
Studies = Callable[..., Study]
NARROW = {"expand": ["linear", "elu"], "oscillation": ["none", "key_gate"], "shrink": "fixed", "options": "none"}


@pytest.fixture(params=["journal", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "study.log") if request.param == "journal" else f"sqlite:///{tmp_path / 'study.db'}"


def stub(candidate: Candidate, trial: optuna.Trial, folder: Path) -> Outcome:
    return Outcome(status="complete", values=[float(len(candidate.params["expand"]))])


def quick(study: Study, space: Space, objective: Any = stub, **more: Any) -> Any:
    return work(study, space, objective, folder=Path(study.record.folder), beat=0.05, grace=0.3, **more)


def test_a_study_is_what_was_begun(url: str, space_of: Spaces, study_of: Studies) -> None:
    space = space_of(**NARROW)
    study = study_of(space, url=url, trials=3)
    joined = join(url)
    assert joined.record == study.record
    assert joined.wanted == 3
    assert [trial.state for trial in joined.trials] == [TrialState.WAITING] * 3


def test_all_trials_that_are_asked_for_are_run_once(url: str, space_of: Spaces, study_of: Studies) -> None:
    space = space_of(**NARROW)
    study = study_of(space, url=url, trials=5)
    assert quick(study, space).trials == 5
    assert [trial.state for trial in join(url).trials] == [TrialState.COMPLETE] * 5
    study.ask_for(7)
    assert quick(study, space).trials == 2
    study.ask_for(4)
    assert quick(study, space).trials == 0


def test_what_was_enqueued_comes_first(space_of: Spaces, study_of: Studies) -> None:
    space = space_of(**NARROW)
    study = study_of(space)
    params = {"expand": "elu", "oscillation": "none"}
    study.enqueue(params, origin="known")
    study.enqueue(params, origin="known")
    study.ask_for(3)
    quick(study, space)
    assert len(study.trials) == 3
    assert study.trials[0].params == params


def test_a_trial_that_raises_fails_and_the_search_goes_on(space_of: Spaces, study_of: Studies) -> None:
    def fragile(candidate: Candidate, trial: optuna.Trial, folder: Path) -> Outcome:
        if trial.number == 1:
            raise IndexError("a stage of one's own")
        if trial.number == 2:
            return Outcome(status="failed", reason="not finite")
        return stub(candidate, trial, folder)

    space = space_of(**NARROW)
    study = study_of(space, trials=4)
    quick(study, space, fragile)
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL, TrialState.COMPLETE]
    assert [trial.user_attrs[REASON] for trial in study.trials[1:3]] == [
        "IndexError: a stage of one's own",
        "not finite",
    ]


@pytest.mark.parametrize("error", [DataError("the file is gone"), RunError("the disk is full"), KeyboardInterrupt()])
def test_what_no_other_trial_would_survive_ends_the_search_and_loses_none(
    space_of: Spaces, study_of: Studies, error: BaseException
) -> None:
    def broken(candidate: Candidate, trial: optuna.Trial, folder: Path) -> Outcome:
        raise error

    space = space_of(**NARROW)
    study = study_of(space, trials=2)
    with pytest.raises(type(error)):
        quick(study, space, broken)
    assert [trial.state for trial in study.trials] == [TrialState.WAITING] * 2
    before = study.trials[0].params
    assert before
    assert quick(study, space).trials == 2
    assert study.trials[0].params == before


def test_a_stopped_trial_waits_with_its_parameters(space_of: Spaces, study_of: Studies) -> None:
    def stopped(candidate: Candidate, trial: optuna.Trial, folder: Path) -> Outcome:
        return Outcome(status="stopped", signal=signal.SIGINT)

    space = space_of(**NARROW)
    study = study_of(space, trials=2)
    assert quick(study, space, stopped).signal == signal.SIGINT
    params = study.trials[0].params
    quick(study, space)
    assert study.trials[0].params == params
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2


def test_no_trial_begins_after_the_time_is_up(space_of: Spaces, study_of: Studies) -> None:
    space = space_of(**NARROW)
    study = study_of(space, trials=2)
    assert quick(study, space, until=time.monotonic() - 1).trials == 0


def claimed(study: Study, worker: str | None) -> int:
    """A running trial, of a worker that counts no more or of nobody."""
    trial = study.claim()
    assert trial is not None
    if worker is not None:
        study.optuna.set_user_attr(WORKER + worker, {"count": 1, "trial": trial.number})
    return int(trial.number)


@pytest.mark.parametrize("worker", ["elsewhere:17:4", None])
def test_a_trial_of_who_is_gone_is_run_once_more(url: str, space_of: Spaces, study_of: Studies, worker: str) -> None:
    space = space_of(**NARROW)
    study = study_of(space, url=url, trials=2)
    claimed(study, worker)
    assert quick(study, space).trials == 2
    first, *others = study.trials
    assert first.state == TrialState.FAIL
    assert first.user_attrs[LOST]
    assert [trial.state for trial in others] == [TrialState.COMPLETE] * 2
    assert others[-1].user_attrs[RETRY_OF] == first.number


def test_a_trial_is_not_run_a_third_time(space_of: Spaces, study_of: Studies) -> None:
    space = space_of(**NARROW)
    study = study_of(space, trials=1)
    for _ in range(2):
        claimed(study, "elsewhere:17:4")
        watcher = Watcher(study, grace=0.1)
        rescued: list[int] = []
        while not rescued:
            time.sleep(0.05)
            rescued = watcher.rescue()
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 2
    assert "for the second time" in study.trials[1].user_attrs[REASON]


def test_who_counts_on_is_left_alone(space_of: Spaces, study_of: Studies) -> None:
    study = study_of(space_of(**NARROW), trials=1)
    number = claimed(study, "elsewhere:17:4")
    watcher = Watcher(study, grace=0.2)
    for count in range(5):
        study.optuna.set_user_attr(WORKER + "elsewhere:17:4", {"count": count + 2, "trial": number})
        assert watcher.rescue() == []
        time.sleep(0.1)
    assert study.trials[0].state == TrialState.RUNNING


def test_a_process_of_this_machine_is_known_to_have_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    host = worker_name().split(":")[0]
    with open(f"/proc/{process.pid}/stat") as stat:
        began = stat.read().rpartition(")")[2].split()[19]
    name = f"{host}:{process.pid}:{began}"
    assert not ended(name)
    process.kill()
    process.wait()
    assert ended(name)
    assert not ended(f"elsewhere:{os.getpid()}:1")


def test_what_changed_is_said(base: Any, space_of: Spaces, study_of: Studies) -> None:
    study = study_of(space_of(**NARROW))
    other = space_of(**(NARROW | {"expand": ["linear", "ones"], "vary": {"layers": [1, 2]}, "seeds": 3}))
    changed = replace(study.record, search=other.search, space=other.description)
    assert differences(study.record, changed) == [
        "space: expand: +ones −elu",
        "space: layers is new",
        "search.seeds: 1 → 3",
    ]
    assert differences(study.record, study.record) == []


def test_trials_that_are_still_valid_are_carried_over(tmp_path: Path, space_of: Spaces, study_of: Studies) -> None:
    space = space_of(**NARROW)
    old = study_of(space)
    for expand in ("linear", "elu"):
        old.enqueue({"expand": expand, "oscillation": "none"}, origin="known")
    quick(old, space)
    wider = space_of(**(NARROW | {"expand": ["linear", "ones"]}))
    new = study_of(wider, url=str(tmp_path / "new.log"), name="new")
    assert carry_over(old, new, wider) == (1, 1)
    assert [trial.params["expand"] for trial in new.trials] == ["linear"]
    assert new.trials[0].values == old.trials[0].values


def test_values_of_another_question_are_not_carried_over(tmp_path: Path, space_of: Spaces, study_of: Studies) -> None:
    old = study_of(space_of(**NARROW), trials=1)
    quick(old, space_of(**NARROW))
    other = space_of(**NARROW, seeds=2)
    new = study_of(other, url=str(tmp_path / "new.log"), name="new")
    with pytest.raises(StudyError, match=r"asked otherwise: search\.seeds: 1 → 2"):
        carry_over(old, new, other)
    assert new.trials == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://nobody:secret@127.0.0.1:1/eos", "nobody answers|not installed"),
        ("nonsense://x", "cannot be used"),
        ("grpc://127.0.0.1:1", "nobody answers"),
    ],
)
def test_a_storage_that_cannot_be_used_is_said_in_a_line(url: str, reason: str) -> None:
    with pytest.raises(StudyError, match=reason) as caught:
        open_storage(url)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("left", [b'{"op_code":', b"{", b'{"op_code":5,"worker_id":"x"}'])
def test_a_line_that_was_never_finished_corrupts_no_journal(
    tmp_path: Path, space_of: Spaces, study_of: Studies, left: bytes
) -> None:
    space = space_of(**NARROW)
    study = study_of(space, trials=3)
    with (tmp_path / "study.log").open("ab") as journal:
        journal.write(left)
    assert quick(study, space).trials == 3
    assert [trial.state for trial in join(str(tmp_path / "study.log")).trials] == [TrialState.COMPLETE] * 3


def test_a_full_disk_under_the_journal_is_said_and_loses_nothing(
    space_of: Spaces, study_of: Studies, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = space_of(**NARROW)
    study = study_of(space, trials=3)
    filled = []

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def filling(candidate: Candidate, trial: optuna.Trial, folder: Path) -> Outcome:
        if trial.number == 1 and not filled:
            filled.append(trial.number)
            monkeypatch.setattr(os, "fsync", full)
        return stub(candidate, trial, folder)

    with pytest.raises(StudyError, match=r"study.log cannot be written: No space left on device. What stood in it"):
        quick(study, space, filling)
    monkeypatch.undo()
    again = join(study.url)
    quick(again, space, filling)
    states = [trial.state for trial in again.trials if not lost(trial)]
    assert states == [TrialState.COMPLETE] * 3


def test_passwords_are_not_shown() -> None:
    assert without_password("mysql://me:secret@host/eos") == "mysql://me:…@host/eos"


def test_a_study_of_a_later_version_is_refused(study_of: Studies, space_of: Spaces) -> None:
    study = study_of(space_of(**NARROW))
    with pytest.raises(StudyError, match="a later version"):
        read_record({RECORD: {**study.record.to_plain(), "format": 99}}, "tested")


def test_a_space_of_many_layers_fits_the_columns_of_mysql(study_of: Studies, space_of: Spaces, tmp_path: Path) -> None:
    study = study_of(space_of())
    one = dict(study.record.space)
    deep = {f"layer{layer}.{name}": kind for layer in range(48) for name, kind in one.items()}
    record = replace(study.record, space=deep)
    begun = begin(str(tmp_path / "deep.log"), "deep", record)
    assert max(len(json.dumps(value)) for value in begun.optuna.user_attrs.values()) < 65_535 / 2
    assert begun.record == record
    assert list(begun.record.space) == list(deep)


def test_an_unknown_study_shows_those_that_are_there(study_of: Studies, space_of: Spaces, tmp_path: Path) -> None:
    study_of(space_of(**NARROW))
    with pytest.raises(StudyError, match="holds no study 'other'; it holds tested"):
        join(str(tmp_path / "study.log"), "other")


@pytest.mark.parametrize("place", ["{}/missing.log", "sqlite:///{}/missing.db"])
def test_a_study_that_is_looked_for_is_not_made(place: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no such file"):
        join(place.format(tmp_path), "any")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_moved_finds_its_study(
    study_of: Studies, space_of: Spaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "here"
    study_of(space_of(**NARROW), url="runs/here/study.log")
    point(folder, "runs/here/study.log", "tested")
    moved = folder.rename(tmp_path / "there")
    monkeypatch.chdir(moved)
    found, place = located(str(moved), {})
    assert (found.name, place) == ("tested", moved)
