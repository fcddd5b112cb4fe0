"""Masked-token modelling on text: tell the tokens that are hidden from what stands on both sides of them.

Equation: of a row's tokens a share m is asked; of these 80 % are read as [MASK], 10 % as any token, 10 % as they are
Metric: accuracy, the share of asked tokens that are right; nats and perplexity of asked tokens
Chance: 1/V, one of all tokens
Floor: the share of the test part that is training's most common token
Source: arXiv:1810.04805, section 3.1 and appendix A.1
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eos.config import ModelRecipe, option, options
from eos.errors import DataError, RecipeError
from eos.models import MaskedModel
from eos.tasks.corpus.corpus import Corpus
from eos.tasks.corpus.reading import AbstractTextOptions, check_text, read_text
from eos.tasks.corpus.store import TokenArray
from eos.tasks.grading import AbstractGradedTask
from eos.tasks.task import IGNORED, Batch, Counts, Split, Standard

#: Held-out rows whose masks are drawn at once, whatever the rows of a batch.
BLOCK = 64
#: What stands in the key of the generator where training has the step.
_HELD_OUT: dict[Split, int] = {"validation": 1, "test": 2}

Tokens = NDArray[np.int64]


class MaskedTextTask(AbstractGradedTask):
    """Random windows of the text train; all contiguous ones of a held-out part, a last shorter one left out, evaluate.

    Every row asks for the same number of tokens, max(1, round(m T)), at places drawn without replacement. Held-out rows
    are masked alike in every run. The id after those of the text is [MASK]. Rows run over the ends of documents, which
    the end-of-text token shows; it is asked for like any other.
    """

    causal = False

    @options
    class Options(AbstractTextOptions):
        """Which text, and what of it is hidden."""

        share: float = option(0.15, "m: of a row's tokens so many are asked for", above=0, high=1)
        masked: float = option(0.8, "share of the asked tokens that are read as [MASK]", low=0, high=1)
        swapped: float = option(0.1, "share of the asked tokens that are read as any token", low=0, high=1)

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        check_text(options)
        if options.masked + options.swapped > 1:
            raise RecipeError(
                f"task.masked = {options.masked} and task.swapped = {options.swapped} are shares of the asked tokens; "
                "together they are at most 1"
            )
        self._asked = max(1, round(options.share * options.length))
        self._made: Corpus | None = None

    def prepare(self, folder: Path) -> None:
        self._made = read_text(self.options, folder)

    def prepare_other(self, folder: Path) -> None:
        self._made = read_text(self.options, folder, other=True)

    @property
    def _corpus(self) -> Corpus:
        if self._made is None:
            raise DataError("the masked text task isn't ready: call prepare(folder) first")
        return self._made

    def model(self, recipe: ModelRecipe) -> nn.Module:
        return MaskedModel(recipe, self.vocabulary)

    @property
    def summary(self) -> str:
        return f"{self._corpus.summary}; {self._asked} of {self.length} tokens of a row are asked for"

    @property
    def standard(self) -> Standard:
        train, test = (self._corpus.files[part].open() for part in ("train", "test"))
        common = np.bincount(train, minlength=self.vocabulary).argmax()
        return Standard(
            metric="accuracy",
            chance=1 / (self.vocabulary - 1),
            floor=float((test == common).mean()),
            trivial="the most common token",
        )

    @property
    def vocabulary(self) -> int:
        return self._corpus.tokenizer.vocabulary + 1

    @property
    def length(self) -> int:
        return int(self.options.length)

    def train_batch(self, seed: int, step: int, rows: int) -> Batch:
        tokens = self._corpus.files["train"].open()
        generator = np.random.Generator(np.random.Philox(key=np.array([seed, step], np.uint64)))
        starts = generator.integers(tokens.size - self.length + 1, size=rows)
        return _batch(*self._hide(generator, _windows(tokens, starts, self.length)))

    def evaluation_batches(self, split: Split, rows: int) -> Iterator[Batch]:
        tokens = self._corpus.files[split].open()
        starts = np.arange(0, tokens.size - self.length + 1, self.length)
        for place, first in enumerate(range(0, starts.size, BLOCK)):
            # 2^64 − 1 is no seed of a run (it is below 2^31), so that no training batch shares these numbers.
            key = np.array([2**64 - 1, _HELD_OUT[split]], np.uint64)
            counter = np.array([0, 0, 0, place], np.uint64)
            generator = np.random.Generator(np.random.Philox(key=key, counter=counter))
            inputs, targets = self._hide(generator, _windows(tokens, starts[first : first + BLOCK], self.length))
            for start in range(0, len(inputs), rows):
                yield _batch(inputs[start : start + rows], targets[start : start + rows])

    def _hide(self, generator: np.random.Generator, row: Tokens) -> tuple[Tokens, Tokens]:
        """Inputs and targets [rows, T] of rows of text."""
        chosen: MaskedTextTask.Options = self.options
        order = generator.random(row.shape)
        places = np.argpartition(order, self._asked - 1, axis=1)[:, : self._asked]
        kept = np.take_along_axis(row, places, 1)
        fate = generator.random(places.shape)
        others = generator.integers(self.vocabulary - 1, size=places.shape)
        read = np.where(fate < chosen.masked, self.vocabulary - 1, kept)
        read = np.where((fate >= chosen.masked) & (fate < chosen.masked + chosen.swapped), others, read)
        inputs, targets = row.copy(), np.full_like(row, IGNORED)
        np.put_along_axis(inputs, places, read, 1)
        np.put_along_axis(targets, places, kept, 1)
        return inputs, targets

    def metrics(self, nats: float, counts: Counts) -> dict[str, float]:
        found = super().metrics(nats, counts)
        each = found["nats_per_answer"]
        return {**found, "perplexity_per_answer": math.inf if each > 709 else math.exp(each)}


def _windows(tokens: TokenArray, starts: NDArray[np.int64], length: int) -> Tokens:
    return np.stack([tokens[start : start + length] for start in starts]).astype(np.int64)


def _batch(inputs: Tokens, targets: Tokens) -> Batch:
    return Batch(inputs=torch.from_numpy(inputs), targets=torch.from_numpy(targets))
