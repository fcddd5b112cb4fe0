"""Modular arithmetic: the value of an expression of numbers modulo m, with or without brackets.

Equation: d_1 ∘ d_2 … ∘ d_k, ∘ in {+, −, *}, products first, or nested, (left ∘ right); then =, which asks its value
Metric: accuracy, the share of expressions whose value is right
Chance: 1/m, one of the m numbers
Floor: the value that comes most often
Source: arXiv:2207.02098 (m = 5); arXiv:2411.12537 (lengths 3–40, then 40–256)
"""

import numpy as np

from eos.config import option, options
from eos.errors import RecipeError
from eos.tasks.formal.expressions import EQUALS, Arithmetic
from eos.tasks.formal.states import AbstractStateTask, StateOptions, Tokens
from eos.tasks.formal.trivial import always_the_same
from eos.tasks.generated.task import Rows
from eos.tasks.task import IGNORED, Standard


class ModularArithmeticTask(AbstractStateTask):
    """Numbers are ids 0 … m − 1, then + − * ( ) =; the label stands at =, the last token of a row.

    Without brackets every number ends an expression too, whose value may be asked in training.
    """

    @options
    class Options(StateOptions):
        """What expressions are made of."""

        modulus: int = option(5, "m", low=2, high=1000)
        multiplication: bool = option(True, "products, not sums and differences alone")
        brackets: bool = option(False, "nested expressions, a context-free language; asked at the end only")

    def __init__(self, options: Options) -> None:
        if options.brackets and options.ask == "every":
            raise RecipeError("task.brackets: an expression has a value at its end only; set task.ask=last")
        super().__init__(options)
        self._arithmetic = Arithmetic(modulus=options.modulus, operators=3 if options.multiplication else 2)

    @property
    def vocabulary(self) -> int:
        return int(self.options.modulus) + 6

    @property
    def least(self) -> int:
        return 2

    @property
    def step(self) -> int:
        return 1 if self.options.brackets else 2

    @property
    def graded(self) -> int | None:
        return 1

    @property
    def standard(self) -> Standard:
        return Standard(
            metric="accuracy",
            chance=1 / self.options.modulus,
            floor=always_the_same(self),
            trivial="the value that comes most often",
        )

    def follow(self, generator: np.random.Generator, lengths: Tokens, longest: int) -> Rows:
        rows, ends = np.arange(len(lengths)), lengths - 1
        if self.options.brackets:
            inputs, value = self._arithmetic.bracketed(generator, ends, longest)
            states = np.full_like(inputs, IGNORED)
        else:
            inputs, states = self._arithmetic.plain(generator, len(lengths), longest)
            value = states[rows, ends - 1]
        inputs[rows, ends], states[rows, ends] = self.options.modulus + EQUALS, value
        return inputs, states
