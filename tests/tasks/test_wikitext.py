"""WikiText's protocol: its own parts, words and line ends counted as published, and what is missing or broken."""

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from eos.errors import DataError, RecipeError
from eos.tasks.corpus.corpus import make_corpus
from eos.tasks.corpus.parts import between_words, cut, survey
from eos.tasks.corpus.source import Source, open_source
from eos.tasks.corpus.tokenizer import END_OF_TEXT, UNKNOWN, WordTokenizer, from_json
from eos.tasks.task import IGNORED, Counts, Split
from eos.tasks.text import TextTask

WIKITEXT = Path(__file__).parents[3] / "shared" / "data"
PARTS = {
    "train": " \n = Robert <unk> = \n \n Robert <unk> is an English actor . He is an actor . \n" * 9,
    "valid": " \n = An actor = \n \n He is English . \n" * 8,
    "test": " \n = Robert = \n \n Robert is unheard , naïve . \n" * 8,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The three files as they are published."""
    place = tmp_path / "wiki"
    place.mkdir()
    for part, text in PARTS.items():
        (place / f"wiki.{part}.tokens").write_text(text, encoding="utf-8")
    return place


def made(folder: Path | str, tmp_path: Path, *, run: str = "run", **chosen: object) -> TextTask:
    options = {"parts": "given", "tokens": "words", "documents": False, "lines": True, "length": 8, **chosen}
    task = TextTask(TextTask.Options(source=str(folder), cache=str(tmp_path / "cache"), **options))
    task.prepare(tmp_path / run)
    return task


def scored(task: TextTask, split: Split) -> list[int]:
    targets = [batch.targets for batch in task.evaluation_batches(split, 3)]
    return [token for each in targets for token in each[each != IGNORED].tolist()]


def total(task: TextTask, split: Split) -> Counts:
    return sum((task.count(batch) for batch in task.evaluation_batches(split, 3)), Counts())


def words_of(text: str) -> list[str]:
    return [word for line in text.split("\n")[:-1] for word in [*line.split(), "\n"]]


@pytest.mark.skipif(
    not (WIKITEXT / "wikitext2.train.txt.gz").exists(), reason=f"{WIKITEXT} does not hold the files of WikiText-2"
)
def test_wikitext_2_has_the_published_counts(tmp_path: Path) -> None:
    """arXiv:1609.07843, table 1: 2,088,628, 217,646 and 245,569 tokens, 33,278 words."""
    task = made(f"{WIKITEXT}/wikitext2.*.txt.gz", tmp_path, length=1000)
    assert task.vocabulary == 33_278
    assert "tokens: 2,088,629 train, 217,647 validation, 245,570 test" in task.summary  # with one that leads each
    for split, tokens in (("validation", 217_646), ("test", 245_569)):
        counts = total(task, split)
        assert counts.targets == counts.words == tokens
        assert task.metrics(tokens * math.log(100), counts)["perplexity_per_word"] == pytest.approx(100)
    standard = task.standard
    assert (standard.metric, standard.higher) == ("perplexity_per_word", False)
    assert standard.chance == pytest.approx(33_278)
    assert 288 < standard.floor < 1000  # more than the n-gram's


@pytest.mark.parametrize("split", ["validation", "test"])
def test_every_word_and_line_end_of_a_part_is_asked_once(folder: Path, tmp_path: Path, split: Split) -> None:
    task = made(folder, tmp_path)
    text = PARTS["valid" if split == "validation" else split]
    known = set(words_of(PARTS["train"]))
    expected = [word if word in known else UNKNOWN for word in words_of(text)]
    assert task.decode(scored(task, split)).split(" ")[1:] == expected
    assert total(task, split).words == total(task, split).targets == len(expected)
    assert task.train_batch(0, 0, 2).reset is None


def test_the_vocabulary_is_of_the_training_part_alone(folder: Path, tmp_path: Path) -> None:
    task = made(folder, tmp_path)
    assert task.vocabulary == len(set(words_of(PARTS["train"])))
    for word in ("unheard", "naïve"):
        assert task.decode(task.encode(word)) == f" {UNKNOWN}"
    assert task.decode(task.encode("Robert is\nhere")) == f" Robert is \n {UNKNOWN}"
    assert task.encode("") == [task.vocabulary - 1]


def test_words_give_no_bits_per_byte_and_are_the_metric(folder: Path, tmp_path: Path) -> None:
    task = made(folder, tmp_path)
    counts = total(task, "test")
    found = task.metrics(counts.targets * math.log(task.vocabulary), counts)
    assert set(found) == {"nats_per_token", "perplexity_per_token", "perplexity_per_word"}
    assert found["perplexity_per_word"] == pytest.approx(task.standard.chance)
    assert task.standard.floor < task.standard.chance


def test_line_ends_count_as_words_of_byte_pairs_too(folder: Path, tmp_path: Path) -> None:
    words = total(made(folder, tmp_path), "test")
    for tokens in ("bytes", "bpe"):
        task = made(folder, tmp_path, run=tokens, tokens=tokens, vocabulary=300)
        assert total(task, "test").words == words.words
        plain = made(folder, tmp_path, run=tokens, tokens=tokens, vocabulary=300, lines=False)
        assert total(plain, "test").words == words.words - PARTS["test"].count("\n")
        assert total(task, "test").bytes == len(PARTS["test"].encode())
        assert "bits_per_byte" in task.metrics(1.0, total(task, "test"))


def test_given_parts_are_read_whole_and_tell_texts_apart(folder: Path, tmp_path: Path) -> None:
    source = open_source(str(folder), subset=None, split="train", column="text", given=True)
    found = survey(source)
    pieces = {part: data.decode() for part, data in cut(source, found, documents=False)}
    assert pieces == {"train": PARTS["train"], "validation": PARTS["valid"], "test": PARTS["test"]}
    (folder / "wiki.valid.tokens").rename(folder / "x")
    (folder / "wiki.test.tokens").rename(folder / "wiki.valid.tokens")
    (folder / "x").rename(folder / "wiki.test.tokens")
    assert survey(source).digest != found.digest
    made(folder, tmp_path)
    (folder / "wiki.test.tokens").write_text(PARTS["test"] + " more \n")
    with pytest.raises(DataError, match="was made from a text of sha256"):
        made(folder, tmp_path)


def test_files_of_other_names_are_left_out_and_packed_ones_read(folder: Path) -> None:
    (folder / "README.md").write_text("nothing")
    for name in ("wiki.valid.tokens", "wiki.test.tokens"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    source = open_source(str(folder), subset=None, split="train", column="text", given=True)
    assert {part for part, _ in source.documents()} == {"train", "validation", "test"}
    assert b"nothing" not in list(source.read())


def break_test_part(folder: Path, data: bytes) -> None:
    (folder / "wiki.test.tokens").write_bytes(data)


BROKEN = {
    "missing": (
        lambda folder: (folder / "wiki.valid.tokens").unlink(),
        r"no file of the validation part: .* there are wiki\.test\.tokens, wiki\.train\.tokens; add",
    ),
    "empty": (lambda folder: break_test_part(folder, b""), r"the test part of .* is empty; every part needs a text"),
    "short": (lambda folder: break_test_part(folder, b"one \n"), r"the test part of .* has 3 tokens, and one row"),
    "bytes": (
        lambda folder: break_test_part(folder, "naïve\n".encode() * 50 + "naïve\n".encode("latin-1")),
        r"wiki\.test\.tokens, line 51: byte 0xef is not UTF-8, and task\.tokens=words reads characters; convert",
    ),
    "two": (
        lambda folder: (folder / "train-test.txt").write_text("x"),
        r"train-test\.txt names two parts, train and test; rename it",
    ),
    "packed": (
        lambda folder: (folder / "wiki.test.tokens").rename(folder / "test.gz"),
        r"cannot read .*test\.gz",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_part_that_is_missing_or_broken_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    damage, said = BROKEN[name]
    damage(folder)
    with pytest.raises(DataError, match=said):
        made(folder, tmp_path)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"tokens": "words", "documents": True}, r"task\.tokens=words reads .* set task\.documents=false"),
        ({"parts": "given", "source": None}, r"task\.parts=given needs a text in three parts"),
    ],
)
def test_options_that_exclude_each_other_are_refused(chosen: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        TextTask(TextTask.Options(**chosen))


def rows_of(place: Path, splits: dict[str, list[str]]) -> str:
    place.mkdir()
    for split, rows in splits.items():
        (place / f"{split}.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    return f"hf:{place}"


@pytest.fixture
def _datasets_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    datasets.disable_progress_bars()


@pytest.mark.usefixtures("_datasets_here")
def test_rows_of_a_dataset_are_lines_and_its_splits_the_parts(folder: Path, tmp_path: Path) -> None:
    """As the hub has WikiText: a row is a line with its end, and an empty line an empty row."""
    names = {"train": "train", "valid": "validation", "test": "test"}
    lines = {part: text.split("\n")[:-1] for part, text in PARTS.items()}
    splits = {names[part]: [f"{line}\n" if line.strip() else "" for line in each] for part, each in lines.items()}
    theirs = made(rows_of(tmp_path / "rows", splits), tmp_path, run="theirs")
    ours = made(folder, tmp_path, run="ours")
    assert scored(theirs, "test") == scored(ours, "test")
    assert torch.equal(theirs.train_batch(1, 2, 3).inputs, ours.train_batch(1, 2, 3).inputs)


@pytest.mark.usefixtures("_datasets_here")
def test_a_dataset_without_a_split_is_refused(tmp_path: Path) -> None:
    source = rows_of(tmp_path / "rows", {"train": ["a"], "test": ["b"]})
    with pytest.raises(DataError, match=r"cannot load the dataset .* task\.split=validation\)"):
        made(source, tmp_path)


def test_a_dataset_that_cannot_be_fetched_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the Hub\nand more")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(DataError, match=r"^cannot load the dataset 'a/b' \(.*\): Couldn't reach the Hub[^\n]*$"):
        made("hf:a/b", tmp_path)


def test_a_word_is_never_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by blocks nor by parts that are cut from one text without lines."""
    monkeypatch.setattr("eos.tasks.corpus.corpus._BLOCK", 50)
    (tmp_path / "text.txt").write_text("expand oscillation shrink memory " * 400)
    task = made(tmp_path / "text.txt", tmp_path, parts="cut")
    assert task.vocabulary == 4 + 2  # the words, the unknown one and the end of a line
    assert UNKNOWN not in task.decode(scored(task, "test"))
    document = b"ab cd\nefgh ij"
    assert [between_words(document, at) for at in range(12)] == [0, 1, 2, 3, 3, 3, 6, 6, 6, 6, 6, 6]


def test_saved_words_are_the_same_and_other_libraries_read_them() -> None:
    words = WordTokenizer.train([PARTS["train"].encode(), b"the the the"])
    again = from_json(words.to_json(), Path("tokenizer.json"))
    text = "the English actor is\n\n unheard \n"
    np.testing.assert_array_equal(again.encode(text.encode()), words.encode(text.encode()))
    shared = words.shared()
    assert shared.encode(text).ids == words.encode(text.encode()).tolist()
    assert shared.get_vocab_size() == words.vocabulary
    assert shared.token_to_id(END_OF_TEXT) == words.end_of_text
    assert words.encode(b"Robert")[0] < words.encode(b"English")[0]  # more frequent


def test_a_part_that_is_empty_in_the_source_is_found_before_tokens_are_made(tmp_path: Path) -> None:
    reads = {"train": lambda: iter([b"a"]), "validation": lambda: iter([]), "test": lambda: iter([b"b"])}
    source = Source(description="a source", read=lambda: iter([b"a", b"b"]), parts=reads)
    with pytest.raises(DataError, match="the validation part of a source is empty"):
        make_corpus(source, tmp_path, cache=tmp_path, tokens="words", vocabulary=300, documents=False, length=1)
    assert not list(tmp_path.iterdir())
