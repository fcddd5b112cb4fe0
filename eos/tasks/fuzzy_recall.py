"""Fuzzy recall: keys and values of several tokens each, and the value is asked wherever a key comes back.

Equation: k_1 v_1 … k_P v_P with k, v ordered tuples of distinct ids, 1 to 3 each; held-out keys have 3
Metric: macro_accuracy, the share right of each id that is asked for, on average over ids; accuracy, of a row's answers
Chance: A/V², the A ids of values one time in V, and the other ids count as classes
Floor: 1/A, always the same id of a value
Source: arXiv:2403.17844; its public generator, mad/data/instances.py
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eos.config import option, options
from eos.errors import RecipeError
from eos.tasks.generated.task import Length, Part, Rows
from eos.tasks.mad.task import AbstractMadTask, MadOptions
from eos.tasks.task import IGNORED, Standard

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class _Motifs:
    """Tuples of ids [rows, items, longest], −1 after their end, and their sizes [rows, items]."""

    ids: Ids
    sizes: Ids

    def chosen(self, items: Ids) -> "_Motifs":
        """Those of these numbers [rows, n]."""
        ids = np.take_along_axis(self.ids, items[:, :, None], 1)
        return _Motifs(ids=ids, sizes=np.take_along_axis(self.sizes, items, 1))


class FuzzyRecallTask(AbstractMadTask):
    """Ids of keys come first, then those of values, and the last fills rows at their start.

    The pair that ends a row is put once into it, at a random place, unless it is drawn there; where that place comes
    after the last pair, the end asks for what was never shown. In training every next token is asked for.
    """

    @options
    class Options(MadOptions):
        """The rows, and how long keys and values are."""

        vocabulary: int = option(16, "token ids V", low=3, high=4096)
        length: int = option(128, "tokens L of a row", low=5)
        key_motif: int = option(3, "most ids of a key, and those of a held-out one", low=1, high=4)
        value_motif: int = option(3, "most ids of a value", low=1, high=4)

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        longest = options.key_motif + options.value_motif
        if options.length <= 2 * longest:
            raise RecipeError(
                f"task.length must be above {2 * longest}, twice a key of {options.key_motif} and a value of "
                f"{options.value_motif} ids, got {options.length}"
            )
        if self.keys < options.key_motif or self.answers < options.value_motif:
            least = 1 + max(2 * options.key_motif, 2 * options.value_motif - 1)
            raise RecipeError(
                f"task.vocabulary must be at least {least}, for keys of {options.key_motif} and values of "
                f"{options.value_motif} distinct ids, got {self.vocabulary}"
            )

    @property
    def keys(self) -> int:
        """Ids that keys are made of."""
        return (self.vocabulary - 1) // 2

    @property
    def answers(self) -> int:
        return self.vocabulary - 1 - self.keys

    @property
    def tokens(self) -> int:
        return int(self.options.length)

    @property
    def standard(self) -> Standard:
        return self.against(floor=1 / self.answers, trivial="always the same id of a value")

    def draw(self, generator: np.random.Generator, segment: Length, rows: int, *, part: Part) -> Rows:
        longest = int(self.options.key_motif), int(self.options.value_motif)
        least = 1 if part == "train" else longest[0]
        # as many pairs as the shortest ones need to reach the end
        count = math.ceil((segment.length - sum(longest) - least - 1) / (least + 1))
        # column 0 is the pair that ends the row
        keys = _motifs(generator, rows, count + 1, ids=self.keys, least=least, most=longest[0])
        values = _motifs(generator, rows, count + 1, ids=self.answers, least=1, most=longest[1])
        source = _first(keys.ids, base=self.keys + 1)
        values = values.chosen(source)
        sizes = keys.sizes + values.sizes
        probe, drawn = sizes[:, :1], source[:, 1:] == 0
        starts = sizes[:, 1:].cumsum(1) - sizes[:, 1:]
        limit = segment.length - probe - sum(longest)

        place = generator.integers(segment.length - 2 * probe)
        before = starts < place
        index = before.sum(1, keepdims=True)
        reached = np.where(index < count, np.take_along_axis(starts, index.clip(max=count - 1), 1), limit)
        put = (reached < limit) & ~(drawn & before).any(1, keepdims=True)
        starts = starts + probe * (put & ~before)
        kept = starts < limit
        came = np.where(drawn, (drawn.cumsum(1) > 1) | put, source[:, 1:] < np.arange(1, count + 1))
        end = np.concatenate([(starts + sizes[:, 1:]) * kept, (reached + probe) * put], 1).max(1, keepdims=True)
        # column 0 again, and once more where it is put in
        twice = np.concatenate([np.tile(np.arange(count + 1), (rows, 1)), np.zeros((rows, 1), np.int64)], 1)
        written = _written(
            keys.chosen(twice),
            values.chosen(twice),
            starts=np.concatenate([end, starts, reached], 1) + segment.length + 1 - end - probe,
            kept=np.concatenate([np.ones_like(put), kept, put], 1),
            asked=np.concatenate([np.ones_like(put), came, np.zeros_like(put)], 1),
            length=segment.length + 1,
            shift=self.keys,
            filler=self.vocabulary - 1,
        )
        return written[0][:, :-1].copy(), written[0 if part == "train" else 1][:, 1:].copy()


def _motifs(generator: np.random.Generator, rows: int, items: int, *, ids: int, least: int, most: int) -> _Motifs:
    """Tuples of ``least`` to ``most`` distinct ids of 0 ≤ id < ids, uniform among those of their size."""
    sizes = generator.integers(least, most + 1, size=(rows, items))
    found = np.empty((rows, items, most), np.int64)
    for place in range(most):
        chosen = generator.integers(ids - place, size=(rows, items))
        # past each of those taken already, from the least on
        for taken in np.moveaxis(np.sort(found[:, :, :place], 2), 2, 0):
            chosen += chosen >= taken
        found[:, :, place] = chosen
    return _Motifs(ids=np.where(np.arange(most) < sizes[:, :, None], found, -1), sizes=sizes)


def _first(motifs: Ids, *, base: int) -> Ids:
    """The first item of its row that equals each one [rows, items]."""
    rows, items, longest = motifs.shape
    codes = ((motifs + 1) * base ** np.arange(longest)).sum(2) + np.arange(rows)[:, None] * base**longest
    _, first, back = np.unique(codes.ravel(), return_index=True, return_inverse=True)
    found: Ids = first[back].reshape(rows, items) % items
    return found


def _written(
    keys: _Motifs, values: _Motifs, *, starts: Ids, kept: Mask, asked: Mask, length: int, shift: int, filler: int
) -> Rows:
    """Rows of pairs at their places, and the ids of values that are asked."""
    rows = np.full((len(starts), length + 1), filler)
    wanted = np.full_like(rows, IGNORED)
    # what is left out goes to a place after the end
    for index in range(keys.ids.shape[2]):
        places = np.where(kept & (index < keys.sizes), starts + index, length)
        np.put_along_axis(rows, places, keys.ids[:, :, index], 1)
    for index in range(values.ids.shape[2]):
        places = np.where(kept & (index < values.sizes), starts + keys.sizes + index, length)
        ids = shift + values.ids[:, :, index]
        np.put_along_axis(rows, places, ids, 1)
        np.put_along_axis(wanted, places, np.where(asked, ids, IGNORED), 1)
    return rows[:, :length], wanted[:, :length]
