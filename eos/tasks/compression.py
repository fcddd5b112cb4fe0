"""Compression: a row of random tokens, all of which are told again from what the model made of the last one.

Equation: x_1 … x_{L−1} uniform, then the id V − 1; the answer at t is x_t, from one vector and the place t
Metric: macro_accuracy, the share right of each id that is asked for, on average over ids; accuracy, of a row's answers
Chance: 1/V, one of all ids
Floor: 2/V, the last id, which is always the same, and one of the others everywhere else
Source: arXiv:2403.17844; its public generator, mad/data/instances.py
"""

from pathlib import Path

import numpy as np
from torch import nn

from eos.config import ModelRecipe, option, options
from eos.errors import DataError
from eos.models import AutoEncoder
from eos.tasks.generated.task import Length, Part, Rows
from eos.tasks.mad.task import AbstractMadTask, MadOptions
from eos.tasks.task import Standard


class CompressionTask(AbstractMadTask):
    """Its model is an auto-encoder: the blocks of the recipe, and a decoder that sees the last position alone."""

    kind = AutoEncoder

    @options
    class Options(MadOptions):
        """The rows."""

        vocabulary: int = option(16, "token ids V", low=2, high=2**20)
        length: int = option(32, "tokens L of a row", low=2)

    def model(self, recipe: ModelRecipe) -> nn.Module:
        return AutoEncoder(recipe, self.vocabulary)

    def restore(self, folder: Path) -> None:
        raise DataError("the model of this run tells again what it read and writes nothing: grade it with eos eval")

    @property
    def answers(self) -> int:
        return self.vocabulary

    @property
    def tokens(self) -> int:
        return int(self.options.length)

    @property
    def standard(self) -> Standard:
        return self.against(floor=2 / self.vocabulary, trivial="the id that ends every row, and always one other")

    def draw(self, generator: np.random.Generator, segment: Length, rows: int, *, part: Part) -> Rows:
        inputs = generator.integers(self.vocabulary - 1, size=(rows, segment.length))
        inputs[:, -1] = self.vocabulary - 1
        return inputs, inputs.copy()
