"""Parallel text: its forms, its faults, its tokens and batches, and what BLEU is of."""

import gzip
import random
import re
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from eos.compose import load_model_recipe
from eos.errors import CompositionError, DataError, RecipeError
from eos.models import EncoderDecoder
from eos.tasks import translation
from eos.tasks.parallel import embedded
from eos.tasks.parallel.embedded import english, german
from eos.tasks.task import IGNORED, Batch
from eos.tasks.translation import TranslationTask

WORDS = [("red", "rot"), ("house", "Haus"), ("is", "ist"), ("grün", "green"), ("now", "jetzt"), ("two", "zwei")]


def sentences(number: int) -> list[tuple[str, str]]:
    """Of two to nine words, in reverse order."""
    draw = random.Random(0)
    chosen = [[draw.choice(WORDS) for _ in range(draw.randint(2, 9))] for _ in range(number)]
    return [(" ".join(one for one, _ in words), " ".join(other for _, other in words[::-1])) for words in chosen]


def write(path: Path, texts: list[str]) -> str:
    data = "".join(f"{text}\n" for text in texts).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., TranslationTask]:
    """A prepared task; its cache and run are in the test's folder."""

    def make(run: str = "run", **chosen: object) -> TranslationTask:
        folder = tmp_path / run
        folder.mkdir(exist_ok=True)
        chosen = {"cache": str(tmp_path / "cache"), "vocabulary": 290, **chosen}
        task = TranslationTask(TranslationTask.Options(**chosen))
        task.prepare(folder)
        return task

    return make


@pytest.fixture
def two_files(tmp_path: Path) -> dict[str, str]:
    """200 pairs."""
    pairs = sentences(200)
    return {
        "source": write(tmp_path / "a.en", [one for one, _ in pairs]),
        "target": write(tmp_path / "a.de.gz", [other for _, other in pairs]),
    }


def written(task: TranslationTask, batch: Batch) -> list[tuple[str, str]]:
    """The pairs of a batch, read back from its tokens; with a · where a side ends."""
    assert batch.source is not None
    end = task.vocabulary - 1
    seen = torch.ones_like(batch.source, dtype=torch.bool) if batch.seen is None else batch.seen
    pairs = []
    for source, mask, inputs, targets in zip(batch.source, seen, batch.inputs, batch.targets, strict=True):
        sides = [source[mask].tolist(), targets[targets != IGNORED].tolist()]
        assert inputs[0] == end
        assert inputs[1 : len(sides[1])].tolist() == sides[1][:-1]
        assert end not in sides[1][:-1]
        texts = [task.decode([token for token in side if token != end]) for side in sides]
        ends = ["·" if side[-1] == end else "" for side in sides]
        pairs.append((texts[0] + ends[0], texts[1] + ends[1]))
    return pairs


def test_numbers_are_words_of_both_languages() -> None:
    told = {
        7: ("seven", "sieben"),
        12: ("twelve", "zwölf"),
        20: ("twenty", "zwanzig"),
        100: ("one hundred", "einhundert"),
    }
    told |= {421: ("four hundred twenty-one", "vierhunderteinundzwanzig"), 101: ("one hundred one", "einhunderteins")}
    assert {number: (english(number), german(number)) for number in told} == told
    for words in (english, german):
        assert len({words(number) for number in range(1, embedded.MOST + 1)}) == embedded.MOST


def test_the_sentences_built_in_never_change_and_no_part_holds_those_of_another() -> None:
    parts = embedded.sentences()
    assert sha256(repr(parts).encode()).hexdigest()[:12] == "5044040e113e"
    assert {part: len(pairs) for part, pairs in parts.items()} == embedded.SIZES
    assert len({pair for pairs in parts.values() for pair in pairs}) == sum(embedded.SIZES.values())
    source, target = parts["train"][0]
    assert re.fullmatch(r"[A-Z][A-Za-z -]+\.", source)
    assert re.fullmatch(r"[A-Z][A-Za-zäöüß ]+\.", target)


@pytest.mark.parametrize("tokens", ["bpe", "bytes"])
def test_a_batch_holds_the_pairs_with_their_ends(
    make: Callable[..., TranslationTask], two_files: dict[str, str], tokens: str
) -> None:
    task = make(**two_files, tokens=tokens, length=128)
    known = {(f"{one}·", f"{other}·") for one, other in sentences(200)}
    assert set(written(task, task.train_batch(1, 0, 16))) <= known
    held = [
        pair for split in ("validation", "test") for b in task.evaluation_batches(split, 7) for pair in written(task, b)
    ]
    assert sorted(held) == sorted((f"{one}·", f"{other}·") for one, other in sentences(200)[170:])


@pytest.mark.parametrize("padding", [True, False])
def test_an_epoch_holds_every_pair_and_its_rows_are_about_equally_long(
    make: Callable[..., TranslationTask], two_files: dict[str, str], padding: bool
) -> None:
    task = make(**two_files, length=128, padding=padding)
    rows, count = 8, 0
    found: set[tuple[str, str]] = set()
    batches = []
    while len(found) < len({*sentences(200)[:170]}) and count < 100:
        batches.append(task.train_batch(3, count, rows))
        found |= set(written(task, batches[-1]))
        count += 1
    assert found == {(f"{one}·", f"{other}·") for one, other in sentences(200)[:170]}
    if padding:
        assert count == -(-170 // rows)
        assert all(batch.inputs.shape[0] == rows for batch in batches)
        padded = np.mean([float((batch.targets == IGNORED).float().mean()) for batch in batches])
        # in random batches 40 % of the targets are padding
        assert padded < 0.15
    else:
        assert all(batch.seen is None for batch in batches)
        assert all(batch.seen is None for batch in task.evaluation_batches("test", 4))
    repeated = task.train_batch(3, count, rows)
    assert not torch.equal(repeated.inputs, batches[0].inputs)


def test_a_batch_is_a_function_of_seed_and_step(
    make: Callable[..., TranslationTask], two_files: dict[str, str]
) -> None:
    once, again = make(**two_files), make("other", **two_files)
    again.train_batch(5, 40, 8)
    left, right = once.train_batch(5, 7, 8), again.train_batch(5, 7, 8)
    assert torch.equal(left.inputs, right.inputs)
    assert torch.equal(left.targets, right.targets)
    assert written(once, once.train_batch(5, 8, 8)) != written(once, left) != written(once, once.train_batch(6, 7, 8))


def test_held_out_pairs_do_not_depend_on_the_rows_of_a_batch(
    make: Callable[..., TranslationTask], two_files: dict[str, str]
) -> None:
    task = make(**two_files)
    wide, narrow = ([p for b in task.evaluation_batches("test", rows) for p in written(task, b)] for rows in (50, 3))
    assert wide == narrow
    assert len(wide) == 20


def test_long_pairs_are_dropped_or_cut_and_counted(
    make: Callable[..., TranslationTask], two_files: dict[str, str]
) -> None:
    whole, length = make(**two_files, length=128), 12
    pairs = [pair for step in range(20) for pair in written(whole, whole.train_batch(1, step, 9))]
    sizes = {pair: max(len(whole.encode(text.removesuffix("·"))) for text in pair) for pair in pairs}
    long = sum(max(len(whole.encode(text)) for text in pair) > length for pair in sentences(200)[:170])
    assert 0 < long < 170
    dropped = make("dropped", **two_files, length=length)
    assert f"{long} of them longer than 12 tokens and dropped" in dropped.summary
    kept = {pair for step in range(20) for pair in written(dropped, dropped.train_batch(1, step, 9))}
    assert kept == {pair for pair, size in sizes.items() if size <= length}
    cut = make("cut", **two_files, length=length, long="cut")
    assert f"{long} of them longer than 12 tokens and cut" in cut.summary
    batches = [cut.train_batch(1, step, 9) for step in range(20)]
    assert max(batch.inputs.shape[1] for batch in batches) == length
    assert max(batch.source.shape[1] for batch in batches if batch.source is not None) == length
    for source, target in {pair for batch in batches for pair in written(cut, batch)}:
        assert source.endswith("·")
        # what was cut off does not teach the model to end there
        assert target.endswith("·") or len(whole.encode(target)) - 1 == length
    assert [len(task._texts("test")[0]) for task in (dropped, cut)] == [20, 20]
    with pytest.raises(DataError, match=r"every pair .* longer than task.length = 2 tokens; .* task.long=cut"):
        make("none", **two_files, length=2)


def test_one_text_is_cut_as_asked(make: Callable[..., TranslationTask], two_files: dict[str, str]) -> None:
    assert "170 pairs to train on" in make(**two_files).summary
    assert "100 pairs to train on (0 of them" in make("few", **two_files, held_out=50).summary
    with pytest.raises(DataError, match="holds 200 pairs, and 100 to validate and 100 to test leave none"):
        make("none", **two_files, held_out=100)


def test_a_tsv_file_in_either_direction(make: Callable[..., TranslationTask], tmp_path: Path) -> None:
    pairs = sentences(60)
    file = write(tmp_path / "pairs.tsv", [f"{one}\t{other}\tCC-BY\r" for one, other in pairs])
    assert make(source=file)._texts("test") == ([one for one, _ in pairs[54:]], [other for _, other in pairs[54:]])
    assert make("back", source=file, columns=[2, 1])._texts("test")[0] == [other for _, other in pairs[54:]]
    with pytest.raises(DataError, match=r"pairs.tsv, line 1: 3 column\(s\) .* need 4; .* task.target"):
        make("far", source=file, columns=[1, 4])


def test_a_folder_of_parts(make: Callable[..., TranslationTask], tmp_path: Path) -> None:
    folder, pairs = tmp_path / "corpus", sentences(30)
    folder.mkdir()
    (folder / "README").write_text("about")
    for part, chosen in (("news.train", pairs[:20]), ("dev", pairs[20:25])):
        write(folder / f"{part}.en.gz", [one for one, _ in chosen])
        write(folder / f"{part}.de", [other for _, other in chosen])
    named = {"source": str(folder), "languages": ["de", "en"]}
    with pytest.raises(DataError, match=r"one file of the test part that ends in .de, .* holds none .*README"):
        make(**named)
    for ending, side in (("en", 0), ("de", 1)):
        write(folder / f"test.{ending}", [pair[side] for pair in pairs[25:]])
    task = make(**named)
    assert (
        "20 pairs to train on (0 of them longer than 64 tokens and dropped), 5 to validate, 5 to test" in task.summary
    )
    assert task._texts("test")[1] == [one for one, _ in pairs[25:]]
    write(folder / "old.test.de", ["alt"])
    with pytest.raises(DataError, match=r"holds several: old.test.de, test.de"):
        make("several", **named)


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """A dataset of local files, in the form that the hub has them in."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    datasets.disable_progress_bars()

    def make(row: str) -> str:
        folder = tmp_path / "hub"
        folder.mkdir(exist_ok=True)
        for part, many in (("train", 9), ("validation", 2), ("test", 3)):
            rows = [row.replace("N", str(number)) for number in range(many)]
            (folder / f"{part}.jsonl").write_text("\n".join(rows), encoding="utf-8")
        return f"hf:{folder}"

    return make


@pytest.mark.parametrize("row", ['{"translation": {"en": "one N", "de": "eins N"}}', '{"de": "eins N", "en": "one N"}'])
def test_a_dataset_names_its_languages(
    make: Callable[..., TranslationTask], dataset: Callable[[str], str], row: str
) -> None:
    source = dataset(row)
    task = make(source=source, languages=["en", "de"])
    assert task._texts("test") == ([f"one {n}" for n in range(3)], [f"eins {n}" for n in range(3)])
    assert "9 pairs to train on" in task.summary
    with pytest.raises(DataError, match=r"train .*(row 0, fr: NoneType, not text; the row has: en, de|no.* column)"):
        make("fr", source=source, languages=["en", "fr"])
    with pytest.raises(RecipeError, match=r"say which languages of hf:.*task.languages=\[en,de\]"):
        make("none", source=source)


def test_a_dataset_that_cannot_be_fetched_or_has_no_package_is_one_line(
    make: Callable[..., TranslationTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match=r"^cannot load the dataset .*nothing' \(task.subset=de-en\): [^\n]+$"):
        make(source=f"hf:{tmp_path / 'nothing'}", subset="de-en", languages=["de", "en"])
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install -c constraints.txt '\.\[datasets\]'"):
        make(source="hf:wmt14", languages=["de", "en"])


def test_sacrebleu_is_asked_for_before_training(
    make: Callable[..., TranslationTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(DataError, match=r"sacrebleu: in the project's folder, .* '\.\[translation\]'"):
        make()


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (b"a\nb\nc\n", b"x\ny\n", r"a\.en has 3 lines and \S*a\.de has 2; line i"),
        (b"a\n", b"x\ny\nz", r"a\.en has 1 lines and \S*a\.de has 3; line i"),
        (b"a\nb\n", b"x\n \n", r"a\.de, line 2 is empty; .* task\.empty=drop"),
        (b"a\nb\xe4r\n", b"x\ny\n", r"a\.en, line 2: byte 2 of the line is not UTF-8"),
        (b"", b"", r"holds 0 pairs"),
        (b"a\nb\n", b"x\ny\n", r"holds 2 pairs, and 1 to validate and 1 to test leave none"),
    ],
)
def test_faulty_files_are_told_by_file_and_line(
    make: Callable[..., TranslationTask], tmp_path: Path, one: bytes, other: bytes, said: str
) -> None:
    (tmp_path / "a.en").write_bytes(one)
    (tmp_path / "a.de").write_bytes(other)
    with pytest.raises(DataError, match=said) as raised:
        make(source=str(tmp_path / "a.en"), target=str(tmp_path / "a.de"))
    assert "\n" not in str(raised.value)


def test_a_truncated_file_is_told(make: Callable[..., TranslationTask], two_files: dict[str, str]) -> None:
    target = Path(two_files["target"])
    target.write_bytes(target.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"cannot read \S*a.de.gz"):
        make(**two_files)


def test_an_empty_part_of_a_folder_is_told(make: Callable[..., TranslationTask], tmp_path: Path) -> None:
    for part, texts in (("train", ["a\tb"]), ("valid", ["a\tb"]), ("test", [])):
        write(tmp_path / f"{part}.tsv", texts)
    with pytest.raises(DataError, match=r"the test part of .* holds no pairs"):
        make(source=str(tmp_path))


def test_empty_pairs_are_left_out_where_asked(make: Callable[..., TranslationTask], tmp_path: Path) -> None:
    pairs = [*sentences(40), ("", "leer"), ("blank", "  ")]
    file = write(tmp_path / "pairs.tsv", [f"{one}\t{other}" for one, other in pairs])
    task = make(source=file, empty="drop")
    assert "2 pairs empty on a side left out" in task.summary
    assert task._texts("test")[0] == [one for one, _ in sentences(40)[36:]]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"target": "a.de"}, "task.target=a.de is the other of two files, and task.source=null names none"),
        ({"source": "hf:x", "target": "a.de"}, "task.source=hf:x names none"),
        ({"languages": ["en"]}, r"task.languages are two, source and target, as \[en, de\]; got \['en'\]"),
        ({"languages": ["en", "de"]}, "task.languages belong to a folder or a dataset"),
        ({"columns": [1, 1]}, r"task.columns are two, counted from 1, as \[1, 2\]; got \[1, 1\]"),
        ({"source": "nowhere.en"}, "task.source: there is no file 'nowhere.en' .* write task.source=hf:NAME"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    make: Callable[..., TranslationTask], chosen: dict[str, object], said: str
) -> None:
    with pytest.raises((DataError, RecipeError), match=said):
        make(**chosen)


def test_the_floor_is_the_source_copied_and_the_reference_is_a_hundred(
    make: Callable[..., TranslationTask], tmp_path: Path
) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    pairs = [(f"w {one} x y {n}", f"w {one} x z {n}") for n, (one, _) in enumerate(sentences(60))]
    task = make(source=write(tmp_path / "pairs.tsv", [f"{one}\t{other}" for one, other in pairs]))
    standard = task.standard
    wanted = sacrebleu.corpus_bleu([one for one, _ in pairs[54:]], [[other for _, other in pairs[54:]]]).score
    assert 20 < wanted < 90
    assert standard.floor == pytest.approx(wanted)
    assert (standard.metric, standard.higher, standard.chance) == ("bleu", True, 0.0)
    assert "tok:13a" in standard.trivial
    assert f"version:{sacrebleu.__version__}" in task.summary
    assert task._bleu(*[task._texts("test")[1]] * 2) == pytest.approx(100)


def test_a_run_is_given_the_pairs_and_the_reading_that_it_was_made_for(
    make: Callable[..., TranslationTask], two_files: dict[str, str], tmp_path: Path
) -> None:
    task = make(**two_files)
    other = {"source": write(tmp_path / "b.tsv", [f"{one}\t{two}!" for one, two in sentences(60)])}
    with pytest.raises(DataError, match=r"was made from pairs of sha256 .*, and .*b.tsv has"):
        make(**other)
    again = TranslationTask(TranslationTask.Options(**other, cache=str(tmp_path / "cache"), vocabulary=400))
    again.prepare_other(tmp_path / "run")
    assert again.vocabulary == task.vocabulary
    assert again.encode("two house") == task.encode("two house")
    linear = TranslationTask(TranslationTask.Options(**two_files, cache=str(tmp_path / "cache"), cross="linear"))
    with pytest.raises(DataError, match=r"built with task.cross = softmax, and this task has linear"):
        linear.prepare_other(tmp_path / "run")
    with pytest.raises(DataError, match="holds no run on translation"):
        again.prepare_other(tmp_path)
    alone = TranslationTask(TranslationTask.Options(**two_files))
    alone.restore(tmp_path / "run")
    assert alone.decode(alone.encode("grün, 日本")) == "grün, 日本"
    (tmp_path / "run" / "translation.json").write_text("{")
    with pytest.raises(DataError, match=r"translation.json is damaged"):
        alone.restore(tmp_path / "run")


def test_a_model_is_an_encoder_of_the_same_recipe_that_sees_all(
    make: Callable[..., TranslationTask], two_files: dict[str, str]
) -> None:
    def recipe(name: str) -> object:
        return load_model_recipe(name, ["width=16", "layers=1"])

    model = make(**two_files).model(recipe("gla"))
    assert isinstance(model, EncoderDecoder)
    assert model.encoder.recipe.mixers["main"].direction == "both"
    with pytest.raises(CompositionError, match=r"mixers.main: .* padding .* task.padding=false"):
        make("all", **two_files, encoder_direction="all").model(recipe("linear_attention"))
    task = make("equal", **two_files, encoder_direction="all", padding=False)
    batch = task.train_batch(1, 0, 4)
    model = task.model(recipe("linear_attention"))
    assert model(batch.inputs, **batch.arguments()).shape[:2] == batch.inputs.shape
    with pytest.raises(CompositionError, match="no positions of its own"):
        task.model(recipe("cosformer2"))


def test_sentences_come_back_in_their_order(
    make: Callable[..., TranslationTask], two_files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translation, "RATIO", 1)
    monkeypatch.setattr(translation, "MORE", 1)
    torch.manual_seed(0)
    task, device = make(**two_files), torch.device("cpu")
    model = task.model(load_model_recipe("gla", ["width=16", "layers=1", "initial_std=0.5", "tied=false"]))
    texts = ["red", "two house", "now"]
    together = task.translate(model, texts, device=device, rows=2)
    assert together == [task.translate(model, [text], device=device, rows=1)[0] for text in texts]
    assert len(set(together)) > 1
    assert task.translate(model, [], device=device, rows=3) == []
    with pytest.raises(DataError, match="a Linear translates nothing"):
        task.translate(torch.nn.Linear(1, 1), texts, device=device, rows=3)


@pytest.mark.parametrize("padding", [True, False])
def test_sentences_are_read_in_groups_of_about_one_length(
    make: Callable[..., TranslationTask], two_files: dict[str, str], padding: bool
) -> None:
    sizes = np.array([5, 3, 5, 4, 3, 5])
    groups = [sizes[rows].tolist() for rows in make(**two_files, padding=padding)._groups(sizes, 2)]
    assert groups == ([[3, 3], [4, 5], [5, 5]] if padding else [[3, 3], [4], [5, 5], [5]])
