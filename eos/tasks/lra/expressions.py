"""Expressions of ListOps as rows of token ids: drawn at once by the thousand, evaluated, read and written as text."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.uint8]
Numbers = NDArray[np.int64]

OPERATORS = ("MIN", "MAX", "MED", "SM")
#: Ids: 0 is padding, 1 … 10 the digits, 11 … 14 the operators, 15 the close.
DIGIT, OPERATOR, CLOSE = 1, 11, 15
VOCABULARY = 16

_WORDS = [*(str(digit) for digit in range(10)), *(f"[{name}" for name in OPERATORS), "]"]
_IDS = {word.encode(): DIGIT + index for index, word in enumerate(_WORDS)}


@dataclass(frozen=True, kw_only=True)
class Grammar:
    """Which trees are drawn, and which of them are taken.

    Arguments:
        depth: levels of a tree; nodes of the last are digits.
        arguments: most that an operator has; at least two.
        branching: chance that a node above the last level is an operator.
        above, below: a tree is taken if its tokens are more, and fewer, than these.
    """

    depth: int
    arguments: int
    branching: float
    above: int
    below: int


@dataclass(frozen=True)
class _Level:
    """The nodes of one level of all trees: the children of an operator stand side by side, in the order of parents."""

    tree: Numbers
    operator: NDArray[np.bool_]
    arguments: Numbers


def draw(generator: np.random.Generator, grammar: Grammar, trees: int) -> tuple[Tokens, Numbers]:
    """Draw trees level by level, and take those of the right length, in the order they were drawn.

    A tree that is too long already is grown no further: what is taken is as if all had been grown to their ends.

    Returns:
        The tokens of the taken rows, one after the other, and the length of each.
    """
    levels: list[_Level] = []
    tree = np.arange(trees)
    # tokens that a tree has at least: those of its operators, and one for every node without one so far
    size = np.ones(trees, np.int64)
    for depth in range(1, grammar.depth + 1):
        operator = generator.random(tree.size) <= (grammar.branching if depth < grammar.depth else -1.0)
        arguments = generator.integers(2, grammar.arguments + 1, int(operator.sum()))
        levels.append(_Level(tree, operator, arguments))
        owner = tree[operator]
        size += np.bincount(owner, arguments + 1, minlength=trees).astype(np.int64)
        going = size[owner] < grammar.below
        tree = np.repeat(owner[going], arguments[going])
        if not tree.size:
            break
    taken = (size > grammar.above) & (size < grammar.below)
    return _laid_out(generator, [_only(level, taken) for level in levels], size[taken])


def _only(level: _Level, taken: NDArray[np.bool_]) -> _Level:
    keep = taken[level.tree]
    return _Level(level.tree[keep], level.operator[keep], level.arguments[keep[level.operator]])


def _laid_out(generator: np.random.Generator, levels: list[_Level], lengths: Numbers) -> tuple[Tokens, Numbers]:
    """Trees as tokens, in prefix order; digits and operators are drawn only now."""
    sizes: list[Numbers] = []
    for level in reversed(levels):
        size = np.ones(level.tree.size, np.int64)
        if level.arguments.size:
            size[level.operator] = 2 + np.add.reduceat(sizes[-1], _begins(level.arguments))
        sizes.append(size)
    tokens = np.empty(int(lengths.sum()), np.uint8)
    place = np.cumsum(lengths) - lengths
    for index, level in enumerate(levels):
        size = sizes[-1 - index]
        digits, opens = place[~level.operator], place[level.operator]
        tokens[digits] = generator.integers(DIGIT, DIGIT + 10, digits.size)
        tokens[opens] = generator.integers(OPERATOR, OPERATOR + len(OPERATORS), opens.size)
        tokens[opens + size[level.operator] - 1] = CLOSE
        if level.arguments.size:
            below = sizes[-2 - index]
            before = np.cumsum(below) - below
            first = before[_begins(level.arguments)]
            place = np.repeat(opens + 1 - first, level.arguments) + before
    return tokens, lengths


def _begins(counts: Numbers) -> Numbers:
    return np.cumsum(counts) - counts


def evaluate(tokens: Tokens, lengths: Numbers) -> Numbers:
    """The value of every row, 0 … 9; of rows that :func:`faults` finds nothing wrong with.

    MED is the median, a half of it dropped; SM the sum modulo 10.
    """
    opens, levels = _levels(tokens, lengths)
    values = tokens.astype(np.int64) - DIGIT
    items = np.flatnonzero(tokens != CLOSE)
    items = items[np.argsort(levels[items].astype(np.int16), kind="stable")]
    bounds = np.searchsorted(levels[items], np.arange(int(levels.max(initial=0)) + 2))
    for level in range(len(bounds) - 2, 0, -1):
        children = items[bounds[level] : bounds[level + 1]]
        parents = items[bounds[level - 1] : bounds[level]]
        parents = parents[opens[parents]]
        group = np.searchsorted(parents, children) - 1
        values[parents] = _applied(tokens[parents] - OPERATOR, values[children], group)
    return values[items[: bounds[1]]]


def _applied(operators: Tokens, values: Numbers, group: Numbers) -> Numbers:
    counts = np.bincount(group, minlength=operators.size)
    begins = _begins(counts)
    ordered = np.sort(group * 16 + values) & 15
    middle = (ordered[begins + (counts - 1) // 2] + ordered[begins + counts // 2]) // 2
    # in the order of OPERATORS
    found = [ordered[begins], ordered[begins + counts - 1], middle, np.add.reduceat(values, begins) % 10]
    return np.choose(operators, found)


def _levels(tokens: Tokens, lengths: Numbers) -> tuple[NDArray[np.bool_], Numbers]:
    """Where operators begin, and how many operators every token stands in; an operator and its close in those above."""
    opens = (tokens >= OPERATOR) & (tokens < CLOSE)
    after = np.cumsum(opens.astype(np.int64) - (tokens == CLOSE))
    before = np.concatenate([np.zeros(1, np.int64), after])[_begins(lengths)]
    return opens, after - opens - np.repeat(before, lengths)


def faults(tokens: Tokens, lengths: Numbers) -> Iterator[tuple[int, str]]:
    """The number of every row that is no expression, and why."""
    opens, levels = _levels(tokens, lengths)
    begins = _begins(lengths)
    close = tokens == CLOSE
    empty = np.zeros(tokens.size, np.int64)
    empty[1:] = opens[:-1] & close[1:]
    roots = ((levels == 0) & ~close).astype(np.int64)
    lowest = np.minimum.reduceat(levels, begins)
    balance = np.add.reduceat(opens.astype(np.int64) - close, begins)
    wrong = {
        "there is a ] without its operator": lowest < 0,
        "an operator is not closed": balance > 0,
        "an operator has no arguments": np.add.reduceat(empty, begins) > 0,
        "it is not one expression but several": np.add.reduceat(roots, begins) > 1,
    }
    for row in np.flatnonzero(np.any(list(wrong.values()), axis=0)):
        yield int(row), next(why for why, found in wrong.items() if found[row])


def read(text: bytes) -> bytes:
    """The ids of an expression, whose parentheses say nothing that its other words do not.

    Raises:
        KeyError: a word that is none of it.
    """
    return bytes([_IDS[word] for word in text.translate(None, b"()").split()])


def write(tokens: Tokens) -> str:
    """An expression as the published files have it: every argument, and the close, is applied to what is before it."""
    arguments: list[int] = []
    applied: list[list[str]] = [[]]
    for token in tokens.tolist():
        word = _WORDS[token - DIGIT]
        if OPERATOR <= token < CLOSE:
            applied.append([word])
            arguments.append(0)
            continue
        if token == CLOSE:
            parts, count = applied.pop(), arguments.pop()
            word = f"{'( ' * (count + 1)}{' '.join(parts)} ] )"
        if arguments:
            arguments[-1] += 1
            word += " )"
        applied[-1].append(word)
    return " ".join(applied[0])
