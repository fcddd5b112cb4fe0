"""Classes of texts read as bytes, such as the mood of a film review (LRA Text).

Equation: y(x_1 … x_T), x_t a byte of the text, T at most the longest that is read
Metric: accuracy over texts
Chance: 1 / classes
Floor: how often training holds each byte in each class (naive Bayes, add-one smoothing)
Source: arXiv:2011.04006, section 2.2.2; IMDb reviews: Maas et al., Learning Word Vectors for Sentiment Analysis, 2011
"""

import numpy as np
from numpy.typing import NDArray

from eos.config import option, options
from eos.errors import DataError
from eos.tasks.cache import Advance
from eos.tasks.lra.labelled_text import Columns, LabelledText, open_labelled
from eos.tasks.lra.rows import Ragged, Rows, RowWriter, cached_rows, cut_apart
from eos.tasks.lra.task import AbstractRaggedTask, RaggedOptions
from eos.tasks.task import Standard


class ByteClassificationTask(AbstractRaggedTask):
    """A byte is the id one above it, and 0 fills. Texts are as they stand, markup and all, cut at ``longest`` bytes.

    The published figures were validated on the test part (``validation=0``); by default a tenth of the training part
    validates, always the same.
    """

    @options
    class Options(RaggedOptions):
        """Which texts, and what a model reads of them."""

        source: str | None = option(
            None,
            "a folder train/CLASS/*.txt with test beside it (aclImdb as published), a folder with train.* and test.*, "
            "one table (.tsv or .csv with a header, or .jsonl), or hf:DATASET",
        )
        subset: str | None = option(None, "configuration of the dataset")
        text: str = option("text", "column of the text")
        label: str = option("label", "column of the class, a whole number from 0")
        classes: int = option(2, "how many classes there are", low=2)
        validation: float = option(
            0.1,
            "share of the training rows to validate on, where the source has no such part; 0: the test part validates",
            low=0,
            high=0.9,
        )
        test: float = option(0.1, "share of the rows to test on, where the source has no such part", above=0, high=0.9)
        longest: int = option(4000, "bytes T of a text that a model sees, from its beginning", low=1)

    def read(self) -> dict[str, Rows]:
        chosen: ByteClassificationTask.Options = self.options
        columns = Columns(text=chosen.text, label=chosen.label, classes=chosen.classes)
        source = open_labelled(chosen.source, columns, subset=chosen.subset)
        identity = {
            "task": "byte_classification",
            "code": _CODE,
            "longest": chosen.longest,
            "classes": chosen.classes,
            "source": source.identity,
        }

        def make(advance: Advance) -> dict[str, Rows]:
            return {part: _read(source, part, chosen.longest, advance) for part in source.parts}

        what = f"reading {source.description} (parts)"
        parts = cached_rows(chosen.cache, identity, make, what=what, of=len(source.parts))
        shares = {"test": chosen.test, "validation": chosen.validation}
        wanted = {part: share for part, share in shares.items() if part not in parts}
        if wanted:
            whole = parts["train"]
            pieces = cut_apart(len(whole.labels), wanted, where=source.description)
            parts |= {part: whole.some(rows) for part, rows in pieces.items()}
        return {"validation": parts["test"], **parts}

    @property
    def classes(self) -> int:
        return int(self.options.classes)

    @property
    def vocabulary(self) -> int:
        return 257

    @property
    def standard(self) -> Standard:
        seen = np.zeros((self.classes, 256))
        train = self.labels("train")
        np.add.at(seen, train, _histograms(self.rows("train").documents[0]))
        rates = np.log((seen + 1) / (seen.sum(1, keepdims=True) + 256))
        prior = np.log(np.maximum(np.bincount(train, minlength=self.classes), 1) / len(train))
        guess = (_histograms(self.rows("test").documents[0]) @ rates.T + prior).argmax(1)
        return Standard(
            metric="accuracy",
            chance=1 / self.classes,
            floor=float((guess == self.labels("test")).mean()),
            trivial="how often training holds each byte in each class",
        )


_CODE = 1


def _read(source: LabelledText, part: str, longest: int, advance: Advance) -> Rows:
    writer = RowWriter(documents=1, longest=longest)
    for text in source.read(part):
        writer.add(text.label, text.data)
    rows = writer.finish()
    if not rows.labels.size:
        raise DataError(f"{source.description}: the {part} part holds no rows")
    advance(1)
    return rows


def _histograms(document: Ragged) -> NDArray[np.float64]:
    """How often each byte stands in every row [rows, 256]."""
    counts = [np.bincount(document.row(index), minlength=256) for index in range(len(document.lengths))]
    return np.stack(counts).astype(np.float64)
