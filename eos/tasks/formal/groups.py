"""Finite groups as tables: what their elements are, and the product of every two."""

from functools import cache
from itertools import permutations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

GroupName = Literal["A5", "S5", "Z60"]
LETTERS = 5


@cache
def elements(name: GroupName) -> NDArray[np.int64]:
    """The permutations [elements, letters] of a group, the identity first; of Z60 the turns of 60 letters."""
    if name == "Z60":
        return (np.arange(60)[:, None] + np.arange(60)) % 60
    every = np.array(list(permutations(range(LETTERS))))
    return every if name == "S5" else every[_inversions(every) % 2 == 0]


@cache
def products(name: GroupName) -> NDArray[np.int64]:
    """The table [a,b] of a·b, the permutation that acts as b and then as a."""
    all_of = elements(name)
    size = all_of.shape[1]
    # (a·b)(i) = a(b(i)); of 60 turns the first letter alone tells which
    told = min(size, LETTERS)
    after = all_of[:, all_of[:, :told]]
    weights = size ** np.arange(told)
    codes = all_of[:, :told] @ weights
    order = codes.argsort()
    found: NDArray[np.int64] = order[np.searchsorted(codes, after @ weights, sorter=order)]
    return found


@cache
def moved(name: GroupName) -> NDArray[np.int64]:
    """How many letters each element moves [elements]."""
    all_of = elements(name)
    found: NDArray[np.int64] = (all_of != np.arange(all_of.shape[1])).sum(1)
    return found


def _inversions(permuted: NDArray[np.int64]) -> NDArray[np.int64]:
    pairs = permuted[:, :, None] > permuted[:, None, :]
    found: NDArray[np.int64] = np.triu(pairs, 1).sum((1, 2))
    return found
