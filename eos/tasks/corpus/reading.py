"""What a recipe says of a text, for every task on one, and the text made ready as it says."""

from pathlib import Path
from typing import Literal

from eos.config import option, options
from eos.errors import RecipeError
from eos.tasks.corpus.corpus import Corpus, Tokens, make_corpus
from eos.tasks.corpus.source import open_source


@options
class AbstractTextOptions:
    """Which text, and how it becomes tokens."""

    source: str | None = option(
        None, "a file, folder, glob (.gz too) or hf:DATASET; null: the sources of Python's standard library"
    )
    subset: str | None = option(None, "configuration of the dataset")
    split: str = option("train", "split of the dataset, where parts are cut")
    column: str = option("text", "column of the dataset that holds the text")
    parts: Literal["cut", "given"] = option(
        "cut",
        "cut: the text is cut, 85, 5 and 10 %; given: files whose names hold train, valid and test, or these splits",
    )
    lines: bool = option(
        False, "as WikiText: the end of a line counts as a word, and the rows of a dataset are the lines of one text"
    )
    tokens: Tokens = option(
        "bytes",
        "single bytes; or, learned on the training part: byte pairs (bpe), or words between spaces, and line ends",
    )
    vocabulary: int = option(4096, "token ids of bpe, with the 256 bytes and the end of text", low=257, high=2**20)
    documents: bool = option(
        True, "a document begins with an end-of-text token and an empty memory; false: the text is one piece"
    )
    length: int = option(512, "tokens T of a row", low=1)
    cache: str = option("~/.cache/eos", "folder that keeps tokens between runs")


def check_text(options: AbstractTextOptions) -> None:
    """Refuse options that exclude each other.

    Raises:
        RecipeError: they do.
    """
    if options.tokens == "words" and options.documents:
        raise RecipeError(
            "task.tokens=words reads a text as one piece, in lines, and task.documents is true; "
            "set task.documents=false"
        )
    if options.parts == "given" and options.source is None:
        raise RecipeError(
            "task.parts=given needs a text in three parts: name a folder, a glob or hf:DATASET with task.source"
        )


def read_text(options: AbstractTextOptions, folder: Path, *, other: bool = False) -> Corpus:
    """The text of a recipe as tokens.

    Arguments:
        folder: the run's.
        other: the text need not be the run's; see :func:`make_corpus`.

    Raises:
        DataError: the text is missing or cannot be used.
    """
    source = open_source(
        options.source,
        subset=options.subset,
        split=options.split,
        column=options.column,
        given=options.parts == "given",
        lines=options.lines,
        strict=options.tokens == "words",
    )
    return make_corpus(
        source,
        folder,
        cache=Path(options.cache).expanduser(),
        tokens=options.tokens,
        vocabulary=options.vocabulary,
        documents=options.documents,
        length=options.length,
        other=other,
    )
