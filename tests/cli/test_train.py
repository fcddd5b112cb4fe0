"""eos train, eval and generate, as a person types them."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from eos.cli.generate import as_text
from eos.cli.main import main
from eos.tasks.text import TextTask
from eos.training.result import read_result

SMALL = "layers=1 width=16 length=16 rows=2 steps=4 device=cpu log_every=2 validate_every=2 sample=8".split()


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small lose time to a second thread; and to the last bit, sums depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The overrides of a tiny run on a text of its own."""
    draw, folder = random.Random(0), tmp_path_factory.mktemp("text")
    (folder / "text.txt").write_text(" ".join(draw.choice(["expand", "naïve", "shrink"]) for _ in range(1500)))
    return [*SMALL, f"task.source={folder / 'text.txt'}", f"task.cache={folder / 'cache'}"]


@pytest.fixture(scope="module")
def run(small: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    path = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", *small, f"run={path}"]) == 0
    return path


def start(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "eos.cli.main", "train", *arguments]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], env=one_thread)


def wait_for(path: Path, process: "subprocess.Popen[str]", *, lines: int = 0) -> None:
    until = time.monotonic() + 120
    while not path.exists() or path.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until, f"{path} did not appear"
        time.sleep(0.01)


def test_train_ends_with_result_folder_and_next_commands(
    small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a run"
    assert main(["train", *small, f"run={path}"]) == 0
    out, err = capsys.readouterr()
    bits = read_result(path / "result.json").metrics["test"]["bits_per_byte"]
    assert "test bits per byte" in out
    assert f"{bits:.4f}" in out
    assert f"eos generate '{path}'" in out
    assert "step 4/4  validation: bits/byte" in err
    assert json.loads((path / "run.json").read_text())["starts"][0]["command"][0] == "eos"


def test_run_without_a_name_is_named_after_what_it_is(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *small, "model=retnet", "seed=7"]) == 0
    assert main(["train", *small, "model=retnet", "seed=7"]) == 0
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert [name[11:] for name in names] == ["retnet-text-7", "retnet-text-7-2"]


def test_existing_run_is_refused_in_one_line(small: list[str], run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main(["train", *small, f"run={run}"]) == 2
    out, err = capsys.readouterr()
    assert err == f"eos: error: {run} exists already; add resume=true to go on with it, or choose another run=PATH\n"
    assert out == ""
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_resume_takes_the_overrides_of_the_run_and_no_others(
    small: list[str], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", f"run={run}", "resume=true"]) == 0
    assert main(["train", *small, f"run={run}", "resume=true"]) == 0
    assert "test bits per byte" in capsys.readouterr().out
    assert main(["train", *small, "layers=3", f"run={run}", "resume=true"]) == 2
    assert f"go on with its own: eos train run={run} resume=true" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resume=true"], "resume=true needs run=PATH"),
        (["run=nowhere", "resume=true"], "nowhere holds no run"),
        (["run=a", "run=b"], "run is given twice: a and b"),
        (["seeds=0"], "seeds must be how many"),
        (["seeds=[1,x]"], "seeds must be how many"),
        (["seeds=[1,1]"], "seeds must be distinct"),
        (["run=a", "resume=yes"], "resume must be true or false, got 'yes'"),
        (["steps=null"], "no budget: set training.steps, training.tokens or training.minutes"),
        (["rows=5", "accumulate=2"], "rows=5 do not divide into accumulate=2 equal parts"),
        (["task.source=/nowhere.txt"], "/nowhere.txt"),
        (["task.length=100000"], "too short"),
        (["model=lightnot"], "Did you mean 'lightnet'"),
    ],
)
def test_bad_input_is_one_line_and_makes_nothing(
    small: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    resumes = any(argument.startswith("resume") for argument in arguments)
    assert main(["train", *([] if resumes else small), *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("eos: error: ")
    assert said in err
    assert err.count("\n") == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_interrupted_run_says_how_to_go_on_and_does(
    small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run"
    process = start(*small, f"run={path}", "steps=300", "checkpoint_every=5", "validate_every=null")
    wait_for(path / "checkpoints" / "index.json", process)
    process.send_signal(signal.SIGINT)
    err = process.communicate()[1]
    assert process.returncode == 130, err
    stopped = read_result(path / "result.json")
    assert stopped.status == "stopped"
    assert f"Stopped and saved at step {stopped.steps}. To go on: eos train run={path} resume=true" in err
    assert "Traceback" not in err
    assert main(["train", f"run={path}", "resume=true"]) == 0
    assert read_result(path / "result.json").steps == 300
    assert main(["generate", str(path), "e", "--tokens", "3"]) == 0


def test_second_signal_ends_the_run_at_once(small: list[str], tmp_path: Path) -> None:
    path = tmp_path / "run"
    process = start(*small, f"run={path}", "rows=60000", "accumulate=300", "log_every=1", "steps=10000")
    wait_for(path / "metrics.csv", process, lines=2)
    time.sleep(0.3)  # what follows the row is done: the second step has begun, and takes seconds
    process.send_signal(signal.SIGINT)
    # another one, for two of a kind count once where they come within one operation of torch
    process.send_signal(signal.SIGTERM)
    err = process.communicate()[1]
    assert process.returncode == 128 + signal.SIGTERM, err
    assert f"Stopped at once. To go on from the last checkpoint: eos train run={path} resume=true" in err
    assert "Traceback" not in err
    assert not (path / "result.json").exists()


def test_seeds_make_a_group_with_mean_and_spread(
    small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "group"
    assert main(["train", *small, "seeds=2", f"run={path}"]) == 0
    spread = json.loads((path / "group.json").read_text())["metrics"]["test"]["bits_per_byte"]
    assert f"{spread['mean']:.4f} ± {spread['std']:.4f}" in capsys.readouterr().out
    assert sorted(each.name for each in path.iterdir() if each.is_dir()) == ["seed-1", "seed-2"]
    assert main(["train", f"run={path}", "resume=true"]) == 0
    capsys.readouterr()
    assert main(["eval", str(path)]) == 2
    assert f"is a group of runs; name one of them: {path}/seed-1, {path}/seed-2" in capsys.readouterr().err


def test_eval_repeats_the_result_and_takes_another_text(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = read_result(run / "result.json")
    for part in ("test", "validation"):
        assert main(["eval", str(run), f"part={part}"]) == 0
        assert f"{result.metrics[part]['bits_per_byte']:.4f}" in capsys.readouterr().out
    (tmp_path / "other.txt").write_text("nothing of the kind! " * 500)
    assert main(["eval", str(run), f"task.source={tmp_path / 'other.txt'}"]) == 0
    assert f"{result.metrics['test']['bits_per_byte']:.4f}" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["part=train"], "unknown part 'train'"),
        (["layers=2"], "as it was trained"),
        (["part=test", "part=test"], "twice"),
    ],
)
def test_eval_refuses_in_one_line(
    run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["eval", str(run), *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_generate_writes_on_from_the_prompt(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for seed in ("1", "1", "2"):
        assert main(["generate", str(run), "naïve ", "--tokens", "40", "--seed", seed]) == 0
        out, err = capsys.readouterr()
        assert out.startswith("naïve ")
        assert err.startswith("40 tokens, ")
        texts.append(out)
    assert texts[0] == texts[1] != texts[2]
    assert main(["generate", str(run), "--tokens", "5", "--temperature", "0"]) == 0


@pytest.mark.parametrize(("option", "value"), [("--tokens", "-1"), ("--top-p", "2"), ("--top-k", "0")])
def test_generate_refuses_settings_out_of_range(
    run: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    assert main(["generate", str(run), "a", option, value]) == 2
    assert "must be" in capsys.readouterr().err


def test_run_without_weights_says_what_to_do(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.yaml").write_text((run / "recipe.yaml").read_text())
    assert main(["generate", str(tmp_path), "a"]) == 2
    assert f"has no weights yet: finish it with eos train run={tmp_path} resume=true" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["plain", "naïve 日本語 😀 end", "\N{REPLACEMENT CHARACTER}a"])
def test_streamed_text_is_never_cut_inside_a_character(small: list[str], tmp_path: Path, text: str) -> None:
    (tmp_path / "text.txt").write_text("some text " * 100)
    task = TextTask(TextTask.Options(source=str(tmp_path / "text.txt"), cache=str(tmp_path), length=8))
    task.prepare(tmp_path)
    pieces = list(as_text(text.encode(), task))
    assert "".join(pieces) == text
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(pieces) or "\N{REPLACEMENT CHARACTER}" in text
    assert list(as_text(text.encode()[:-1] + b"\xf0", task))[-1].endswith("\N{REPLACEMENT CHARACTER}")
