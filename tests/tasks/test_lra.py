"""Texts, pairs and pictures of the Long Range Arena: official layouts are read, and what is malformed is refused."""

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from eos import registry
from eos.compose import load_model_recipe
from eos.errors import DataError, RecipeError
from eos.models import PairClassifier
from eos.tasks.byte_classification import ByteClassificationTask
from eos.tasks.labelled.task import AbstractLabelledTask
from eos.tasks.lra.rows import RowWriter, cut_apart
from eos.tasks.pathfinder import PathfinderTask
from eos.tasks.retrieval import RetrievalTask

REVIEWS = {"train": 20, "test": 8}


def reviews(folder: Path) -> Path:
    """The layout of aclImdb, unlabelled reviews and all."""
    for part, count in REVIEWS.items():
        for name, word in (("neg", "bad"), ("pos", "good")):
            (folder / part / name).mkdir(parents=True)
            for index in range(count):
                text = f"{word} é" * (index % 7 + 1)
                (folder / part / name / f"{index}_{1 if name == 'neg' else 10}.txt").write_text(text, encoding="utf-8")
    (folder / "train" / "unsup").mkdir()
    (folder / "train" / "unsup" / "0_0.txt").write_text("neither")
    (folder / "imdb.vocab").write_text("bad\ngood\n")
    return folder


def table(folder: Path, kind: str, rows: list[tuple[object, str]] | None = None) -> Path:
    rows = [(index % 2, f'text "{index}", é') for index in range(20)] if rows is None else rows
    file = folder / f"reviews.{kind}"
    match kind.partition(".")[0]:
        case "tsv":
            text = "".join(["text\tyear\tlabel\n", *(f"{text}\t1999\t{label}\n" for label, text in rows)])
        case "csv":
            quoted = [text.replace('"', '""') for _, text in rows]
            text = "".join(
                ["label,text\n", *(f'{label},"{text}"\n' for (label, _), text in zip(rows, quoted, strict=True))]
            )
        case _:
            text = "".join(json.dumps({"label": label, "text": text}) + "\n" for label, text in rows)
    data = text.encode()
    file.write_bytes(gzip.compress(data) if kind.endswith(".gz") else data)
    return file


def pairs(folder: Path, size: int = 12) -> Path:
    folder.mkdir()
    for name, count in (("train", size), ("eval", 5), ("test", 4)):
        rows = [
            f'{index % 2}.0\tP{index}\tQ{index}\t"{"a" * (index % 5 + 1)} é"\t{"b" * (9 - index % 4)}\n'
            for index in range(count)
        ]
        (folder / f"new_aan_pairs.{name}.tsv").write_text("".join(rows), encoding="utf-8")
    return folder


def pictures(folder: Path, size: int = 6) -> Path:
    """The layout of pathfinder32, with a file of no bytes as the published one has."""
    inner = folder / "curv_contour_length_14"
    (inner / "metadata").mkdir(parents=True)
    for number in (0, 1):
        (inner / "imgs" / str(number)).mkdir(parents=True)
        lines = []
        for index in range(15):
            image = np.full((size, size), 10 * index + number, np.uint8)
            Image.fromarray(image).save(inner / "imgs" / str(number) / f"sample_{index}.png")
            lines.append(f"imgs/{number} sample_{index}.png {index} {index % 2} 1.8 2 5 1 0.75 14")
        (inner / "metadata" / f"{number}.npy").write_text("\n".join(lines) + "\n")
    (inner / "imgs" / "1" / "sample_3.png").write_bytes(b"")
    return folder


def texts_task(tmp_path: Path, source: Path | str | None, **chosen: object) -> ByteClassificationTask:
    name = None if source is None else str(source)
    return ByteClassificationTask(
        ByteClassificationTask.Options(source=name, cache=str(tmp_path / "cache"), **{"longest": 50, **chosen})
    )


def pairs_task(tmp_path: Path, source: Path | None, **chosen: object) -> RetrievalTask:
    name = None if source is None else str(source)
    return RetrievalTask(RetrievalTask.Options(source=name, cache=str(tmp_path / "cache"), **{"longest": 50, **chosen}))


def pictures_task(tmp_path: Path, source: Path | None, **chosen: object) -> PathfinderTask:
    name = None if source is None else str(source)
    return PathfinderTask(PathfinderTask.Options(source=name, cache=str(tmp_path / "cache"), **{"size": 6, **chosen}))


def whole(task: AbstractLabelledTask, part: str) -> tuple[Tensor, Tensor]:
    task.load()
    batch = task.batch(part, np.arange(len(task.labels(part))))  # type: ignore[arg-type]
    return batch.inputs, batch.targets


def texts(task: AbstractLabelledTask, part: str) -> list[tuple[int, bytes]]:
    inputs, targets = whole(task, part)
    rows = [bytes(token - 1 for token in row if token) for row in inputs.tolist()]
    return list(zip(targets.tolist(), rows, strict=True))


def test_reviews_are_bytes_in_two_classes(tmp_path: Path) -> None:
    task = texts_task(tmp_path, reviews(tmp_path / "aclImdb"), longest=12)
    found = {part: texts(task, part) for part in ("train", "validation", "test")}
    assert [len(rows) for rows in found.values()] == [36, 4, 16]
    for label, text in (row for rows in found.values() for row in rows):
        assert text.startswith(b"good \xc3\xa9" if label else b"bad \xc3\xa9"[:4])
        assert len(text) <= 12
    assert [label for label, _ in found["test"]] == [0] * 8 + [1] * 8
    assert task.standard.floor == 1.0
    assert texts_task(tmp_path, tmp_path / "aclImdb", validation=0).options.validation == 0
    published = texts_task(tmp_path, tmp_path / "aclImdb", validation=0, longest=12)
    assert texts(published, "validation") == found["test"]
    assert len(texts(published, "train")) == 40


@pytest.mark.parametrize("kind", ["tsv", "csv", "jsonl", "csv.gz", "tsv.gz", "jsonl.gz"])
def test_tables_hold_texts_and_labels(kind: str, tmp_path: Path) -> None:
    task = texts_task(tmp_path, table(tmp_path, kind), validation=0.2, test=0.25)
    found = {part: texts(task, part) for part in ("train", "validation", "test")}
    assert [len(rows) for rows in found.values()] == [11, 4, 5]
    want = {(index % 2, f'text "{index}", é'.encode()) for index in range(20)}
    assert {row for rows in found.values() for row in rows} == want


def test_a_folder_of_tables_has_its_own_parts(tmp_path: Path) -> None:
    for part, count in (("train", 6), ("validation", 3), ("test", 2)):
        rows: list[tuple[object, str]] = [(index % 3, f"{part} {index}") for index in range(count)]
        table(tmp_path, "jsonl", rows).rename(tmp_path / f"{part}.jsonl")
    task = texts_task(tmp_path, tmp_path, classes=3)
    for part, count in (("train", 6), ("validation", 3), ("test", 2)):
        assert texts(task, part) == [(index % 3, f"{part} {index}".encode()) for index in range(count)]


def test_a_dataset_holds_texts_and_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))
    datasets.disable_progress_bars()
    (tmp_path / "corpus").mkdir()
    for part in ("train", "test"):
        table(tmp_path, "jsonl").rename(tmp_path / "corpus" / f"{part}.jsonl")
    source = f"hf:{tmp_path / 'corpus'}"
    task = texts_task(tmp_path, source)
    assert texts(task, "test") == [(index % 2, f'text "{index}", é'.encode()) for index in range(20)]
    assert len(texts(task, "validation")) == 2
    with pytest.raises(DataError, match=r"no column 'stars'; name one with task.label: label, text"):
        texts_task(tmp_path, source, label="stars").load()
    with pytest.raises(DataError, match=r"cannot load the dataset '.*nowhere' \(task.subset=None\)"):
        texts_task(tmp_path, f"hf:{tmp_path / 'nowhere'}").load()
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match="needs the package datasets"):
        texts_task(tmp_path, source).load()


@pytest.mark.parametrize(
    ("kind", "row", "said"),
    [
        ("tsv", "only one field", "row 3: has 1 fields, and the header has 3"),
        ("tsv", "a\t1999\tgood", "row 3: the label must be a whole number from 0 to 1, got 'good'"),
        ("tsv", "a\t1999\t2", r"row 3: label 2 is not one of 2 classes \(0 to 1\)"),
        ("tsv", "\t1999\t1", "row 3: the text is empty"),
        ("csv", '1,"never closed', "row 21: unexpected end of data"),
        ("csv", "1", "row 3: has 1 fields, and the header has 2"),
        ("csv", "-1,a", "row 3: label -1 is not one of 2 classes"),
        ("csv", "0.5,a", "row 3: the label must be a whole number from 0 to 1, got '0.5'"),
        ("jsonl", '{"label": 1, "te', "row 3 is not JSON"),
        ("jsonl", '{"label": 1}', "row 3 must be an object with 'label' and 'text'"),
        ("jsonl", '{"label": 1, "text": 7}', "row 3: the text must be a string, got int"),
        ("jsonl", '{"label": null, "text": "a"}', "row 3: the label must be a whole number"),
    ],
)
def test_malformed_rows_of_tables_are_refused(kind: str, row: str, said: str, tmp_path: Path) -> None:
    file = table(tmp_path, kind)
    lines = file.read_text(encoding="utf-8").splitlines()
    lines[2] = row
    if "never closed" in row:
        lines = [*lines[:2], *lines[3:], row]
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=rf"reviews.{kind}, {said}"):
        texts_task(tmp_path, file).load()


def test_texts_that_cannot_be_found_or_read_are_refused(tmp_path: Path) -> None:
    file = table(tmp_path, "tsv")
    packed = table(tmp_path, "csv.gz")
    packed.write_bytes(packed.read_bytes()[:-20])
    latin = tmp_path / "latin.csv"
    latin.write_bytes(b"label,text\n1,caf\xe9\n")
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    few = table(tmp_path, "jsonl", [(0, "a"), (1, "b")])
    other = tmp_path / "reviews.txt"
    other.write_text("text")
    (tmp_path / "none").mkdir()
    for source, chosen, said in (
        (None, {}, "task.source is not set"),
        (tmp_path / "nowhere", {}, "no file or folder"),
        (tmp_path / "none", {}, "neither a folder train"),
        (file, {"text": "body"}, "row 1: no column 'body'; name one with task.text: text, year, label"),
        (packed, {}, "cannot read .*reviews.csv.gz"),
        (latin, {}, "latin.csv, row 2 is not UTF-8"),
        (empty, {}, "empty.jsonl: the train part holds no rows"),
        (few, {}, "has 2 rows, too few: nothing would be left for the test part"),
        (other, {}, "must end in .tsv, .csv or .jsonl"),
    ):
        with pytest.raises(DataError, match=said):
            texts_task(tmp_path, source, **chosen).load()


def test_reviews_that_are_empty_or_of_other_classes_are_refused(tmp_path: Path) -> None:
    folder = reviews(tmp_path / "aclImdb")
    with pytest.raises(DataError, match=r"train holds folders for the classes neg, pos; .*task.classes"):
        texts_task(tmp_path, folder, classes=3).load()
    (folder / "test" / "neg" / "3_1.txt").write_text("")
    with pytest.raises(DataError, match=r"3_1.txt: the text is empty"):
        texts_task(tmp_path, folder).load()
    for file in (folder / "test").rglob("*.txt"):
        file.unlink()
    with pytest.raises(DataError, match=r"test/neg holds no text"):
        texts_task(tmp_path, folder).load()


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = table(tmp_path, "tsv")
    assert len(texts(texts_task(tmp_path, file), "train")) == 16
    table(tmp_path, "tsv", [(index % 2, f"other {index}") for index in range(40)])
    assert len(texts(texts_task(tmp_path, file), "train")) == 32


def test_pairs_are_inputs_and_source(tmp_path: Path) -> None:
    task = pairs_task(tmp_path, pairs(tmp_path / "aan"), longest=8)
    task.load()
    batch = task.batch("validation", np.arange(5))
    assert batch.targets.tolist() == [0, 1, 0, 1, 0]
    assert batch.source is not None
    assert batch.seen is not None
    assert batch.lengths is not None
    assert batch.lengths.tolist() == [6, 7, 8, 8, 8]
    assert batch.seen.sum(1).tolist() == [8, 8, 7, 6, 8]
    first = [bytes(token - 1 for token in row if token) for row in batch.inputs.tolist()]
    assert first == ['"a é"'.encode(), '"aa é"'.encode(), '"aaa é"'.encode(), '"aaaa é'.encode(), b'"aaaaa \xc3']
    assert torch.equal(batch.source > 0, batch.seen)
    assert set(batch.source.unique().tolist()) == {0, ord("b") + 1}
    full = pairs_task(tmp_path, tmp_path / "aan", padded="seen")
    full.load()
    filled = full.batch("test", np.arange(4))
    assert filled.source is not None
    assert filled.inputs.shape == filled.source.shape == (4, 50)
    assert filled.lengths is None
    assert filled.seen is None
    assert [len(task.labels(part)) for part in ("train", "validation", "test")] == [12, 5, 4]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("1.0\tP\tQ\tone text", "row 3: label, two names, two texts with tabs between are 5 fields, got 4"),
        ("2.0\tP\tQ\ta\tb", r"row 3: label 2 is not one of 2 classes \(0 to 1\)"),
        ("yes\tP\tQ\ta\tb", "row 3: the label must be a whole number from 0 to 1, got 'yes'"),
        ("1.0\tP\tQ\t\tb", "row 3: text 1 is empty"),
        ("1.0\tP\tQ\ta\t", "row 3: text 2 is empty"),
    ],
)
def test_malformed_pairs_are_refused(row: str, said: str, tmp_path: Path) -> None:
    folder = pairs(tmp_path / "aan")
    file = folder / "new_aan_pairs.eval.tsv"
    lines = file.read_text(encoding="utf-8").splitlines()
    lines[2] = row
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=f"new_aan_pairs.eval.tsv, {said}"):
        pairs_task(tmp_path, folder).load()


def test_pairs_that_are_missing_are_refused(tmp_path: Path) -> None:
    folder = pairs(tmp_path / "aan")
    (folder / "new_aan_pairs.test.tsv").write_text("")
    with pytest.raises(DataError, match=r"new_aan_pairs.test.tsv holds no rows"):
        pairs_task(tmp_path, folder).load()
    (folder / "new_aan_pairs.test.tsv").unlink()
    with pytest.raises(DataError, match=r"cannot read .*new_aan_pairs.test.tsv"):
        pairs_task(tmp_path, folder).load()
    with pytest.raises(DataError, match=r"task.source is not set"):
        pairs_task(tmp_path, None).load()


def pair_model(pool: str = "mean", classes: int = 3) -> PairClassifier:
    torch.manual_seed(1)
    recipe = load_model_recipe("llama", ["layers=2", "width=16", "mixers.main.direction=all"])
    return PairClassifier(recipe, classes, vocabulary=20, pool=pool).double()  # type: ignore[arg-type]


@pytest.mark.parametrize("pool", ["mean", "last"])
def test_padding_changes_nothing_of_a_pair(pool: str) -> None:
    model = pair_model(pool)
    inputs, source = torch.randint(1, 20, (2, 9)), torch.randint(1, 20, (2, 7))
    lengths, counts = torch.tensor([9, 4]), torch.tensor([3, 7])
    seen = torch.arange(7) < counts[:, None]
    together = model(inputs, source=source, lengths=lengths, seen=seen)
    for row in range(2):
        alone = model(inputs[row : row + 1, : lengths[row]], source=source[row : row + 1, : counts[row]])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-6, atol=1e-8)
    other = inputs.masked_fill(torch.arange(9) >= lengths[:, None], 5)
    torch.testing.assert_close(model(other, source=source, lengths=lengths, seen=seen), together, rtol=1e-6, atol=1e-8)


def test_both_of_a_pair_are_encoded_alike_and_compared() -> None:
    model = pair_model()
    inputs, source = torch.randint(1, 20, (4, 9)), torch.randint(1, 20, (4, 7))
    handed: list[Tensor] = []
    model.head.register_forward_hook(lambda module, given, out: handed.append(given[0]))
    model(inputs, source=source)
    model(source, source=inputs)
    u, v, product, difference = handed[0].chunk(4, -1)
    torch.testing.assert_close(product, u * v)
    torch.testing.assert_close(difference, u - v)
    torch.testing.assert_close(handed[1], torch.cat([v, u, product, -difference], -1))
    assert (u - v).abs().max() > 1e-3


def test_pairs_need_two_classes() -> None:
    with pytest.raises(RecipeError, match="at least two classes, got 1"):
        pair_model(classes=1)


def test_pictures_are_sequences_of_grey_levels(tmp_path: Path) -> None:
    source = pictures(tmp_path / "pathfinder32")
    ids, numbers = pictures_task(tmp_path, source, inputs="ids"), pictures_task(tmp_path, source)
    seen: set[int] = set()
    for part, count in (("train", 25), ("validation", 2), ("test", 2)):
        inputs, targets = whole(ids, part)
        assert inputs.shape == (count, 36)
        level = inputs[:, 0]
        assert torch.equal(inputs, level[:, None].expand(-1, 36))
        assert torch.equal(targets, level // 10 % 2)
        seen |= set(level.tolist())
        real, _ = whole(numbers, part)
        torch.testing.assert_close(real, inputs[..., None].float() / 127.5 - 1)
    assert len(seen) == 29
    assert 31 not in seen
    assert ids.summary.endswith("25 rows to train on, 2 to validate, 2 to test; 1 files of no bytes left out")
    assert (ids.vocabulary, ids.features, numbers.features, ids.length) == (256, None, 1, 36)


def _cut(folder: Path) -> None:
    file = folder / "imgs" / "1" / "sample_4.png"
    file.write_bytes(file.read_bytes()[:40])


def _listed(line: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "metadata" / "1.npy"
        lines = file.read_text().splitlines()
        lines[4] = line
        file.write_text("\n".join(lines))

    return change


def _other_size(folder: Path) -> None:
    Image.fromarray(np.zeros((6, 7), np.uint8)).save(folder / "imgs" / "1" / "sample_4.png")


def _array(folder: Path) -> None:
    np.save(folder / "metadata" / "1.npy", np.array(["imgs/1"]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_cut, r"1.npy, row 5: cannot read .*sample_4.png"),
        (lambda folder: (folder / "imgs" / "1" / "sample_4.png").write_text("text"), "row 5: cannot read"),
        (lambda folder: (folder / "imgs" / "1" / "sample_4.png").unlink(), r"row 5: cannot read .*No such file"),
        (_other_size, r"row 5: .*sample_4.png is 7 × 6 pixels, not 6 × 6; set task.size"),
        (_listed("imgs/1 sample_4.png 4"), "row 5: needs folder, file, number and label .* has 3"),
        (_listed("imgs/1 sample_4.png 4 2 1.8"), r"row 5: label '2' is not one of 2 classes"),
        (_array, "row 1: is an array; the published lists are text"),
    ],
)
def test_malformed_pictures_are_refused(change: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    source = pictures(tmp_path / "pathfinder32")
    change(source / "curv_contour_length_14")
    with pytest.raises(DataError, match=said):
        pictures_task(tmp_path, source).load()


def test_pictures_that_are_missing_are_refused(tmp_path: Path) -> None:
    source = pictures(tmp_path / "pathfinder32")
    with pytest.raises(DataError, match=r"curv_baseline holds no metadata/NUMBER.npy; set task.source"):
        pictures_task(tmp_path, source, difficulty="easy").load()
    with pytest.raises(DataError, match=r"task.source is not set"):
        pictures_task(tmp_path, None).load()
    for file in (source / "curv_contour_length_14" / "metadata").glob("*.npy"):
        file.write_text("")
    with pytest.raises(DataError, match="its 2 lists in metadata name no picture"):
        pictures_task(tmp_path, source).load()


def test_parts_are_disjoint_and_always_the_same() -> None:
    parts = cut_apart(100, {"test": 0.25, "validation": 0.1}, where="rows")
    assert [len(parts[name]) for name in ("test", "validation", "train")] == [25, 10, 65]
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(100))
    again = cut_apart(100, {"test": 0.25, "validation": 0.1}, where="rows")
    assert all(np.array_equal(parts[name], again[name]) for name in parts)
    assert set(cut_apart(100, {"validation": 0.0}, where="rows")) == {"train"}


def test_rows_come_back_as_they_were_written() -> None:
    writer = RowWriter(documents=2, longest=4)
    given = [(1, b"a", b"xyz"), (0, b"bcdefg", b"\x00"), (2, b"hi", b"jk")]
    for label, left, right in given:
        writer.add(label, left, right)
    rows = writer.finish().some(np.array([2, 1]))
    assert rows.labels.tolist() == [2, 0]
    assert [rows.documents[0].row(index).tobytes() for index in range(2)] == [b"hi", b"bcde"]
    ids, lengths = rows.documents[1].padded(add=1)
    assert ids.tolist() == [[ord("j") + 1, ord("k") + 1], [1, 0]]
    assert lengths.tolist() == [2, 1]


@pytest.mark.parametrize("make", [texts_task, pairs_task, pictures_task])
def test_tasks_that_are_not_prepared_say_so(make: Callable[..., AbstractLabelledTask], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="isn't ready: call prepare"):
        make(tmp_path, None).labels("train")


def test_recipes_of_the_arena_are_there() -> None:
    names = {f"lra_{name}" for name in ("text", "retrieval", "image", "pathfinder", "pathx")}
    assert names | {"listops", "listops_small"} <= set(registry.recipes("task"))
    assert names | {"lra_listops"} <= set(registry.recipes("experiment"))
