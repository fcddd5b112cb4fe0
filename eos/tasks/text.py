"""Language modelling on text, in bytes, byte pairs or words: predict the next token.

Equation: bits per byte = Σ_t −log2 p(x_{t+1} | x_1 … x_t) / bytes of the original text
Metric: bits per byte, and perplexity of tokens and words; of words alone where these are the tokens
Chance: log2 V bits a token
Floor: how often each token is met in training (add-one smoothing)
Source: Shannon, Prediction and Entropy of Printed English, Bell System Technical Journal 30, 1951
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tokenizers
import torch

from eos.config import option, options
from eos.errors import DataError, RecipeError
from eos.tasks.corpus.corpus import Corpus, restore_corpus
from eos.tasks.corpus.reading import AbstractTextOptions, check_text, read_text
from eos.tasks.corpus.store import TokenArray
from eos.tasks.corpus.tokenizer import WordTokenizer
from eos.tasks.task import IGNORED, AbstractTask, Batch, Counts, Split, Standard


class TextTask(AbstractTask):
    """Predict the next token of a text.

    Each document is led by the end-of-text token, where ``reset`` is true: from an empty memory it predicts the
    document's first token, and the document's last token predicts it. So every byte of a part is a target, and is
    counted once. Random windows train; contiguous ones, each begun with an empty memory, evaluate.
    """

    @options
    class Options(AbstractTextOptions):
        """Which text, how it becomes tokens, and how long a row is."""

        evaluation_length: int | None = option(
            None, "tokens of an evaluation row, at most the whole part; null: as length", low=1
        )
        context: int = option(0, "tokens that an evaluation row repeats from the one before, not scored", low=0)

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        check_text(options)
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
        self._made = read_text(self.options, folder)

    def prepare_other(self, folder: Path) -> None:
        self._made = read_text(self.options, folder, other=True)

    def restore(self, folder: Path) -> None:
        self._made = restore_corpus(folder)

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
        """Chance and floor in bits a byte of the test part; as perplexity of its words where these are the tokens."""
        tokens = {part: self._corpus.files[part].open() for part in ("train", "test")}
        vocabulary = self.vocabulary
        seen, asked = (np.bincount(tokens[part], minlength=vocabulary).astype(np.float64) for part in ("train", "test"))
        nats = -np.log((seen + 1) / (seen.sum() + vocabulary))
        # The first token of a part is no target.
        asked[tokens["test"][0]] -= 1
        knows_nothing = math.log(vocabulary) * float(asked.sum())
        counts, trivial = self._counts(asked), float(asked @ nats)
        metric = "perplexity_per_word" if self._words else "bits_per_byte"
        return Standard(
            metric=metric,
            higher=False,
            chance=self.metrics(knows_nothing, counts)[metric],
            floor=self.metrics(trivial, counts)[metric],
            trivial="each token by how often training holds it",
        )

    def _counts(self, asked: npt.NDArray[np.float64]) -> Counts:
        """Of targets by how often each is asked [V]; words as each begins them by itself."""
        pieces = self._corpus.tokenizer.measures
        words = pieces.words_after_space + (pieces.lines if self.options.lines else 0)
        return Counts(targets=int(asked.sum()), bytes=int(asked @ pieces.bytes), words=int(asked @ words))

    @property
    def _words(self) -> bool:
        """Whether tokens are words; the run's are, whatever the options say of another text."""
        return isinstance(self._corpus.tokenizer, WordTokenizer)

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
        if self.options.lines:
            words = words + pieces.lines[targets]
        return Counts(targets=int(targets.size), bytes=int(pieces.bytes[targets].sum()), words=int(words.sum()))

    def metrics(self, nats: float, counts: Counts) -> dict[str, float]:
        # Words do not keep the spaces between them, so that the bytes of a text are not known.
        bits = {} if self._words else {"bits_per_byte": _ratio(nats / math.log(2), counts.bytes)}
        return {
            **bits,
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
