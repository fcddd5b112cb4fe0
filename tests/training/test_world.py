"""Runs of several processes: the numbers of one, stopped and gone on with, and refused where they cannot be."""

import os
import signal
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
import torch

from eos.cli.main import main
from eos.cli.recipes import load_run_recipe
from eos.errors import RunError
from eos.parallel import SequenceGroup
from eos.tasks.task import AbstractTask
from eos.training import world as worlds
from eos.training.folder import RunFolder
from eos.training.log import read_metrics
from eos.training.result import read_result
from eos.training.run import Recipe, make_task, resume, train
from eos.training.world import ALONE, World
from tests.parallel.processes import together
from tests.training.torchrun import SMALL, begun, by_one, done, numbers, wait_for_a_checkpoint, workers_of


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (4, ["training.sequence_parts=2", "training.accumulate=2"]),
        pytest.param(2, [], marks=pytest.mark.slow),
        pytest.param(2, ["training.accumulate=4"], marks=pytest.mark.slow),
        pytest.param(4, ["training.sequence_parts=4"], marks=pytest.mark.slow),
        pytest.param(2, ["training.sequence_parts=2", "training.sequence_form=gather"], marks=pytest.mark.slow),
    ],
)
def test_several_processes_get_the_numbers_of_one(count: int, words: list[str], tmp_path: Path) -> None:
    by_one(*SMALL, run=tmp_path / "one")
    said = done(count, *SMALL, *words, "run=several", folder=tmp_path)
    assert f"one of {count} processes" in said
    assert said.count("test bits per byte") == 1  # the first alone speaks
    one, several = numbers(tmp_path / "one"), numbers(tmp_path / "several")
    assert one.keys() == several.keys()
    # float32, sums in another order, twelve steps of AdamW
    assert several == pytest.approx(one, rel=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("words", [["task=masked_text", "direction=both"], ["task=mqar_small"]])
def test_answers_are_graded_whole(words: list[str], tmp_path: Path) -> None:
    less = ("task.documents", "task.length") if "task=mqar_small" in words else ("task.documents",)
    kept = [word for word in SMALL if not word.startswith(less)]
    by_one(*kept, *words, run=tmp_path / "one")
    done(4, *kept, *words, "training.sequence_parts=2", "run=several", folder=tmp_path)
    one, several = numbers(tmp_path / "one"), numbers(tmp_path / "several")
    assert any("accuracy" in metric for _, metric in one)
    norms = {place for place in one if place[1] == "train/gradient_norm"}
    assert {place: several[place] for place in norms} == pytest.approx({place: one[place] for place in norms}, rel=1e-3)
    rest = one.keys() - norms
    assert {place: several[place] for place in rest} == pytest.approx({place: one[place] for place in rest}, rel=2e-4)


@pytest.mark.slow
def test_two_hosts_get_the_numbers_of_one(tmp_path: Path) -> None:
    by_one(*SMALL, run=tmp_path / "one")
    said = done(2, *SMALL, "training.sequence_parts=2", "run=several", folder=tmp_path, hosts=2)
    assert "one of 4 processes, 2 to a sequence" in said
    assert numbers(tmp_path / "several") == pytest.approx(numbers(tmp_path / "one"), rel=2e-4)


def test_a_signal_stops_all_and_the_run_goes_on(tmp_path: Path) -> None:
    words = [*SMALL, "training.steps=200", "training.validate_every=null", "training.checkpoint_every=5"]
    run = tmp_path / "run"
    with begun(2, *words, "run=run", folder=tmp_path) as process:
        wait_for_a_checkpoint(run, process)
        # as a scheduler does to every process; torchrun then hands it on once more
        for child in workers_of(process):
            os.kill(child, signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=120)
    assert "To go on: torchrun --nproc-per-node 2 --no-python eos train run=run resume=true" in said
    stopped = read_result(run / "result.json")
    assert stopped.status == "stopped"
    assert 0 < stopped.steps < 200
    assert resume(run).steps == 200
    steps = [row.step for row in read_metrics(run / "metrics.csv") if row.metric == "train/nats_per_token"]
    assert steps == sorted(set(steps))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_lost_process_ends_the_run_within_a_minute_and_the_run_goes_on(strategy: str, tmp_path: Path) -> None:
    words = [*SMALL, "training.steps=100", "training.validate_every=null", "training.checkpoint_every=5"]
    words.append(f"training.strategy={strategy}")
    done(2, *words, "run=undisturbed", folder=tmp_path)
    run = tmp_path / "run"
    with begun(2, *words, "run=run", folder=tmp_path) as process:
        wait_for_a_checkpoint(run, process)
        os.kill(workers_of(process)[-1], signal.SIGKILL)
        began = time.monotonic()
        said, _ = process.communicate(timeout=60)
        assert time.monotonic() - began < 60
    assert process.returncode != 0
    assert "another process of this run is gone" in said
    assert "To go on: torchrun --nproc-per-node 2 --no-python eos train run=run resume=true" in said
    assert "eos/training/" not in said  # no traceback but that of torchrun
    assert not RunFolder(run).result.exists() or read_result(run / "result.json").status != "finished"
    done(2, "run=run", "resume=true", folder=tmp_path)
    assert numbers(run) == pytest.approx(numbers(tmp_path / "undisturbed"), rel=1e-5)


#: Begun by every Python: from when on there is a file "full", the first process has no space left.
FULL = """
import errno, os
keep = os.fsync
def fsync(descriptor):
    if os.environ.get("RANK") == "0" and os.path.exists(os.environ["FULL"]):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    keep(descriptor)
os.fsync = fsync
"""


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_full_disk_ends_the_run_for_all_and_it_goes_on(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*SMALL, "training.steps=100", "training.validate_every=null", "training.checkpoint_every=5"]
    words.append(f"training.strategy={strategy}")
    done(2, *words, "run=undisturbed", folder=tmp_path)
    (tmp_path / "sitecustomize.py").write_text(FULL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("FULL", str(tmp_path / "full"))
    run = tmp_path / "run"
    with begun(2, *words, "run=run", folder=tmp_path) as process:
        wait_for_a_checkpoint(run, process)
        (tmp_path / "full").touch()
        said, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "the disk is full" in said
    (tmp_path / "full").unlink()
    done(2, "run=run", "resume=true", folder=tmp_path)
    assert numbers(run) == pytest.approx(numbers(tmp_path / "undisturbed"), rel=1e-5)


def changed(run: Path, old: str, new: str) -> None:
    """Let a run's recipe be another one, which has finished nothing."""
    folder = RunFolder(run)
    text = folder.recipe.read_text()
    assert text.count(old) == 1
    folder.recipe.write_text(text.replace(old, new))
    folder.result.unlink()


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    train(load_run_recipe(SMALL), tmp_path / "run")
    changed(tmp_path / "run", "width: 16", "width: 32")
    with pytest.raises(RunError, match=r"of another recipe .*model\.width was 16 and is 32.*: put recipe"):
        resume(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "old", "new", "said"),
    [
        ("ddp", "width: 16", "width: 32", "model.width was 16 and is 32"),
        ("fsdp", "width: 16", "width: 32", "is damaged, or of another model"),
        ("fsdp", "documents: true", "documents: false", "task.documents was True and is False"),
    ],
)
def test_so_it_is_by_several_processes_at_once(strategy: str, old: str, new: str, said: str, tmp_path: Path) -> None:
    done(2, *SMALL, f"training.strategy={strategy}", "run=run", folder=tmp_path)
    changed(tmp_path / "run", old, new)
    with begun(2, "run=run", "resume=true", folder=tmp_path) as process:
        told, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert said in told
    assert "eos/training/fit.py" not in told  # no traceback


@pytest.mark.slow
def test_rows_that_do_not_divide_are_refused_by_all(tmp_path: Path) -> None:
    with begun(2, *SMALL, "training.rows=7", "run=run", folder=tmp_path) as process:
        said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "training.rows=7 do not divide into 2 processes" in said
    assert not (tmp_path / "run").exists()


def prepared(folder: Path, *words: str) -> tuple[AbstractTask, Recipe]:
    recipe = load_run_recipe(words)
    task = make_task(recipe)
    task.prepare(folder)
    return task, recipe


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*SMALL, "training.sequence_parts=4"], ""),
        ([*SMALL, "task.length=30"], r"30 tokens does not divide into training\.sequence_parts=4"),
        ([*SMALL, "task.evaluation_length=34"], r"34 tokens do not divide into training\.sequence_parts=4"),
        (["task=mqar_small", "model=gla"], ""),
        ([*SMALL, "task.length=4", "task.evaluation_length=64"], "leaves parts of 1 tokens, .* looks back at 3"),
        ([*SMALL, "task.evaluation_length=8"], "leaves parts of 2 tokens, .* looks back at 3"),
        (["task=listops_small", "model=gla"], "not for a class or a translation"),
    ],
)
def test_what_has_no_equal_parts_is_refused(words: list[str], said: str, tmp_path: Path) -> None:
    task, recipe = prepared(tmp_path, *words)
    options = replace(recipe.training, sequence_parts=4)
    many = World(rank=0, size=4, parts=4, sequence=SequenceGroup())
    with pytest.raises(RunError, match=said) if said else nullcontext():
        many.refuse(task, recipe.model, options)


def test_rows_and_parts_without_processes_are_refused(tmp_path: Path) -> None:
    task, recipe = prepared(tmp_path, *SMALL)
    with pytest.raises(RunError, match=r"rows=8 do not divide into 3 processes"):
        World(rank=0, size=3).refuse(task, recipe.model, recipe.training)
    with pytest.raises(RunError, match="needs processes that torchrun begins"):
        ALONE.refuse(task, recipe.model, replace(recipe.training, sequence_parts=2))


def test_parts_are_of_rows_and_tokens(tmp_path: Path) -> None:
    task, _ = prepared(tmp_path, *SMALL)
    batch = task.train_batch(1, 0, 8)
    found = [World(rank=rank, size=4, parts=2, sequence=SequenceGroup()).part(batch) for rank in range(4)]
    rows = [torch.cat([found[2 * n].inputs, found[2 * n + 1].inputs], 1) for n in range(2)]
    assert torch.equal(torch.cat(rows), batch.inputs)
    assert batch.reset is not None
    assert found[1].reset is not None
    assert torch.equal(found[1].reset, batch.reset[:4, 16:])
    assert ALONE.part(batch) is batch


def test_seeds_and_other_commands_take_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    seeds = ["train", *SMALL, "seeds=2", "run=run"]
    assert main([*seeds, "training.sequence_parts=2"]) == 2
    assert main([*seeds, "training.strategy=fsdp"]) == 2
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(seeds) == 2
    assert main(["list", "stages"]) == 2
    said = capsys.readouterr().err
    assert said.count("several seeds are trained one after the other") == 3
    assert "eos list is one process" in said
    assert not list(tmp_path.iterdir())


def other_versions() -> str:
    """What a process is told where the last one has another torch."""
    rank = torch.distributed.get_rank()
    versions = {"torch": "2.0" if rank == 1 else "2.1", "numpy": "2.4"}
    worlds.versions = lambda: versions
    try:
        worlds._world(load_run_recipe(SMALL).training, 2, 2)
    except RunError as error:
        return str(error)
    return ""


def failing() -> str:
    """What a process is told where the first fails in what it leads."""
    world = World(rank=torch.distributed.get_rank(), size=2)

    def fail() -> None:
        raise RunError("no such data")

    try:
        world.lead(fail)
    except RunError as error:
        return str(error)
    return ""


def told() -> tuple[str, str]:
    """Both, by processes that are begun once."""
    return failing(), other_versions()


def test_all_are_told_of_other_versions_and_failures() -> None:
    versions = "process 1 has other versions than the first: torch 2.0 and not 2.1"
    assert together(2, told) == [("no such data", versions)] * 2


@pytest.mark.alone
def test_two_processes_train_faster_than_one(tmp_path: Path) -> None:
    words = (
        "model=gla layers=6 width=256 task.length=256 training.rows=16 training.steps=9 training.device=cpu "
        "training.log_every=1 training.evaluation_tokens=512 training.sample=0"
    ).split()
    for count, name in ((1, "one"), (2, "two")):
        done(count, *words, f"run={name}", folder=tmp_path)
    speeds = {}
    for name in ("one", "two"):
        rows = read_metrics(tmp_path / name / "metrics.csv")
        speeds[name] = median(row.value for row in rows if row.metric == "train/tokens_per_second" and row.step > 2)
    step = 16 * 256 / speeds["one"]
    print(f"\n{step:.2f} s a step alone; two processes {speeds['two'] / speeds['one']:.2f} times as fast")  # noqa: T201
    assert step >= 1, "too short a step to tell"
    assert speeds["two"] >= 1.6 * speeds["one"]
