"""State tracking, formal languages and simple memory: every rule against a row-by-row evaluation in plain Python."""

import math
from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch

from eos import registry
from eos.cli.recipes import load_run_recipe
from eos.errors import RecipeError
from eos.tasks.dyck import DyckTask
from eos.tasks.formal.groups import elements, products
from eos.tasks.formal.states import Span
from eos.tasks.generated.task import AbstractGeneratedTask, Length
from eos.tasks.induction_heads import InductionHeadsTask
from eos.tasks.modular_arithmetic import ModularArithmeticTask
from eos.tasks.needle import NeedleTask
from eos.tasks.parity import ParityTask
from eos.tasks.task import IGNORED, Batch
from eos.tasks.word_problem import WordProblemTask
from eos.training.run import make_task

#: A statistic of so many standard deviations from its expectation is met once in 15,000 runs; seeds are fixed.
DEVIATIONS = 4.0

RECIPES = (
    "parity",
    "modular_arithmetic",
    "modular_arithmetic_brackets",
    "word_problem_a5",
    "word_problem_s5",
    "word_problem_z60",
    "dyck",
    "induction_heads",
    "needle",
)


def spans(length: int, shortest: int | None = None, rows: int = 300) -> dict[str, list[Span]]:
    return {part: [Span(length=length, shortest=shortest, rows=rows)] for part in ("train", "validation", "test")}


def lengths(length: int, rows: int = 300) -> dict[str, list[Length]]:
    return {part: [Length(length=length, rows=rows)] for part in ("train", "validation", "test")}


def parity(length: int = 20, shortest: int | None = None, **chosen: Any) -> ParityTask:
    return ParityTask(ParityTask.Options(**spans(length, shortest), **chosen))


def arithmetic(length: int = 20, shortest: int | None = None, **chosen: Any) -> ModularArithmeticTask:
    return ModularArithmeticTask(ModularArithmeticTask.Options(**spans(length, shortest), **chosen))


def word_problem(length: int = 12, shortest: int | None = None, **chosen: Any) -> WordProblemTask:
    return WordProblemTask(WordProblemTask.Options(**spans(length, shortest), **chosen))


def dyck(length: int = 40, **chosen: Any) -> DyckTask:
    return DyckTask(DyckTask.Options(**lengths(length), **chosen))


def heads(length: int = 24, **chosen: Any) -> InductionHeadsTask:
    return InductionHeadsTask(InductionHeadsTask.Options(**lengths(length), **chosen))


def needle(**chosen: Any) -> NeedleTask:
    return NeedleTask(
        NeedleTask.Options(**{"train": [40], "validation": [40], "test": [40, 41], "held_out": 300, **chosen})
    )


def rows_of(batch: Batch) -> Iterator[tuple[list[int], list[int]]]:
    assert batch.targets.shape == batch.inputs.shape
    return zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True)


def test_parity_counts_the_ones_so_far() -> None:
    for row, answers in rows_of(parity().train_batch(1, 0, 200)):
        assert row[0] == 2
        assert answers == [IGNORED] + [row[1 : place + 1].count(1) % 2 for place in range(1, 20)]


def test_parity_asks_held_out_rows_at_their_last_positions_alone() -> None:
    task = parity(20, 9, last=8)
    trained, held = task.train_batch(1, 0, 300), next(task.evaluation_batches("test", 300))
    assert {sum(answer != IGNORED for answer in answers) for _, answers in rows_of(trained)} == set(range(8, 20))
    ends = set()
    for row, answers in rows_of(held):
        asked = [place for place, answer in enumerate(answers) if answer != IGNORED]
        ends.add(asked[-1])
        assert asked == list(range(asked[-1] - 7, asked[-1] + 1))
        assert not any(row[asked[-1] + 1 :])
        assert answers[asked[0]] == row[1 : asked[0] + 1].count(1) % 2
    assert ends == set(range(8, 20))
    last = parity(20, 9, last=1, ask="last").train_batch(1, 0, 300)
    assert ((last.targets != IGNORED).sum(1) == 1).all()


def evaluated(tokens: list[int], modulus: int) -> int:
    """What Python makes of an expression."""
    text = "".join(str(token) if token < modulus else "+-*()="[token - modulus] for token in tokens)
    value: int = eval(text) % modulus  # noqa: S307  (digits and signs of our own)
    return value


@pytest.mark.parametrize("multiplication", [True, False])
@pytest.mark.parametrize("brackets", [True, False])
def test_an_expression_has_the_value_that_python_gives_it(brackets: bool, multiplication: bool) -> None:
    chosen = {"brackets": brackets, "multiplication": multiplication, "modulus": 7, "ask": "last"}
    task = arithmetic(30, 2, **chosen)
    seen, most = set(), 0
    for row, answers in rows_of(task.train_batch(1, 0, 300)):
        end = row.index(7 + 5)
        seen.add(end + 1)
        assert answers == [IGNORED] * end + [evaluated(row[:end], 7)] + [IGNORED] * (29 - end)
        assert not any(row[end + 1 :])
        assert all(token < 10 for token in row[:end]) or brackets
        assert (9 in row[:end]) <= multiplication
        most = max(most, row.count(10))
    assert seen == set(range(2, 31, 1 if brackets else 2))
    assert (most > 3) == brackets


def test_every_number_of_an_expression_without_brackets_ends_one() -> None:
    for row, answers in rows_of(arithmetic(12, ask="every").train_batch(1, 0, 100)):
        for place, answer in enumerate(answers[:-1]):
            assert answer == (IGNORED if place % 2 else evaluated(row[: place + 1], 5))
        assert answers[-1] == answers[-2]


def test_brackets_are_split_anywhere() -> None:
    """Of n tokens the left part has 1 … n − 4, each as likely: 1 … 5 of nine."""
    task = arithmetic(10, brackets=True, ask="last", multiplication=False, modulus=5)
    found = np.zeros(5)
    for row, _ in rows_of(torch_batches(task, 1500)):
        depth = 0
        for place, token in enumerate(row[1:8], 1):
            depth += (token == 8) - (token == 9)
            # −d begins with a sign that is no operator
            if depth == 0 and token in (5, 6) and place > 1:
                found[place - 2] += 1
                break
    assert np.abs(found - 300).max() <= DEVIATIONS * math.sqrt(1500 * 0.2 * 0.8)


def torch_batches(task: AbstractGeneratedTask[Any], rows: int) -> Batch:
    """Training batches of 300 rows as one."""
    batches = [task.train_batch(seed, 0, 300) for seed in range(rows // 300)]
    return Batch(inputs=torch.cat([b.inputs for b in batches]), targets=torch.cat([b.targets for b in batches]))


def even(permutation: tuple[int, ...]) -> bool:
    """By its cycles: one of an odd number of letters is even."""
    left, swaps = set(range(5)), 0
    while left:
        start = left.pop()
        at = permutation[start]
        while at != start:
            left.remove(at)
            at, swaps = permutation[at], swaps + 1
    return swaps % 2 == 0


@pytest.mark.parametrize(("group", "size"), [("A5", 60), ("S5", 120)])
def test_the_state_of_permutations_is_their_product(group: str, size: int) -> None:
    every = [p for p in permutations(range(5)) if group == "S5" or even(p)]
    assert [tuple(p) for p in elements(group).tolist()] == every
    assert len(every) == size
    for row, answers in rows_of(word_problem(group=group).train_batch(1, 0, 100)):
        state: tuple[int, ...] = tuple(range(5))
        for token, answer in zip(row, answers, strict=True):
            state = tuple(state[every[token][letter]] for letter in range(5))
            assert every[answer] == state


def test_the_state_of_z60_is_a_sum() -> None:
    for row, answers in rows_of(word_problem(group="Z60").train_batch(1, 0, 100)):
        assert answers == [sum(row[: place + 1]) % 60 for place in range(12)]


@pytest.mark.parametrize("group", ["A5", "S5", "Z60"])
def test_products_are_those_of_a_group(group: str) -> None:
    table, size = products(group), len(elements(group))
    every = np.arange(size)
    assert (np.sort(table, 0) == every[:, None]).all()
    assert (np.sort(table, 1) == every).all()
    assert (table[0] == every).all()
    assert (table[table] == table[:, table]).all()
    assert (table == table.T).all() == (group == "Z60")


@pytest.mark.parametrize(("group", "moved", "count"), [("S5", 2, 11), ("A5", 3, 21), ("S5", 3, 31), ("A5", None, 60)])
def test_tokens_move_few_letters(group: str, moved: int | None, count: int) -> None:
    batch = word_problem(40, group=group, moved=moved).train_batch(1, 0, 300)
    assert len(batch.inputs.unique()) == count
    # what swaps reach is everything
    assert len(batch.targets.unique()) == len(elements(group))


@pytest.mark.parametrize("kinds", [1, 3])
def test_the_bracket_that_closes_is_the_one_opened_last_of_those_that_are_open(kinds: int) -> None:
    asked = 0
    for row, answers in rows_of(dyck(kinds=kinds, depth=4).train_batch(1, 0, 300)):
        stack: list[int] = []
        for place, token in enumerate(row):
            if token < kinds:
                stack.append(token)
            else:
                assert stack.pop() == token - kinds
            assert len(stack) <= 4
            answer = answers[place]
            if place + 1 < len(row):
                assert answer == (row[place + 1] if row[place + 1] >= kinds else IGNORED)
            elif answer != IGNORED:
                assert answer == kinds + stack[-1]
            asked += answer != IGNORED
    assert asked > 300 * 40 / 4


def test_a_language_model_of_brackets_is_graded_on_those_that_close() -> None:
    task = dyck(kinds=3, ask="next")
    trained, held = task.train_batch(1, 0, 100), next(task.evaluation_batches("test", 100))
    assert torch.equal(trained.targets[:, :-1], trained.inputs[:, 1:])
    assert (trained.targets != IGNORED).all()
    assert ((held.targets == IGNORED) | (held.targets >= 3)).all()
    assert (held.targets == IGNORED).any()


def test_brackets_open_half_the_time_between_bounds() -> None:
    """A reflected walk: away from the bounds each step is a coin's."""
    rises, steps = 0, 0
    for row, _ in rows_of(torch_batches(dyck(kinds=2, depth=4), 900)):
        depth = 0
        for token in row:
            if 0 < depth < 4:
                rises, steps = rises + (token < 2), steps + 1
            depth += 1 if token < 2 else -1
    assert abs(rises - steps / 2) <= DEVIATIONS * math.sqrt(steps / 4)


def test_induction_asks_what_followed_the_special_token() -> None:
    places = np.zeros(22)
    for row, answers in rows_of(torch_batches(heads(), 2100)):
        assert row.count(15) == 2
        assert row[-1] == 15
        first = row.index(15)
        assert answers == [IGNORED] * 23 + [row[first + 1]]
        places[first] += 1
    assert np.abs(places - 2100 / 22).max() <= DEVIATIONS * math.sqrt(2100 / 22)


@pytest.mark.parametrize("others", [0, 3, 18])
def test_a_needle_is_found_at_its_depth(others: int) -> None:
    task = needle(others=others, keys=24, values=8, filler=10, depths=[0, 29, 100], test=[40, 41])
    cells = {batch.group: batch for batch in task.evaluation_batches("test", 300)}
    wanted = {"40_depth_0": 0, "40_depth_29": 11, "40_depth_100": 37}
    assert set(cells) == wanted.keys() | {"41_depth_0", "41_depth_29", "41_depth_100"}
    for group, place in (wanted | {"41_depth_29": 11, "41_depth_100": 38}).items():
        for row, answers in rows_of(cells[group]):
            assert answers[:-1] == [IGNORED] * (len(row) - 1)
            assert 10 <= row[-1] < 34
            assert row.index(row[-1]) == place
            assert row.count(row[-1]) == 2
            assert answers[-1] == row[place + 1] >= 34
            keys = [at for at, token in enumerate(row[:-1]) if 10 <= token < 34]
            assert len(keys) == others + 1 == len({row[at] for at in keys})
            assert all(row[at + 1] >= 34 for at in keys)
            assert sum(token >= 34 for token in row) == others + 1


def test_needles_of_training_are_anywhere() -> None:
    batch = torch_batches(needle(), 2100)
    found = (batch.inputs == batch.inputs[:, -1:]).int().argmax(1)
    counts = torch.bincount(found, minlength=38)
    assert len(counts) == 38
    assert (counts - 2100 / 38).abs().max() <= DEVIATIONS * math.sqrt(2100 / 38)


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in ("dyck", "needle")])
def test_answers_are_uniform(name: str) -> None:
    """Of the states that are graded; products and brackets leave a lean to zero, which their floor measures."""
    task = make_task(load_run_recipe([f"task={name}", "model=gla", *PLAIN.get(name, [])]))
    graded = torch.cat([batch.targets[:, -1] for batch in task.evaluation_batches("test", 1024)])
    graded = graded[graded != IGNORED]
    counts = torch.bincount(graded)
    expected = len(graded) / len(counts)
    assert len(counts) == {"parity": 2, "induction_heads": 15}.get(name, round(1 / task.standard.chance))
    assert (counts - expected).abs().max() <= DEVIATIONS * math.sqrt(expected)


#: Rows of one length each, of sums alone; and fewer rows, whose floor is found sooner.
PLAIN = {
    "dyck": ["task.test=[{length: 128, rows: 256}]"],
    "modular_arithmetic": ["task.test=[{length: 40, rows: 3000}]", "task.multiplication=false"],
    "modular_arithmetic_brackets": ["task.test=[{length: 40, rows: 3000}]"],
}


TASKS: dict[str, Callable[[], AbstractGeneratedTask[Any]]] = {
    "parity": parity,
    "arithmetic": arithmetic,
    "brackets": lambda: arithmetic(20, 3, brackets=True, ask="last"),
    "word_problem": word_problem,
    "dyck": dyck,
    "heads": heads,
    "needle": needle,
}


@pytest.mark.parametrize("name", TASKS)
def test_a_batch_is_a_function_of_seed_and_step(name: str) -> None:
    once, again = TASKS[name](), TASKS[name]()
    left, right = once.train_batch(5, 7, 16), again.train_batch(5, 7, 16)
    assert torch.equal(left.inputs, right.inputs)
    assert torch.equal(left.targets, right.targets)
    assert left.inputs.dtype == left.targets.dtype == torch.int64
    assert 0 <= left.inputs.min() <= left.inputs.max() < once.vocabulary
    assert IGNORED <= left.targets.min() <= left.targets.max() < once.vocabulary
    for other in (once.train_batch(5, 8, 16), once.train_batch(6, 7, 16), next(once.evaluation_batches("test", 16))):
        assert not torch.equal(left.inputs, other.inputs[:, : left.inputs.shape[1]])


@pytest.mark.parametrize("name", TASKS)
def test_held_out_rows_do_not_depend_on_the_rows_of_a_batch(name: str) -> None:
    for field in ("inputs", "targets"):
        wide, narrow = (
            [row for b in TASKS[name]().evaluation_batches("test", rows) for row in getattr(b, field).tolist()]
            for rows in (300, 7)
        )
        assert wide == narrow


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_holds_a_model_against_chance_and_floor(name: str) -> None:
    task = make_task(load_run_recipe([f"task={name}", "model=gla", *PLAIN.get(name, [])]))
    standard = task.standard
    assert standard.metric == "accuracy"
    assert 0 < standard.chance <= standard.floor < 0.7
    groups = [batch.group for batch in task.evaluation_batches("test", 1024)]
    assert (len(set(groups)) >= 2) or name in PLAIN


def test_every_length_is_graded_by_itself() -> None:
    test = [Span(length=10, rows=20), Span(length=20, rows=20), Span(length=20, shortest=12, rows=20)]
    options = ParityTask.Options(train=test, validation=test[:1], test=test)
    task = ParityTask(options)
    assert [batch.group for batch in task.evaluation_batches("test", 64)] == ["10", "20", "12_to_20"]
    assert [batch.group for batch in task.evaluation_batches("validation", 64)] == [None]


def test_floors_are_what_the_trivial_method_gets_right() -> None:
    """Of closing brackets half follow the one they close, and of the rest one in k is of the same kind, by chance."""
    assert abs(dyck(400, kinds=4, depth=200).standard.floor - (0.5 + 0.5 / 4)) < 0.05
    # of twelve products the first is its latest element, of the others one in sixty
    assert abs(word_problem().standard.floor - (1 + 11 / 60) / 12) <= DEVIATIONS * math.sqrt(1 / 60 / 3300)
    hay, shares = needle(held_out=2000, others=2, values=8), []
    for batch in hay.evaluation_batches("test", 2000):
        values = batch.inputs[batch.inputs >= hay.vocabulary - 8].view(-1, 3)
        shares.append((values == batch.targets[:, -1:]).double().mean())
    assert abs(hay.standard.floor - float(torch.stack(shares).mean())) <= DEVIATIONS * math.sqrt(1 / 16 / 20_000)
    asked = arithmetic(40, multiplication=True, ask="last", modulus=2).standard.floor
    assert 0.5 <= asked <= 0.5 + DEVIATIONS * math.sqrt(0.25 / 300)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: parity(1), "task.train: a row of this task has at least 2 tokens; got 1 to 1"),
        (lambda: parity(10, 12), "task.train: shortest must be at most the length 10, got 12"),
        (lambda: ParityTask(ParityTask.Options(train=[], validation=[], test=[])), "task.train needs at least one seg"),
        (lambda: arithmetic(21), "has at least 2 tokens, and 2 more, and so on; got 21 to 21"),
        (lambda: arithmetic(20, 3), "got 3 to 20"),
        (lambda: arithmetic(20, brackets=True), "an expression has a value at its end only; set task.ask=last"),
        (lambda: word_problem(group="A5", moved=2), "task.moved = 2: in A5 whatever moves a letter moves at least 3"),
        (lambda: word_problem(group="Z60", moved=2), "in Z60 whatever moves a letter moves at least 60"),
        (lambda: dyck(3, depth=4), "task.train: a row of this task has at least 4 tokens, got 3"),
        (lambda: heads(2), "task.train: a row of this task has at least 3 tokens, got 2"),
        (lambda: DyckTask(DyckTask.Options(train=[], validation=[], test=[])), "task.train needs at least one segment"),
        (lambda: needle(others=16), "task.others = 16 need 17 distinct keys, got keys = 16"),
        (lambda: needle(test=[9]), "task.test lists lengths of at least 10 tokens, for 4 needles and the question"),
        (lambda: needle(validation=[]), "task.validation lists lengths of at least 10 tokens"),
        (lambda: needle(depths=[0, 101]), r"task.depths lists percents from 0 to 100, at least one; got \[0, 101\]"),
        (lambda: needle(depths=[]), "task.depths lists percents"),
    ],
)
def test_impossible_rows_are_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        make()


def test_recipes_of_tasks_name_tasks_that_are_there() -> None:
    assert set(RECIPES) <= set(registry.recipes("task"))
    named = {"parity", "modular_arithmetic", "word_problem", "dyck", "induction_heads", "needle"}
    assert named <= set(registry.tasks())
