"""Additive models by least squares: which of their contrasts the data tells, and how sure.

y = 1 μ + Σ_f Z_f β_f + C γ + ε, with an indicator in Z_f for every level of factor f and numbers in C. The indicators
of a factor sum to one, so β is not unique; contrasts c·β are, where c lies in the row space of X = [1 Z C].
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

Matrix = NDArray[np.float64]
#: Relative: below it a singular value, or a difference of projections, is zero.
ZERO = 1e-9


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A choice that all trials have made.

    Arguments:
        name: of the parameter.
        levels: that occur.
        codes: of each trial, the place of its level.
    """

    name: str
    levels: tuple[str, ...]
    codes: tuple[int, ...]

    def counts(self) -> list[int]:
        """Trials of each level."""
        return [self.codes.count(place) for place in range(len(self.levels))]


def factor(name: str, labels: Sequence[str]) -> Factor:
    """The factor of these labels, one for each trial."""
    levels = tuple(sorted(set(labels)))
    return Factor(name=name, levels=levels, codes=tuple(levels.index(label) for label in labels))


class Design:
    """The matrix X of an additive model, and what follows from it alone.

    Arguments:
        factors: the choices.
        numbers: C, a column for each number.
        products: pairs of factors, whose observed cells have an indicator each.
    """

    def __init__(
        self, factors: Sequence[Factor], numbers: Matrix, *, products: Sequence[tuple[Factor, Factor]] = ()
    ) -> None:
        self.rows = len(numbers)
        blocks = [np.ones((self.rows, 1))]
        self.place: dict[str, slice] = {}
        at = 1
        for each in factors:
            blocks.append(np.eye(len(each.levels))[list(each.codes)])
            self.place[each.name] = slice(at, at + len(each.levels))
            at += len(each.levels)
        blocks.append(numbers)
        for one, other in products:
            cells = np.array(one.codes) * len(other.levels) + np.array(other.codes)
            blocks.append((cells[:, None] == np.unique(cells)[None]).astype(np.float64))
        self.matrix: Matrix = np.concatenate(blocks, axis=1)
        left, values, right = np.linalg.svd(self.matrix, full_matrices=False)
        kept = values > ZERO * values.max(initial=0.0) * max(self.matrix.shape)
        self.rank = int(kept.sum())
        self.inverse: Matrix = (right[kept].T / values[kept]) @ left[:, kept].T
        self._null: Matrix = np.eye(self.matrix.shape[1]) - right[kept].T @ right[kept]

    @property
    def degrees(self) -> int:
        """Of freedom that are left for the error."""
        return self.rows - self.rank

    def classes(self, name: str) -> list[list[int]]:
        """The levels of a factor in sets whose differences the data tells; between two sets it tells none."""
        columns = self._null[:, self.place[name]]
        found: list[list[int]] = []
        for level in range(columns.shape[1]):
            for members in found:
                if np.abs(columns[:, level] - columns[:, members[0]]).max() < ZERO * self.matrix.shape[1] * 10:
                    members.append(level)
                    break
            else:
                found.append([level])
        return found

    def confounded(self, name: str, level: int, other: int) -> list[str]:
        """The factors that cannot be told apart from the difference of two levels."""
        lost = self._null[:, self.place[name].start + level] - self._null[:, self.place[name].start + other]
        return [
            factor_name
            for factor_name, place in self.place.items()
            if factor_name != name and np.ptp(lost[place]) > ZERO * self.matrix.shape[1] * 10
        ]

    def against_mean(self, name: str, members: Sequence[int]) -> Matrix:
        """A contrast for each of these levels: the level − the mean over them, each with the same weight."""
        rows = np.zeros((len(members), self.matrix.shape[1]))
        places = self.place[name].start + np.array(members)
        rows[:, places] = -1 / len(members)
        rows[np.arange(len(members)), places] += 1
        return rows

    def residual(self, y: Matrix) -> float:
        """The sum of squares that the model leaves."""
        left = y - self.matrix @ (self.inverse @ y)
        return float((left * left).sum())


@dataclass(frozen=True, kw_only=True)
class Nested:
    """What terms more bring to a model.

    Arguments:
        gain: of adjusted R².
        f, p: of the F-test that they bring nothing; None where it cannot be made.
        degrees: how many terms, and what is left for the error.
        note: why there is no test.
    """

    gain: float | None
    f: float | None
    p: float | None
    degrees: tuple[int, int]
    note: str = ""


def nested(y: Matrix, smaller: Design, larger: Design) -> Nested:
    """Compare a model with one that has its terms and more."""
    terms, left = larger.rank - smaller.rank, larger.degrees
    total = float(((y - y.mean()) ** 2).sum())
    if total <= ZERO * max(1e-300, float((y * y).sum())):
        return Nested(gain=None, f=None, p=None, degrees=(terms, left), note="no variance")
    if terms == 0:
        return Nested(gain=None, f=None, p=None, degrees=(terms, left), note="what was tried does not tell them")
    if left < 1:
        return Nested(gain=None, f=None, p=None, degrees=(terms, left), note="no trials left over for an error")
    before, after = smaller.residual(y), larger.residual(y)
    gain = (before / smaller.degrees - after / left) / (total / (len(y) - 1))
    if after <= ZERO * total:
        return Nested(gain=gain, f=None, p=None, degrees=(terms, left), note="fits exactly: no test")
    f = max(0.0, (before - after) / terms) / (after / left)
    return Nested(gain=gain, f=f, p=float(fdtrc(terms, left, f)), degrees=(terms, left))
