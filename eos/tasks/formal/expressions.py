"""Arithmetic expressions modulo m: their tokens and what they come to, many at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eos.tasks.task import IGNORED

Tokens = NDArray[np.int64]
PLUS, MINUS, TIMES, OPEN, CLOSE, EQUALS = range(6)
#: Where the number stands in an expression of 1 … 4 tokens: d, −d, (d), (−d).
_NUMBER = np.array([0, 0, 1, 1, 2])


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """Numbers are ids 0 … m − 1, then + − * ( ) =.

    Arguments:
        modulus: m ≥ 2.
        operators: how many of + − * there are, 2 or 3.
    """

    modulus: int
    operators: int

    def plain(self, generator: np.random.Generator, rows: int, length: int) -> tuple[Tokens, Tokens]:
        """Number, operator, number … [rows, length], and at every number the value up to it, products first.

        Arguments:
            length: an odd number of tokens, ≥ 1, or one more, where an operator ends the row.
        """
        tokens = generator.integers(self.modulus, size=(rows, length))
        signs = generator.integers(self.operators, size=(rows, length // 2))
        tokens[:, 1::2] = self.modulus + signs
        values = np.full_like(tokens, IGNORED)
        # the terms that are complete, and the product that may yet go on
        total, product = np.zeros(rows, np.int64), tokens[:, 0]
        values[:, 0] = product
        for place in range(2, length, 2):
            number, sign = tokens[:, place], signs[:, place // 2 - 1]
            total = np.where(sign == TIMES, total, total + product) % self.modulus
            product = np.select([sign == TIMES, sign == MINUS], [product * number, -number], number) % self.modulus
            values[:, place] = (total + product) % self.modulus
        return tokens, values

    def bracketed(self, generator: np.random.Generator, sizes: Tokens, longest: int) -> tuple[Tokens, Tokens]:
        """Expressions of ``sizes`` ≥ 1 tokens each [rows, longest], and their values [rows].

        Of n ≥ 5 tokens it is (left ∘ right), the left one of 1 … n − 4 tokens, each as likely; of fewer it is d, −d,
        (d) or (−d). All rows are split at once, level by level, and their values found from the last level up.
        """
        tokens = np.zeros((len(sizes), longest), np.int64)
        levels: list[tuple[Tokens, Tokens, NDArray[np.bool_]]] = []
        row, start, size = np.arange(len(sizes)), np.zeros(len(sizes), np.int64), sizes
        while size.size:
            tokens[row[size >= 3], start[size >= 3]] = self.modulus + OPEN
            tokens[row[size >= 3], (start + size - 1)[size >= 3]] = self.modulus + CLOSE
            values, inner = self._leaves(generator, tokens, row, start, size), size >= 5
            left = generator.integers(1, size[inner] - 3)
            sign = generator.integers(self.operators, size=left.size)
            inside, begin = row[inner], start[inner] + 1
            tokens[inside, begin + left] = self.modulus + sign
            levels.append((values, sign, inner))
            right = size[inner] - 3 - left
            row, start = np.concatenate([inside, inside]), np.concatenate([begin, begin + left + 1])
            size = np.concatenate([left, right])
        below = np.zeros(0, np.int64)
        for values, sign, inner in reversed(levels):
            left, right = np.split(below, 2)
            values[inner] = np.select([sign == PLUS, sign == MINUS], [left + right, left - right], left * right)
            below = values % self.modulus
        return tokens, below

    def _leaves(
        self, generator: np.random.Generator, tokens: Tokens, row: Tokens, start: Tokens, size: Tokens
    ) -> Tokens:
        """Write the expressions of fewer than five tokens, and return their values; zero for the others."""
        values = np.zeros_like(size)
        leaf = size < 5
        row, start, size = row[leaf], start[leaf], size[leaf]
        number = generator.integers(self.modulus, size=size.size)
        place = start + _NUMBER[size]
        tokens[row, place] = number
        negative = size % 2 == 0
        tokens[row[negative], place[negative] - 1] = self.modulus + MINUS
        values[leaf] = np.where(negative, -number, number)
        return values
