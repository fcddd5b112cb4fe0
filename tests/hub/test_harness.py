"""lm-evaluation-harness asks our models: tasks of one's own, without a network, and what it refuses."""

import json
import math
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.functional import log_softmax

from eos.cli.main import main
from eos.errors import DataError, RecipeError, RunError
from eos.training.trained import load_for_decoding

pytest.importorskip("lm_eval", reason="the extra harness is not installed")

from eos.hub.harness import run_harness

TEXT = "the cat sat on the mat, and the dog sat on the cat; " * 60
QUESTIONS = [("the cat sat on", " the", " xyz", 0), ("and the dog sat", " ß#~!", " on", 1), ("", "the", "qqq", 0)]


def task(name: str, data: Path, kind: str, *lines: str) -> str:
    head = [f"task: {name}", "dataset_path: json", f"dataset_kwargs: {{data_files: {{test: {data}}}}}"]
    return "\n".join([*head, "test_split: test", f"output_type: {kind}", *lines, "metadata: {version: 1}"]) + "\n"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of task files, with data in a file."""
    folder = tmp_path_factory.mktemp("own")
    data = folder / "questions.json"
    rows = [{"question": q, "choices": [a, b], "answer": right} for q, a, b, right in QUESTIONS]
    data.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    choice = [
        'doc_to_text: "{{question}}"',
        'doc_to_choice: "{{choices}}"',
        'doc_to_target: "{{answer}}"',
        "metric_list: [{metric: acc}]",
    ]
    whole = ['doc_to_text: ""', 'doc_to_target: "the cat sat{{question}}"', "metric_list: [{metric: bits_per_byte}]"]
    written = [
        'doc_to_text: "the cat"',
        'doc_to_target: ""',
        'generation_kwargs: {until: ["t"], max_gen_toks: 5}',
        "metric_list: [{metric: exact_match}]",
    ]
    (folder / "mine.yaml").write_text(task("mine", data, "multiple_choice", *choice))
    (folder / "rolling.yaml").write_text(task("rolling", data, "loglikelihood_rolling", *whole))
    (folder / "written.yaml").write_text(task("written", data, "generate_until", *written))
    (folder / "gone.yaml").write_text(task("gone", folder / "nowhere.json", "multiple_choice", *choice))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    small = ["model=gla", "layers=1", "width=32", "heads=2", "task.length=16", f"task.source={folder / 'text.txt'}"]
    steps = ["steps=30", "rows=8", "learning_rate=2e-2", "device=cpu", f"task.cache={folder / 'cache'}"]
    assert main(["train", f"run={folder / 'run'}", *small, *steps]) == 0
    return folder / "run"


@pytest.fixture(autouse=True)
def _data_stays_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def by_hand(run: Path, text: str, *, after: int = 0) -> float:
    """log p of a text in nats, of all its bytes from ``after`` on; the end-of-text token stands before it."""
    trained = load_for_decoding(run, device="cpu")
    ids = torch.tensor([[256, *text.encode()]])
    with torch.no_grad():
        each = log_softmax(trained.model(ids[:, :-1]), -1).gather(2, ids[:, 1:, None])
    return float(each[0, after:].sum())


def test_a_task_of_ones_own_is_scored_as_by_hand(
    run: Path, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores.json"
    command = ["harness", str(run), "--include", str(own), "--device", "cpu", "--rows", "2", "--out", str(out)]
    assert main([*command, "--tasks", "mine,rolling,written"]) == 0
    scores = {(score["task"], score["metric"]): score for score in json.loads(out.read_text())}
    texts = [f"the cat sat{question}" for question, *_ in QUESTIONS]
    nats = -sum(by_hand(run, text) for text in texts)
    bits = nats / math.log(2) / sum(len(text.encode()) for text in texts)
    assert scores["rolling", "bits_per_byte"]["value"] == pytest.approx(bits, rel=1e-4)
    # Most likely letters of the language it was trained on, in all three questions.
    assert scores["mine", "acc"]["value"] == 1.0
    assert scores["mine", "acc"]["error"] is not None
    assert ("written", "exact_match") in scores
    assert "mine acc  " in capsys.readouterr().out


def test_continuations_answers_and_their_ends(run: Path) -> None:
    from eos.hub import harness

    model, tokenizer = harness._loaded(run)
    asked = harness._Asked(model.eval(), tokenizer, rows=2, length=64)
    pairs = [("the cat", " sat"), ("the", " dog sat"), ("", "on")]
    requests = [(pair, asked.tok_encode(pair[0]) or [256], asked.tok_encode(pair[1])) for pair in pairs]
    for (context, continuation), (nats, _) in zip(pairs, asked._loglikelihood_tokens(requests), strict=True):
        ids = torch.tensor([[*(context.encode() or [256]), *continuation.encode()]])
        with torch.no_grad():
            each = log_softmax(model(ids[:, :-1]), -1).gather(2, ids[:, 1:, None])
        assert nats == pytest.approx(float(each[0, -len(continuation) :].sum()), rel=1e-4)
    whole = asked._answer("the cat", {"max_gen_toks": 8})
    assert len(whole.encode("utf-8", "replace")) >= 1
    last = whole[-1]
    assert asked._answer("the cat", {"max_gen_toks": 8, "until": [last]}) == whole[: whole.index(last)]


def test_an_exported_model_scores_as_its_run(run: Path, own: Path, tmp_path: Path) -> None:
    assert main(["export", str(run), str(tmp_path / "model")]) == 0
    (left,), (right,) = (
        run_harness(source, ["rolling"], include=own, device="cpu") for source in (run, tmp_path / "model")
    )
    assert left.value == pytest.approx(right.value, rel=1e-6)
    (tmp_path / "model" / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"without tokenizer\.json"):
        run_harness(tmp_path / "model", ["rolling"], include=own)


@pytest.mark.slow
def test_an_unknown_task_is_refused(run: Path, own: Path) -> None:
    """Of the harness's thousands the nearest are named."""
    with pytest.raises(RecipeError, match=r"unknown task 'minee'\. Did you mean .*'mine'.* --include"):
        run_harness(run, ["minee"], include=own)


def test_what_cannot_be_asked_is_refused_in_one_line(run: Path, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RecipeError, match="at least one task"):
        run_harness(run, [])
    with pytest.raises(DataError, match=r"no folder .*nowhere with task files"):
        run_harness(run, ["mine"], include=own / "nowhere")
    with pytest.raises(RunError, match=r"no folder .*; name a run on text"):
        run_harness(run / "nowhere", ["mine"], include=own)
    with pytest.raises(DataError, match="tokens; raise --length, now 2"):
        run_harness(run, ["mine"], include=own, length=2)
    capsys.readouterr()
    assert main(["harness", str(run), "--tasks", "gone", "--include", str(own)]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("eos: error: the harness cannot ask gone: ")
    assert "needs the network" in told


@pytest.mark.slow
def test_a_task_that_must_be_fetched_fails_in_one_line_without_a_network(
    run: Path, own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    datasets = pytest.importorskip("datasets")

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the Hub\nand more lines")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    assert main(["harness", str(run), "--tasks", "arc_easy", "--include", str(own)]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("eos: error: the harness cannot ask arc_easy: Couldn't reach the Hub (ConnectionError)")


def test_without_the_extra_it_says_what_to_install(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.delitem(sys.modules, "eos.hub.harness")
    assert main(["harness", str(run), "--tasks", "mine"]) == 2
    assert "pip install -c constraints.txt '.[harness]'" in capsys.readouterr().err
