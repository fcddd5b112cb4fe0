"""Language modelling on text, in bytes or byte pairs: predict the next token.

Equation: bits per byte = Σ_t −log2 p(x_{t+1} | x_1 … x_t) / bytes of the original text
Metric: bits per byte, and perplexity of tokens and words
Chance: log2 V bits a token
Floor: how often each token is met in training (add-one smoothing)
Source: Shannon, Prediction and Entropy of Printed English, Bell System Technical Journal 30, 1951
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import tokenizers
import torch

from eos.config import option, options
from eos.errors import DataError, RecipeError
from eos.tasks.corpus.corpus import Corpus, make_corpus, restore_corpus
from eos.tasks.corpus.source import open_source
from eos.tasks.corpus.store import TokenArray
from eos.tasks.task import IGNORED, AbstractTask, Batch, Counts, Split, Standard


class TextTask(AbstractTask):
    """Predict the next token of a text.

    Each document is led by the end-of-text token, where ``reset`` is true: from an empty memory it predicts the
    document's first token, and the document's last token predicts it. So every byte of a part is a target, and is
    counted once. Random windows train; contiguous ones, each begun with an empty memory, evaluate.
    """

    @options
    class Options:
        """Which text, how it becomes tokens, and how long a row is."""

        source: str | None = option(
            None, "a file, folder, glob (.gz too) or hf:DATASET; null: the sources of Python's standard library"
        )
        subset: str | None = option(None, "configuration of the dataset")
        split: str = option("train", "split of the dataset; it is cut into the three parts like any text")
        column: str = option("text", "column of the dataset that holds the text")
        tokens: Literal["bytes", "bpe"] = option("bytes", "single bytes, or byte pairs learned on the training part")
        vocabulary: int = option(4096, "token ids of bpe, with the 256 bytes and the end of text", low=257, high=2**20)
        documents: bool = option(True, "the memory is emptied where a document begins; false: the text is one piece")
        length: int = option(512, "tokens T of a row", low=1)
        evaluation_length: int | None = option(
            None, "tokens of an evaluation row, at most the whole part; null: as length", low=1
        )
        context: int = option(0, "tokens that an evaluation row repeats from the one before, not scored", low=0)
        cache: str = option("~/.cache/eos", "folder that keeps tokens between runs")

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._length = options.length
        self._evaluated = options.evaluation_length or options.length
        if options.context >= self._evaluated:
            name = "length" if options.evaluation_length is None else "evaluation_length"
            raise RecipeError(
                f"task.context = {options.context} leaves nothing to score in a row of task.{name} = "
                f"{self._evaluated} tokens; choose one from 0 to {self._evaluated - 1}"
            )
        self._context = options.context
        self._made: Corpus | None = None

    def prepare(self, folder: Path) -> None:
        self._made = self._make(folder)

    def prepare_other(self, folder: Path) -> None:
        self._made = self._make(folder, other=True)

    def restore(self, folder: Path) -> None:
        self._made = restore_corpus(folder)

    def _make(self, folder: Path, *, other: bool = False) -> Corpus:
        chosen: TextTask.Options = self.options
        source = open_source(chosen.source, subset=chosen.subset, split=chosen.split, column=chosen.column)
        return make_corpus(
            source,
            folder,
            cache=Path(chosen.cache).expanduser(),
            pairs=chosen.vocabulary if chosen.tokens == "bpe" else None,
            documents=chosen.documents,
            length=self._length,
            other=other,
        )

    @property
    def _corpus(self) -> Corpus:
        if self._made is None:
            raise DataError("the text task isn't ready: call prepare(folder) or restore(folder) first")
        return self._made

    @property
    def summary(self) -> str:
        return self._corpus.summary

    @property
    def standard(self) -> Standard:
        """Chance and floor in bits a byte of the test part."""
        tokens = {part: self._corpus.files[part].open() for part in ("train", "test")}
        vocabulary = self.vocabulary
        seen, asked = (np.bincount(tokens[part], minlength=vocabulary).astype(np.float64) for part in ("train", "test"))
        size = float(asked @ self._corpus.tokenizer.measures.bytes)
        bits = -np.log2((seen + 1) / (seen.sum() + vocabulary))
        return Standard(
            metric="bits_per_byte",
            higher=False,
            chance=math.log2(vocabulary) * tokens["test"].size / size,
            floor=float(asked @ bits) / size,
            trivial="each token by how often training holds it",
        )

    @property
    def vocabulary(self) -> int:
        return self._corpus.tokenizer.vocabulary

    @property
    def length(self) -> int:
        return self._length

    def train_batch(self, seed: int, step: int, rows: int) -> Batch:
        tokens = self._corpus.files["train"].open()
        # A counter-based generator gives any step its own numbers without running through the steps before.
        draws = np.random.Philox(key=np.array([seed, step], np.uint64)).random_raw(rows)
        return self._batch(tokens, [int(draw % (tokens.size - self._length)) for draw in draws], self._length)

    def evaluation_batches(self, split: Split, rows: int) -> Iterator[Batch]:
        tokens = self._corpus.files[split].open()
        # Row by row: where it starts, and how many of its targets the rows before have scored. The last row is
        # moved back so that it is whole.
        length = min(self._evaluated, tokens.size - 1)
        last = tokens.size - 1 - length
        starts = [*range(0, last, max(length - self._context, 1)), last]
        scored = [0, *(length + before - start for before, start in pairwise(starts))]
        for first in range(0, len(starts), rows):
            yield self._batch(tokens, starts[first : first + rows], length, scored[first : first + rows])

    def _batch(self, tokens: TokenArray, starts: list[int], length: int, scored: list[int] | None = None) -> Batch:
        windows = np.stack([tokens[start : start + length + 1] for start in starts])
        rows = torch.from_numpy(windows.astype(np.int64))
        # Copies: a single row sliced is contiguous already, and marking its targets would change its inputs.
        inputs, targets = rows[:, :-1].clone(), rows[:, 1:].clone()
        for row, count in enumerate(scored or []):
            targets[row, :count] = IGNORED
        reset = inputs == self._corpus.tokenizer.end_of_text if self._corpus.packed else None
        return Batch(inputs=inputs, targets=targets, reset=reset)

    def count(self, batch: Batch) -> Counts:
        asked = (batch.targets != IGNORED).cpu()
        targets, before = batch.targets.cpu()[asked].numpy(), batch.inputs.cpu()[asked].numpy()
        pieces = self._corpus.tokenizer.measures
        # A word belongs to the token that holds its first byte: one after whitespace, or after nothing.
        words = np.where(
            pieces.ends_in_space[before], pieces.words_after_space[targets], pieces.words_after_word[targets]
        )
        return Counts(targets=int(targets.size), bytes=int(pieces.bytes[targets].sum()), words=int(words.sum()))

    def metrics(self, nats: float, counts: Counts) -> dict[str, float]:
        return {
            "bits_per_byte": _ratio(nats / math.log(2), counts.bytes),
            "nats_per_token": _ratio(nats, counts.targets),
            "perplexity_per_token": _exp(_ratio(nats, counts.targets)),
            "perplexity_per_word": _exp(_ratio(nats, counts.words)),
        }

    def encode(self, text: str) -> list[int]:
        tokenizer = self._corpus.tokenizer
        ids = [int(token) for token in tokenizer.encode(text.encode())]
        # Where documents were packed the model has learnt what follows the end-of-text token; alone it starts a text.
        return [tokenizer.end_of_text, *ids] if self._corpus.packed or not ids else ids

    def tokenizer(self) -> tokenizers.Tokenizer:
        return self._corpus.tokenizer.shared()

    def decode(self, ids: list[int]) -> str:
        return self._corpus.tokenizer.decode(ids)


def _ratio(nats: float, count: int) -> float:
    """Nats a unit; not a number when nothing was counted."""
    return nats / count if count else math.nan


def _exp(nats: float) -> float:
    """exp, infinite where a double is too small for it (a model that has diverged)."""
    return math.exp(nats) if not nats > 709 else math.inf
