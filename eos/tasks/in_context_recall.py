"""In-context recall, with noise where wanted: pairs of keys and values, whose value is asked wherever a key comes back.

Equation: k_1 v_1 … k_P v_P, P = L/2, k uniform, v of a key fixed in a row; v_j is asked where k_j = k_i for an i < j
Metric: macro_accuracy, the share right of each id that is asked for, on average over ids; accuracy, of a row's answers
Chance: A/V², the A values one time in V, and the ids that are no values count as classes
Floor: 1/K + (1 − 1/K)/A, the value of one of all K keys, shown or not: the right key, or another of the same value
Source: arXiv:2403.17844; its public generator, mad/data/instances.py
"""

import numpy as np

from eos.config import option, options
from eos.errors import RecipeError
from eos.tasks.generated.task import Length, Part, Rows
from eos.tasks.mad.task import AbstractMadTask, MadOptions
from eos.tasks.task import IGNORED, Standard


class InContextRecallTask(AbstractMadTask):
    """Keys are the lower half of the ids, values the upper, then come ids of noise, then one that asks.

    The last pair asks for a key that has been shown. In training every next token is asked for; held-out rows ask for
    the values of keys that came before.
    """

    @options
    class Options(MadOptions):
        """The rows, what stands between pairs, and how often is asked."""

        vocabulary: int = option(16, "token ids V", low=2, high=2**16)
        length: int = option(128, "L, tokens of a row before inputs and targets are set apart; even", low=4)
        noise: float = option(0.0, "chance that a pair, but one, is two ids of noise", low=0, high=0.99)
        noise_ids: int = option(0, "ids of noise, out of V", low=0)
        multi_query: bool = option(True, "ask wherever a key comes back; false: at the end alone, after an id V − 1")

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        if options.length % 2:
            raise RecipeError(f"task.length must be even, a key and a value each, got {options.length}")
        if options.noise and not options.noise_ids:
            raise RecipeError(f"task.noise = {options.noise} needs task.noise_ids of at least 1, got 0")
        if self._pairable < 2:
            least = options.vocabulary - self._pairable + 2
            raise RecipeError(f"task.vocabulary must leave a key and a value: at least {least}, got {self.vocabulary}")

    @property
    def _pairable(self) -> int:
        """Ids of keys and values."""
        return self.vocabulary - int(self.options.noise_ids) - (not self.options.multi_query)

    @property
    def keys(self) -> int:
        """How many keys there are; the rest of the pairable ids are values."""
        return self._pairable // 2

    @property
    def answers(self) -> int:
        return self._pairable - self.keys

    @property
    def tokens(self) -> int:
        return int(self.options.length) - bool(self.options.multi_query)

    @property
    def standard(self) -> Standard:
        floor = 1 / self.keys + (1 - 1 / self.keys) / self.answers
        return self.against(floor=floor, trivial="the value of one of the keys, whichever is asked")

    def draw(self, generator: np.random.Generator, segment: Length, rows: int, *, part: Part) -> Rows:
        keys, noise_ids, slots = self.keys, int(self.options.noise_ids), int(self.options.length) // 2 - 1
        value_of = generator.integers(keys, self._pairable, size=(rows, keys))
        drawn = generator.integers(keys, size=(rows, slots))
        noisy = np.zeros((rows, slots), bool)
        if self.options.noise:
            noisy = generator.random((rows, slots)) < self.options.noise
            # one pair of a row is never noise, so that there is a key to ask for
            noisy[np.arange(rows), generator.integers(slots, size=rows)] = False
        # the slot in which a key comes first; noise counts as one more key
        first = np.full((rows, keys + 1), slots)
        written = np.where(noisy, keys, drawn)
        np.minimum.at(first, (np.arange(rows)[:, None], written), np.arange(slots))
        again = (np.take_along_axis(first, written, 1) < np.arange(slots)) & ~noisy
        last = np.where(first[:, :keys] < slots, generator.random((rows, keys)), -1.0).argmax(1)
        shown = np.concatenate([drawn, last[:, None]], 1)
        pairs = np.stack([shown, np.take_along_axis(value_of, shown, 1)], 2)
        asked = np.concatenate([again & bool(self.options.multi_query), np.ones((rows, 1), bool)], 1)
        wanted = np.where(asked[:, :, None] & np.array([False, True]), pairs, IGNORED)
        if noise_ids:
            filler = generator.integers(self._pairable, self._pairable + noise_ids, size=(rows, slots, 2))
            pairs[:, :slots] = np.where(noisy[:, :, None], filler, pairs[:, :slots])
        written, wanted = pairs.reshape(rows, -1), wanted.reshape(rows, -1)
        if not self.options.multi_query:
            written = np.insert(written, -2, self.vocabulary - 1, axis=1)
            wanted = np.insert(wanted, -2, IGNORED, axis=1)
        return written[:, :-1].copy(), (written if part == "train" else wanted)[:, 1:].copy()
