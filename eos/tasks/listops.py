"""ListOps: the value of a nested expression of minima, maxima, medians and sums, among ten.

Equation: [MAX 4 [MIN 2 7 ] [SM 8 9 ] 0 ] is 7; MED is the median, a half of it dropped, SM the sum modulo 10
Metric: accuracy over expressions
Chance: 1/10, one of the digits
Floor: the most common value of expressions that begin with the same operator
Source: arXiv:2011.04006, section 2.2.1; its public generator, lra_benchmarks/data/listops.py; arXiv:1804.06028
"""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eos.config import option, options
from eos.errors import DataError, RecipeError
from eos.tasks.cache import Advance
from eos.tasks.lra.expressions import VOCABULARY, Grammar, draw, evaluate, faults, read
from eos.tasks.lra.files import Stamp, lines_of, stamp
from eos.tasks.lra.rows import Rows, RowWriter, cached_rows
from eos.tasks.lra.task import AbstractRaggedTask, RaggedOptions
from eos.tasks.task import Standard


class ListopsTask(AbstractRaggedTask):
    """Ids: 0 fills, 1 … 10 are the digits, 11 … 14 the operators MIN, MAX, MED and SM, 15 the close.

    Expressions are drawn as the published generator draws them: a node is an operator of 2 … ``arguments`` arguments
    with chance ``branching``, else a digit; those of the wrong length are thrown away, and so are those that stand
    among the rows already. Validation and test are drawn first, so that they do not depend on the size of the rest;
    the data do not depend on the run's seed, which decides the order of every epoch. Parentheses are left out.
    """

    first = 0

    @options
    class Options(RaggedOptions):
        """Which expressions, how many, and what a model reads of them."""

        source: str | None = option(
            None, "a folder with basic_train.tsv, basic_val.tsv and basic_test.tsv, as published; null: drawn anew"
        )
        depth: int = option(10, "levels of a tree, of which the last has digits alone", low=2, high=64)
        arguments: int = option(10, "most arguments of an operator; each number from 2 is equally likely", low=2)
        branching: float = option(0.25, "chance that a node is an operator", above=0, high=1)
        above: int = option(500, "an expression has more tokens than this", low=0)
        below: int = option(2000, "an expression has fewer tokens than this", low=2)
        train: int = option(96_000, "training rows that are drawn", low=1)
        validation: int = option(2000, "validation rows that are drawn", low=1)
        test: int = option(2000, "test rows that are drawn", low=1)
        longest: int = option(2000, "tokens T at most that a model sees of a row, from its beginning", low=1)

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        if options.below - options.above < 2:
            raise RecipeError(
                f"no length is above task.above = {options.above} and below task.below = {options.below}; "
                "set them at least 2 apart"
            )

    def read(self) -> dict[str, Rows]:
        source = self.options.source
        return self._drawn() if source is None else self._published(Path(source).expanduser())

    def _drawn(self) -> dict[str, Rows]:
        chosen: ListopsTask.Options = self.options
        grammar = Grammar(
            depth=chosen.depth,
            arguments=chosen.arguments,
            branching=chosen.branching,
            above=chosen.above,
            below=chosen.below,
        )
        sizes = {"validation": chosen.validation, "test": chosen.test, "train": chosen.train}
        identity = {"task": "listops", "code": _CODE, "longest": chosen.longest, "sizes": sizes, **vars(grammar)}

        def make(advance: Advance) -> dict[str, Rows]:
            expressions = _distinct(grammar, sum(sizes.values()), advance)
            return {part: _written(expressions, size, chosen.longest) for part, size in sizes.items()}

        return cached_rows(chosen.cache, identity, make, what="drawing expressions", of=sum(sizes.values()))

    def _published(self, folder: Path) -> dict[str, Rows]:
        chosen: ListopsTask.Options = self.options
        files = {part: stamp(folder / f"basic_{name}.tsv", option="task.source") for part, name in _FILES.items()}
        identity = {
            "task": "listops",
            "code": _CODE,
            "longest": chosen.longest,
            "files": {part: file.identity for part, file in files.items()},
        }

        def make(advance: Advance) -> dict[str, Rows]:
            return {part: _checked(file, chosen.longest, advance) for part, file in files.items()}

        size = sum(file.size for file in files.values())
        return cached_rows(chosen.cache, identity, make, what=f"reading {folder} (bytes)", of=size)

    @property
    def classes(self) -> int:
        return 10

    @property
    def vocabulary(self) -> int:
        return VOCABULARY

    @property
    def length(self) -> int:
        longest = int(self.options.longest)
        return longest if self.options.source is not None else min(longest, int(self.options.below) - 1)

    @property
    def standard(self) -> Standard:
        """Against who reads an expression's first token alone."""
        first = {part: self._first(part) for part in ("train", "test")}
        counts = np.zeros((VOCABULARY, self.classes), np.int64)
        np.add.at(counts, (first["train"], self.labels("train")), 1)
        guess = counts.argmax(1)[first["test"]]
        return Standard(
            metric="accuracy",
            chance=1 / self.classes,
            floor=float((guess == self.labels("test")).mean()),
            trivial="the most common value of expressions that begin with the same operator",
        )

    def _first(self, part: str) -> NDArray[np.uint8]:
        (document,) = self.rows(part).documents
        return np.asarray(document.tokens[document.starts])


_CODE = 1
_BLOCK = 4096
#: Blocks of trees without one row among them that is new, after which no more are drawn.
_PATIENCE = 64
_FILES = {"train": "train", "validation": "val", "test": "test"}
#: Bytes of a file, at least, whose expressions are evaluated at once.
_CHUNK = 1 << 23


def _distinct(grammar: Grammar, count: int, advance: Advance) -> Iterator[tuple[int, bytes]]:
    """The first ``count`` expressions that differ, each with its value.

    Raises:
        RecipeError: there are not so many.
    """
    generator = np.random.Generator(np.random.Philox(key=np.array([0, 0], np.uint64)))
    known: set[bytes] = set()
    idle = 0
    while len(known) < count:
        tokens, lengths = draw(generator, grammar, _BLOCK)
        before = len(known)
        values = evaluate(tokens, lengths)
        ends = np.cumsum(lengths)
        flat = tokens.tobytes()
        for value, end, length in zip(values.tolist(), ends.tolist(), lengths.tolist(), strict=True):
            row = flat[end - length : end]
            key = blake2b(row, digest_size=16).digest()
            if key not in known and len(known) < count:
                known.add(key)
                yield value, row
        advance(len(known) - before)
        idle = 0 if len(known) > before else idle + 1
        if idle == _PATIENCE:
            raise RecipeError(
                f"{_PATIENCE * _BLOCK:,} trees in a row brought no new expression of more than {grammar.above} and "
                f"fewer than {grammar.below} tokens: {len(known):,} of {count:,} are found; widen task.above and "
                "task.below, raise task.depth, task.arguments or task.branching, or ask for fewer rows"
            )


def _written(expressions: Iterator[tuple[int, bytes]], size: int, longest: int) -> Rows:
    writer = RowWriter(documents=1, longest=longest)
    for _ in range(size):
        value, row = next(expressions)
        writer.add(value, row)
    return writer.finish()


def _checked(file: Stamp, longest: int, advance: Advance) -> Rows:
    """The rows of a published file, each of which has the value that it says.

    Raises:
        DataError: the file has another form, or a row is no expression or has another value, by its line.
    """
    writer = RowWriter(documents=1, longest=longest)
    found: list[tuple[int, int, bytes]] = []
    size = 0
    for line, text in lines_of(file):
        advance(len(text) + 1)
        if line == 1:
            if text.split(b"\t") != [b"Source", b"Target"]:
                raise DataError(f"{file.path}, row 1: the header must be Source and Target with a tab between")
            continue
        found.append((line, *_parsed(file, line, text)))
        size += len(text)
        if size >= _CHUNK:
            _add_checked(writer, file, found)
            found, size = [], 0
    _add_checked(writer, file, found)
    rows = writer.finish()
    if not rows.labels.size:
        raise DataError(f"{file.path} holds no rows")
    return rows


def _parsed(file: Stamp, line: int, text: bytes) -> tuple[int, bytes]:
    where = f"{file.path}, row {line}"
    source, tab, target = text.partition(b"\t")
    if not tab or b"\t" in target:
        raise DataError(
            f"{where}: needs an expression and its value with a tab between, has {text.count(b'	')} tabs"
        )
    if target not in _DIGITS:
        raise DataError(f"{where}: the value must be a digit from 0 to 9, got {target.decode(errors='replace')!r}")
    try:
        ids = read(source)
    except KeyError as error:
        word = error.args[0].decode(errors="replace")
        raise DataError(f"{where}: {word!r} is no digit, ], ( or ), nor one of [MIN, [MAX, [MED and [SM") from None
    if not ids:
        raise DataError(f"{where}: the expression is empty")
    return int(target), ids


_DIGITS = {str(digit).encode() for digit in range(10)}


def _add_checked(writer: RowWriter, file: Stamp, found: list[tuple[int, int, bytes]]) -> None:
    if not found:
        return
    tokens = np.frombuffer(b"".join(ids for _, _, ids in found), np.uint8)
    lengths = np.array([len(ids) for _, _, ids in found], np.int64)
    for row, why in faults(tokens, lengths):
        raise DataError(f"{file.path}, row {found[row][0]}: {why}")
    values = evaluate(tokens, lengths).tolist()
    for value, (line, label, ids) in zip(values, found, strict=True):
        if value != label:
            raise DataError(f"{file.path}, row {line}: the value is given as {label}, and the expression's is {value}")
        writer.add(label, ids)
