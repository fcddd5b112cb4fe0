"""Memorisation: a fixed map from keys to values, which no row shows; the weights must hold it.

Equation: k_1 ? k_2 ? …, k uniform; at each ? the answer is m(k), m a bijection that is the same for every row and run
Metric: macro_accuracy, the share right of each id that is asked for, on average over ids; accuracy, of a row's answers
Chance: K/V², the K values one time in V, and the ids that are no values count as classes
Floor: 1/K, always the same value
Source: arXiv:2403.17844; its public generator, mad/data/instances.py
"""

import numpy as np

from eos.config import option, options
from eos.errors import RecipeError
from eos.tasks.generated.task import Length, Part, Rows
from eos.tasks.mad.task import AbstractMadTask, MadOptions
from eos.tasks.task import IGNORED, Standard

#: Of the published map, whatever the seed of a run.
SEED = 12345


class MemorizationTask(AbstractMadTask):
    """Keys are ids 0 … K − 1, values come out of K … V − 2, and V − 1 stands where a value is asked."""

    @options
    class Options(MadOptions):
        """The rows, and how many ids the map is made of."""

        vocabulary: int = option(256, "token ids V", low=3, high=2**20)
        length: int = option(32, "tokens of a row, half of them keys; even", low=2)
        epoch: int = option(256, "rows of an epoch, the same in every one", low=1)

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        if options.length % 2:
            raise RecipeError(f"task.length must be even, a key and a place for its value each, got {options.length}")
        generator = np.random.default_rng(SEED)
        keys, values = np.arange(self.answers), np.arange(self.answers, self.vocabulary - 1)
        generator.shuffle(keys)
        generator.shuffle(values)
        self.value_of = np.empty_like(keys)
        self.value_of[keys] = values[: len(keys)]

    @property
    def answers(self) -> int:
        return (self.vocabulary - 1) // 2

    @property
    def tokens(self) -> int:
        return int(self.options.length)

    @property
    def standard(self) -> Standard:
        return self.against(floor=1 / self.answers, trivial="always the same value")

    def draw(self, generator: np.random.Generator, segment: Length, rows: int, *, part: Part) -> Rows:
        keys = generator.integers(self.answers, size=(rows, segment.length // 2))
        inputs = np.full((rows, segment.length), self.vocabulary - 1)
        targets = np.full_like(inputs, IGNORED)
        inputs[:, 0::2], targets[:, 1::2] = keys, self.value_of[keys]
        return inputs, targets
