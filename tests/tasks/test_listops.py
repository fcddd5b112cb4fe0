"""ListOps: expressions have their values, are drawn as published, and files that say otherwise are refused."""

import gzip
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from eos.errors import DataError, RecipeError
from eos.tasks.listops import ListopsTask
from eos.tasks.lra.expressions import CLOSE, DIGIT, OPERATOR, Grammar, draw, evaluate, faults, read, write

#: A statistic of so many standard deviations from its expectation is met once in 15,000 runs; seeds are fixed.
DEVIATIONS = 4.0
PUBLISHED = Grammar(depth=10, arguments=10, branching=0.25, above=500, below=2000)
ORIGINAL = Path(__file__).parents[3] / "shared" / "data" / "listops_d20_test.tsv.gz"


def rows_of(tokens: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    return np.split(tokens, np.cumsum(lengths)[:-1])


def value(row: list[int]) -> int:
    """By the definition, one token after the other; what is read is taken off the list."""
    token = row.pop(0)
    if token < OPERATOR:
        return token - DIGIT
    arguments = []
    while row[0] != CLOSE:
        arguments.append(value(row))
    row.pop(0)
    match token - OPERATOR:
        case 0:
            return min(arguments)
        case 1:
            return max(arguments)
        case 2:
            return int(np.median(arguments))
        case _:
            return sum(arguments) % 10


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray, float]:
    """At least 2,000 rows of the published sizes, and the share of trees that was taken."""
    generator, blocks = np.random.default_rng(5), 7
    parts = [draw(generator, PUBLISHED, 4096) for _ in range(blocks)]
    tokens, lengths = (np.concatenate(each) for each in zip(*parts, strict=True))
    return tokens, lengths, lengths.size / (blocks * 4096)


def test_statistics_are_those_of_the_published_generator(drawn: tuple[np.ndarray, np.ndarray, float]) -> None:
    tokens, lengths, taken = drawn
    rows = lengths.size
    assert rows >= 2000
    # both sides were measured on 2,000 rows or more
    error = DEVIATIONS * math.sqrt(1 / rows + 1 / 2000)
    assert abs(taken - 0.0827) <= DEVIATIONS * math.sqrt(0.0827 * 0.9173 * (1 / (7 * 4096) + 1 / 24186))
    assert abs(lengths.mean() - 1060.8) <= error * lengths.std()
    assert abs(lengths.std() - 402) <= error * lengths.std()
    assert lengths.min() > 500
    assert lengths.max() < 2000
    for share, length in ((0.1, 581), (0.25, 724.5), (0.5, 997), (0.75, 1339), (0.9, 1666)):
        assert abs((lengths <= length).mean() - share) <= error * math.sqrt(share * (1 - share))
    published = np.array([337, 188, 154, 151, 192, 179, 151, 154, 160, 334]) / 2000
    labels = np.bincount(evaluate(tokens, lengths), minlength=10) / rows
    assert (np.abs(labels - published) <= error * np.sqrt(published * (1 - published))).all()
    opens = (tokens >= OPERATOR) & (tokens < CLOSE)
    operators = [int(row.sum()) for row in rows_of(opens, lengths)]
    assert abs(np.mean(operators) - 150.9) <= error * np.std(operators)
    nesting = np.cumsum(opens.astype(int) - (tokens == CLOSE))
    assert {int(row.max()) for row in rows_of(nesting, lengths)} == {9}
    for counts in (
        np.bincount(tokens[opens] - OPERATOR, minlength=4),
        np.bincount(tokens[np.cumsum(lengths) - lengths] - OPERATOR, minlength=4),
        np.bincount(tokens[tokens < OPERATOR] - DIGIT, minlength=10),
    ):
        share = 1 / counts.size
        assert np.abs(counts / counts.sum() - share).max() <= DEVIATIONS * math.sqrt(share / counts.sum())


def test_trees_that_are_cut_short_leave_the_others_as_they_were() -> None:
    """Against trees that are grown one by one to their ends."""
    grammar = Grammar(depth=5, arguments=4, branching=0.4, above=6, below=30)
    rng = random.Random(0)

    def size(depth: int) -> int:
        if depth == grammar.depth or rng.random() > grammar.branching:
            return 1
        return 2 + sum(size(depth + 1) for _ in range(rng.randint(2, grammar.arguments)))

    trees = 20_000
    _, lengths = draw(np.random.default_rng(1), grammar, trees)
    grown = np.array([size(1) for _ in range(trees)])
    grown = grown[(grown > grammar.above) & (grown < grammar.below)]
    both = [np.bincount(each, minlength=grammar.below) / trees for each in (lengths, grown)]
    assert (both[1] > 0).sum() > 15
    assert (np.abs(both[0] - both[1]) <= DEVIATIONS * np.sqrt((both[0] + both[1]) / trees) + 1e-9).all()


def test_values_are_those_of_the_definition() -> None:
    grammar = Grammar(depth=6, arguments=6, branching=0.4, above=0, below=300)
    tokens, lengths = draw(np.random.default_rng(2), grammar, 3000)
    assert not list(faults(tokens, lengths))
    assert evaluate(tokens, lengths).tolist() == [value(row.tolist()) for row in rows_of(tokens, lengths)]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("( ( ( [MED 1 ) 2 ) ] )", 1),
        ("( ( ( ( [MED 9 ) 2 ) 4 ) ] )", 4),
        ("( ( ( ( [SM 9 ) 2 ) 4 ) ] )", 5),
        ("( ( ( [MAX 3 ) ( ( ( [MIN 8 ) 5 ) ] ) ) ] )", 5),
        ("7", 7),
    ],
)
def test_texts_are_read_written_and_evaluated(text: str, want: int) -> None:
    tokens = np.frombuffer(read(text.encode()), np.uint8)
    assert write(tokens) == text
    assert evaluate(tokens, np.array([tokens.size])).tolist() == [want]


def test_the_original_rows_have_their_values() -> None:
    if not ORIGINAL.exists():
        pytest.skip(f"{ORIGINAL.name} is not here")
    rows = [line.split(b"\t") for line in gzip.decompress(ORIGINAL.read_bytes()).splitlines()]
    ids = [read(text) for _, text in rows]
    tokens, lengths = np.frombuffer(b"".join(ids), np.uint8), np.array([len(row) for row in ids])
    assert len(rows) == 10_000
    assert not list(faults(tokens, lengths))
    assert evaluate(tokens, lengths).tolist() == [int(label) for label, _ in rows]
    assert all(
        write(row) == text.decode() for row, (_, text) in zip(rows_of(tokens, lengths)[:2000], rows, strict=False)
    )


def listops(tmp_path: Path, **chosen: object) -> ListopsTask:
    given = {"above": 3, "below": 40, "longest": 40, "train": 300, "validation": 40, "test": 50, **chosen}
    return ListopsTask(ListopsTask.Options(cache=str(tmp_path / "cache"), **given))


def prepared(tmp_path: Path, **chosen: object) -> ListopsTask:
    task = listops(tmp_path, **chosen)
    task.load()
    return task


def held(task: ListopsTask, part: str) -> list[tuple[int, ...]]:
    """The rows of a part, padding taken off."""
    batch = task.batch(part, np.arange(len(task.labels(part))))  # type: ignore[arg-type]
    lengths = [task.length] * len(batch.inputs) if batch.lengths is None else batch.lengths.tolist()
    return [tuple(row[:length]) for row, length in zip(batch.inputs.tolist(), lengths, strict=True)]


def test_no_row_stands_twice(tmp_path: Path) -> None:
    task = prepared(tmp_path, train=3000, below=8)
    rows = [row for part in ("train", "validation", "test") for row in held(task, part)]
    assert len(rows) == len(set(rows)) == 3090
    assert {len(row) for row in rows} <= set(range(4, 8))
    values = np.concatenate([task.labels(part) for part in ("train", "validation", "test")])
    assert values.tolist() == [value(list(row)) for row in rows]


def test_held_out_rows_depend_neither_on_the_training_part_nor_on_the_rows_of_a_batch(tmp_path: Path) -> None:
    task, other = prepared(tmp_path), prepared(tmp_path, train=70)
    for part in ("validation", "test"):
        assert held(task, part) == held(other, part)
    for rows in (7, 50):
        batches = list(task.evaluation_batches("test", rows))
        assert sum(len(batch.inputs) for batch in batches) == 50
        found = [
            tuple(row[:length])
            for batch in batches
            for row, length in zip(batch.inputs.tolist(), batch.lengths.tolist(), strict=True)
        ]
        assert found == held(task, "test")


def test_a_batch_is_a_function_of_seed_and_step(tmp_path: Path) -> None:
    once, again = prepared(tmp_path), prepared(tmp_path)
    left, right = once.train_batch(3, 11, 16), again.train_batch(3, 11, 16)
    assert torch.equal(left.inputs, right.inputs)
    assert torch.equal(left.targets, right.targets)
    for other in (once.train_batch(3, 12, 16), once.train_batch(4, 11, 16)):
        assert not torch.equal(left.targets, other.targets)
    epoch = [tuple(row) for step in range(3) for row in once.train_batch(1, step, 100).inputs.tolist()]
    assert len({tuple(token for token in row if token) for row in epoch}) == 300


def test_rows_are_padded_to_the_longest_or_to_the_full_length(tmp_path: Path) -> None:
    batch = prepared(tmp_path).train_batch(1, 0, 16)
    assert batch.lengths is not None
    assert batch.inputs.shape[1] == batch.lengths.max()
    after = torch.arange(batch.inputs.shape[1]) >= batch.lengths[:, None]
    assert torch.equal(batch.inputs == 0, after)
    full = prepared(tmp_path, padded="seen").train_batch(1, 0, 16)
    assert full.lengths is None
    assert full.inputs.shape == (16, 39)
    assert torch.equal(full.inputs[:, : batch.inputs.shape[1]], batch.inputs)
    cut = prepared(tmp_path, longest=5).train_batch(1, 0, 16)
    assert torch.equal(cut.inputs[:, :4], batch.inputs[:, :4])
    assert cut.inputs.shape[1] == 5
    assert torch.equal(cut.targets, batch.targets)


def test_the_floor_knows_the_first_operator_alone(tmp_path: Path) -> None:
    task = prepared(tmp_path, train=4000, test=2000)
    floor = task.standard.floor
    majority = (task.labels("test") == np.bincount(task.labels("train")).argmax()).mean()
    assert majority + 0.05 < floor < 0.5
    assert task.standard.chance == 0.1


def published(folder: Path, task: ListopsTask) -> Path:
    """What a task has, in files of the published form."""
    folder.mkdir(exist_ok=True)
    for part, name in (("train", "train"), ("validation", "val"), ("test", "test")):
        rows = zip(held(task, part), task.labels(part), strict=True)  # type: ignore[arg-type]
        lines = ["Source\tTarget", *(f"{write(np.array(row, np.uint8))}\t{label}" for row, label in rows)]
        (folder / f"basic_{name}.tsv").write_text("\n".join(lines) + "\n")
    return folder


def test_published_files_hold_the_rows_that_they_were_written_from(tmp_path: Path) -> None:
    task = prepared(tmp_path)
    loaded = prepared(tmp_path, source=str(published(tmp_path / "files", task)))
    for part in ("train", "validation", "test"):
        assert held(loaded, part) == held(task, part)
        assert loaded.labels(part).tolist() == task.labels(part).tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("( ( [MIN 1 ) ] )\t2", "the value is given as 2, and the expression's is 1"),
        ("( ( [MIN 1 ) ] )\t10", "the value must be a digit from 0 to 9, got '10'"),
        ("( ( [MIN 1 ) ] )", "needs an expression and its value with a tab between, has 0 tabs"),
        ("( ( [AVG 1 ) ] )\t1", r"'\[AVG' is no digit"),
        ("( ( [MIN 12 ) ] )\t1", "'12' is no digit"),
        ("( ( [MIN 1 ) ( [MAX 2 )\t1", "an operator is not closed"),
        ("1 ]\t1", "a ] without its operator"),
        ("[MIN ]\t1", "an operator has no arguments"),
        ("1 2\t1", "not one expression but several"),
        ("( )\t1", "the expression is empty"),
    ],
)
def test_malformed_rows_are_refused_by_file_and_row(row: str, said: str, tmp_path: Path) -> None:
    folder = published(tmp_path / "files", prepared(tmp_path))
    file = folder / "basic_val.tsv"
    lines = file.read_text().splitlines()
    lines[4] = row
    file.write_text("\n".join(lines))
    with pytest.raises(DataError, match=rf"basic_val.tsv, row 5: .*{said}"):
        listops(tmp_path, source=str(folder)).prepare(tmp_path)


def test_files_that_are_missing_empty_or_of_another_form_are_refused(tmp_path: Path) -> None:
    folder = published(tmp_path / "files", prepared(tmp_path))
    test = folder / "basic_test.tsv"
    for text, said in (("label\ttext\n", "row 1: the header must be Source and Target"), ("", "holds no rows")):
        test.write_text(text)
        with pytest.raises(DataError, match=said):
            listops(tmp_path, source=str(folder)).load()
    test.unlink()
    with pytest.raises(DataError, match=r"cannot read .*basic_test.tsv: No such file .*set task.source"):
        listops(tmp_path, source=str(folder)).load()


def test_impossible_expressions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no length is above task.above = 9 and below task.below = 10"):
        listops(tmp_path, above=9, below=10)
    for above, below, found in ((1, 5, 400), (30, 40, 0)):
        with pytest.raises(RecipeError, match=rf"brought no new expression .*: {found} of 490 are found; widen"):
            listops(tmp_path, above=above, below=below, depth=2, arguments=2, train=400).load()
    with pytest.raises(DataError, match="isn't ready"):
        listops(tmp_path).labels("train")
