"""The text task: pure batches, no leakage between parts, every byte scored once, and figures that compare."""

import json
import math
import multiprocessing
import pickle
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eos.errors import DataError, RecipeError
from eos.tasks.corpus.parts import cut, survey
from eos.tasks.corpus.source import Source
from eos.tasks.corpus.tokenizer import ByteTokenizer
from eos.tasks.task import IGNORED, Batch, Counts
from eos.tasks.text import TextTask

Make = Callable[..., TextTask]
SHAKESPEARE = Path(__file__).parents[3] / "shared" / "data" / "tinyshakespeare.txt"
WORDS = "the memory of a model decays, naïve as it is;\n\nand 日本語 too\t\tis  text. ".split(" ")


def prose(words: int, seed: int = 0) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, words))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a text task ready on a text, or on several documents."""

    def make(text: str | list[str] = "", *, run: str = "run", **chosen: object) -> TextTask:
        place = tmp_path / "texts"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for number, document in enumerate([text] if isinstance(text, str) else text):
            (place / f"{number:04}.txt").write_bytes(document.encode())
        chosen = {"source": str(place), "cache": str(tmp_path / "cache"), "length": 16, **chosen}
        task = TextTask(TextTask.Options(**chosen))
        task.prepare(tmp_path / run)
        return task

    return make


def same(a: Batch, b: Batch) -> bool:
    resets = (a.reset is None) == (b.reset is None) and (a.reset is None or torch.equal(a.reset, b.reset))
    return torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets) and resets


def scored(task: TextTask, split: str, rows: int = 3) -> list[int]:
    """Every target that an evaluation asks for, in order."""
    targets = [batch.targets for batch in task.evaluation_batches(split, rows)]
    return [token for each in targets for token in each[each != IGNORED].tolist()]


def total(task: TextTask, split: str, rows: int = 3) -> Counts:
    return sum((task.count(batch) for batch in task.evaluation_batches(split, rows)), Counts())


def batch_elsewhere(pickled: bytes, seed: int, step: int) -> Batch:
    return pickle.loads(pickled).train_batch(seed, step, 4)


def test_a_batch_depends_on_seed_and_step_alone(make: Make) -> None:
    text = [prose(400), prose(300, seed=1)]
    task, again = make(text), make(text)
    batches = {(seed, step): task.train_batch(seed, step, 4) for seed in (0, 1, 2**63) for step in (0, 1, 10**12)}
    for (seed, step), batch in reversed(batches.items()):
        assert same(batch, again.train_batch(seed, step, 4))
    assert len({batch.inputs.numpy().tobytes() for batch in batches.values()}) == len(batches)


@pytest.mark.parametrize("tokens", ["bytes", "bpe"])
def test_a_batch_is_the_same_in_another_process(make: Make, tokens: str) -> None:
    task = make(prose(400), tokens=tokens, vocabulary=300)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        elsewhere = pool.apply(batch_elsewhere, (pickle.dumps(task), 5, 7))
    assert same(elsewhere, task.train_batch(5, 7, 4))


def test_targets_follow_inputs(make: Make) -> None:
    batch = make(prose(400)).train_batch(0, 0, 4)
    assert batch.inputs.shape == batch.targets.shape == (4, 16)
    assert batch.inputs.dtype == batch.targets.dtype == torch.int64
    torch.testing.assert_close(batch.inputs[:, 1:], batch.targets[:, :-1])


def test_training_windows_reach_both_ends_of_their_part_and_no_further(make: Make) -> None:
    task = make("a" + "b" * 83 + "c" + "x" * 5 + "y" * 10, length=4)
    seen = torch.cat([task.train_batch(0, step, 64).targets for step in range(8)]).unique()
    assert task.decode(seen.tolist()) == "abc"


@pytest.mark.parametrize("tokens", ["bytes", "bpe"])
def test_parts_do_not_leak_into_each_other(make: Make, tokens: str) -> None:
    text = "a b " * 2125 + "c d " * 125 + "e f " * 250
    task = make(text, tokens=tokens, vocabulary=260)
    trained = torch.cat([task.train_batch(0, step, 16).targets for step in range(20)]).unique().tolist()
    assert set(task.decode(trained)) == set("a b ")
    assert task.decode(scored(task, "validation")) == "c d " * 125
    assert task.decode(scored(task, "test")) == "e f " * 250


def test_byte_pairs_are_learned_on_the_training_part_alone(make: Make) -> None:
    task = make("abab " * 1700 + "cdcd " * 300, tokens="bpe", vocabulary=300)
    assert " abab" in [task.decode([i]) for i in range(task.vocabulary)]
    assert "cd" not in [task.decode([i]) for i in range(task.vocabulary)]


@pytest.mark.parametrize(("length", "context"), [(1, 0), (7, 0), (16, 5), (16, 15), (64, 32)])
@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("tokens", ["bytes", "bpe"])
def test_every_byte_is_scored_once(make: Make, length: int, context: int, rows: int, tokens: str) -> None:
    text = prose(1100)
    task = make(text, length=length, context=context, tokens=tokens, vocabulary=300)
    encoded = text.encode()
    ends = [round(0.85 * len(encoded)), round(0.90 * len(encoded)), len(encoded)]
    for split, low, high in (("validation", *ends[:2]), ("test", *ends[1:])):
        found = task.decode(scored(task, split, rows)).encode()
        assert found in encoded
        assert abs(len(found) - (high - low)) <= 4
        assert total(task, split, rows) == total(task, split, 2)
    assert encoded.endswith(found)
    assert total(task, "test", rows).bytes == len(found)


@pytest.mark.parametrize("evaluated", [3, 16, 40, 10_000])
def test_evaluation_rows_may_have_a_length_of_their_own(make: Make, evaluated: int) -> None:
    task = make(prose(1100), length=16, evaluation_length=evaluated)
    plain = make(prose(1100), length=16)
    assert task.train_batch(1, 2, 3).inputs.shape == (3, 16)
    longest = max(batch.inputs.shape[1] for batch in task.evaluation_batches("test", 4))
    assert longest == min(evaluated, total(plain, "test", 4).targets)
    assert total(task, "test", 4) == total(plain, "test", 4)


def test_context_is_what_came_before(make: Make) -> None:
    task = make(prose(1100), length=16, context=5)
    first, *rest = [
        row for batch in task.evaluation_batches("test", 4) for row in zip(batch.inputs, batch.targets, strict=True)
    ]
    assert (first[1] != IGNORED).all()
    for inputs, targets in rest[:-1]:
        assert (targets[:5] == IGNORED).all()
        assert (targets[5:] != IGNORED).all()
        torch.testing.assert_close(inputs[6:], targets[5:-1])
    assert (rest[-1][1] != IGNORED).sum() <= 11


@pytest.mark.parametrize("tokens", ["bytes", "bpe"])
@given(texts=st.lists(st.text(st.sampled_from("ab é\n\t日\u00a0"), min_size=1), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_bytes_and_words_are_those_of_the_text(tokens: str, texts: list[str]) -> None:
    documents = [text.encode() for text in texts * 40]
    source = Source(description="a source", read=lambda: iter(documents))
    expected = [data for part, data in cut(source, survey(source), documents=True) if part == "test"]
    with tempfile.TemporaryDirectory() as folder:
        for number, document in enumerate(documents):
            (Path(folder) / f"{number:04}.txt").write_bytes(document)
        options = TextTask.Options(
            source=f"{folder}/*.txt", cache=f"{folder}/cache", length=2, tokens=tokens, vocabulary=270, context=1
        )
        task = TextTask(options)
        try:
            task.prepare(Path(folder) / "run")
        except DataError as error:
            assume("too short" not in str(error))
            raise
        counts = total(task, "test", 500)
        assert task.decode(scored(task, "test", 500)).encode() == b"".join(expected)
    assert (counts.bytes, counts.words) == (len(b"".join(expected)), sum(len(data.split()) for data in expected))


def test_bytes_and_pairs_give_one_figure_for_one_probability(make: Make) -> None:
    text = prose(3000)
    results = []
    for tokens in ("bytes", "bpe"):
        task = make(text, run=tokens, tokens=tokens, vocabulary=320)
        counts = total(task, "test")
        results.append((counts, task.metrics(1234.5, counts)))
    (by_byte, of_bytes), (by_pair, of_pairs) = results
    assert by_pair.targets < 0.7 * by_byte.targets
    assert (by_pair.bytes, by_pair.words) == (by_byte.bytes, by_byte.words)
    assert of_pairs["bits_per_byte"] == of_bytes["bits_per_byte"] == 1234.5 / math.log(2) / by_byte.bytes
    assert of_pairs["perplexity_per_word"] == of_bytes["perplexity_per_word"]


def test_metrics_by_hand(make: Make) -> None:
    metrics = make(prose(400)).metrics(8 * math.log(2), Counts(targets=4, bytes=16, words=2))
    assert metrics == pytest.approx(
        {
            "bits_per_byte": 0.5,
            "nats_per_token": 2 * math.log(2),
            "perplexity_per_token": 4.0,
            "perplexity_per_word": 16.0,
        }
    )


def test_a_diverged_model_has_infinite_perplexity(make: Make) -> None:
    metrics = make(prose(400)).metrics(1e6, Counts(targets=4, bytes=16, words=2))
    assert metrics["perplexity_per_token"] == metrics["perplexity_per_word"] == math.inf
    assert math.isnan(make(prose(400)).metrics(0.0, Counts())["bits_per_byte"])


def test_a_new_document_begins_with_the_end_of_text_token_and_a_reset(make: Make) -> None:
    texts = [prose(40, seed) for seed in range(40)]
    task = make(texts, length=64)
    batch = next(iter(task.evaluation_batches("test", 1)))
    assert batch.reset is not None
    torch.testing.assert_close(batch.reset, batch.inputs == task.vocabulary - 1)
    assert batch.reset[0, 0]
    after = task.decode(batch.targets[0, :10].tolist())
    assert any(text.startswith(after) for text in texts)
    marks = sum(batch.reset.sum().item() for batch in task.evaluation_batches("test", 1))
    assert marks == 4  # of 40 documents of like size, the last 10 %
    assert total(task, "test").targets == total(task, "test").bytes + marks - 1


def test_documents_can_be_one_long_text(make: Make) -> None:
    texts = [prose(40, seed) for seed in range(40)]
    task = make(texts, documents=False)
    assert task.train_batch(0, 0, 2).reset is None
    assert "".join(texts).endswith(task.decode(scored(task, "test")))
    assert total(task, "test").targets == total(task, "test").bytes


@pytest.mark.parametrize("text", ["日本" * 2000, "日本\n" * 1500])
def test_a_long_document_in_blocks_is_one_document(make: Make, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    blocks: list[bytes] = []
    encode = ByteTokenizer.encode
    monkeypatch.setattr("eos.tasks.corpus.corpus._BLOCK", 100)
    monkeypatch.setattr(ByteTokenizer, "encode", lambda self, data: [blocks.append(data), encode(self, data)][1])
    task = make(text)
    assert len(blocks) > 100
    assert "".join(block.decode() for block in blocks) == text  # none ends inside a character
    assert text.endswith(task.decode(scored(task, "test")))
    assert total(task, "test").targets == total(task, "test").bytes


def test_a_single_document_asks_for_no_reset(make: Make) -> None:
    assert make(prose(400)).train_batch(0, 0, 2).reset is None


def test_a_prompt_comes_back(make: Make) -> None:
    for name, text in {"one": prose(400), "many": [prose(400), prose(400, 1)]}.items():
        for tokens in ("bytes", "bpe"):
            task = make(text, run=f"{name} {tokens}", tokens=tokens, vocabulary=300)
            assert task.decode(task.encode("naïve 日本 text")) == "naïve 日本 text"
            assert task.encode("") == [task.vocabulary - 1]
            assert (task.encode("a")[0] == task.vocabulary - 1) == (name == "many")


@pytest.mark.parametrize("tokens", ["bytes", "bpe"])
def test_a_run_folder_alone_restores_the_tokenizer(make: Make, tmp_path: Path, tokens: str) -> None:
    task = make([prose(400), prose(400, 1)], tokens=tokens, vocabulary=300)
    shutil.rmtree(tmp_path / "cache")
    shutil.rmtree(tmp_path / "texts")
    restored = TextTask(task.options)
    restored.restore(tmp_path / "run")
    assert restored.encode("the model") == task.encode("the model")
    assert (restored.vocabulary, restored.summary) == (task.vocabulary, task.summary)


@pytest.mark.parametrize("tokens", ["bytes", "bpe"])
def test_another_text_is_read_in_the_tokens_of_the_run(make: Make, tmp_path: Path, tokens: str) -> None:
    run = make(prose(400), tokens=tokens, vocabulary=300)
    files = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    other = make(prose(900, 1).upper(), run="other", tokens=tokens, vocabulary=300)
    with pytest.raises(DataError, match="made from a text of sha256"):
        other.prepare(tmp_path / "run")
    other.prepare_other(tmp_path / "run")
    assert other.encode("THE MODEL") == run.encode("THE MODEL")
    batch = next(other.evaluation_batches("test", 1))
    assert other.decode(batch.targets[0].tolist()) in prose(900, 1).upper()
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == files
    with pytest.raises(DataError, match=r"name the folder of a run on text"):
        other.prepare_other(tmp_path / "texts")


def test_a_run_keeps_its_tokenizer_when_the_cache_is_gone(make: Make, tmp_path: Path) -> None:
    text = prose(900)
    batch = make(text, tokens="bpe", vocabulary=300).train_batch(0, 0, 4)
    shutil.rmtree(tmp_path / "cache")
    saved = tmp_path / "run" / "tokenizer.json"
    stamp = saved.stat().st_mtime_ns
    assert same(make(text, tokens="bpe", vocabulary=300).train_batch(0, 0, 4), batch)
    assert saved.stat().st_mtime_ns == stamp
    assert not (tmp_path / "cache" / "tokenizers").exists()


def test_a_run_refuses_another_text(make: Make) -> None:
    make(prose(400))
    with pytest.raises(DataError, match=r"made from a text of sha256 [0-9a-f]{12}…, .* start a new run"):
        make(prose(400, seed=1))


def test_a_damaged_run_folder_is_refused(make: Make, tmp_path: Path) -> None:
    task = make(prose(400))
    (tmp_path / "run" / "text.json").write_text("{}")
    with pytest.raises(DataError, match=r"text\.json is damaged"):
        task.restore(tmp_path / "run")
    with pytest.raises(DataError, match=r"holds no text\.json"):
        task.restore(tmp_path)


def test_tokens_are_made_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    text = prose(400)
    batch = make(text, run="first").train_batch(0, 0, 4)
    with monkeypatch.context() as patch:
        patch.setattr(ByteTokenizer, "encode", lambda self, data: pytest.fail("tokenised again"))
        assert same(make(text, run="second").train_batch(0, 0, 4), batch)
    assert not same(make(text + " more", run="third").train_batch(0, 0, 4), batch)


def prepare_and_take(options: str, folder: str) -> Batch:
    task = TextTask(TextTask.Options(**json.loads(options)))
    task.prepare(Path(folder))
    return task.train_batch(0, 0, 4)


def test_processes_that_prepare_at_once_agree(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(prose(20_000))
    options = json.dumps(
        {"source": str(tmp_path / "text.txt"), "cache": str(tmp_path / "cache"), "tokens": "bpe", "vocabulary": 300}
    )
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        batches = pool.starmap(prepare_and_take, [(options, str(tmp_path / "run"))] * 3, chunksize=1)
    assert all(same(batch, batches[0]) for batch in batches)
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("characters", [1, 40, 160])
def test_a_text_too_short_for_a_row_of_each_part_is_refused(make: Make, characters: int) -> None:
    with pytest.raises(DataError, match=r"too short: the .* part of .* one row of task.length = 16 needs 17; name a"):
        make("x" * characters)
    make(prose(400))  # and the run's folder is as it was


def test_a_row_that_is_all_context_is_refused(make: Make) -> None:
    with pytest.raises(RecipeError, match=r"task\.context = 16 leaves nothing .* choose one from 0 to 15"):
        make("x", context=16)


def test_a_task_that_was_not_prepared_says_so() -> None:
    with pytest.raises(DataError, match="call prepare"):
        TextTask(TextTask.Options()).train_batch(0, 0, 1)


def test_the_embedded_text_needs_no_source(tmp_path: Path) -> None:
    task = TextTask(TextTask.Options(cache=str(tmp_path / "cache")))
    task.prepare(tmp_path / "run")
    assert "standard library of Python 3." in task.summary
    assert f"sha256 {json.loads((tmp_path / 'run' / 'text.json').read_text())['digest']}" in task.summary
    assert total(task, "test", 64).bytes > 500_000


@pytest.mark.skipif(not SHAKESPEARE.exists(), reason=f"{SHAKESPEARE} is not here")
def test_shakespeare_is_scored_on_its_last_tenth(tmp_path: Path) -> None:
    task = TextTask(TextTask.Options(source=str(SHAKESPEARE), cache=str(tmp_path / "cache"), length=256))
    task.prepare(tmp_path / "run")
    counts = total(task, "test", 64)
    assert counts.bytes == counts.targets == pytest.approx(111_540, abs=1)
    assert counts.words == len(SHAKESPEARE.read_bytes()[-counts.bytes :].split())
