"""Who decides the parameters of a candidate: a sampler, a stored trial, or an enumeration."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from eos.errors import RecipeError

Accept = Callable[[Any], bool]


class AbstractChooser(ABC):
    """Decides one parameter after the other, in the order that the space asks for them."""

    @abstractmethod
    def choose(self, name: str, distribution: BaseDistribution, default: Any, accept: Accept) -> Any:
        """The value of a parameter.

        Arguments:
            name: of the parameter; asked for once in a candidate.
            distribution: the values that it may have.
            default: one of them that is accepted.
            accept: whether a candidate with this value can be built; what is chosen must be accepted.
        """


class Chosen(AbstractChooser):
    """Values that are known: those of a stored trial, or of a recipe; where none is, the default.

    Arguments:
        values: by parameter.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.used: set[str] = set()

    def choose(self, name: str, distribution: BaseDistribution, default: Any, accept: Accept) -> Any:
        """The known value.

        Raises:
            RecipeError: it is not of the space, or no candidate can be built with it.
        """
        self.used.add(name)
        if name not in self.values:
            return default
        value = self.values[name]
        try:
            inside = distribution._contains(distribution.to_internal_repr(value))
        except (ValueError, TypeError):
            inside = False
        if not inside:
            raise RecipeError(f"{name} = {value} is not of the space: {shown(distribution)}")
        if not accept(value):
            raise RecipeError(f"{name} = {value} makes no sense with what else was chosen")
        return value


class _Branch(AbstractChooser):
    """Follows a path through the tree of choices, takes the first value at its end, and remembers what is left."""

    def __init__(self, path: list[Any]) -> None:
        self.path = path
        self.taken: list[Any] = []
        self.left: list[list[Any]] = []

    def choose(self, name: str, distribution: BaseDistribution, default: Any, accept: Accept) -> Any:
        place = len(self.taken)
        if place < len(self.path):
            value = self.path[place]
        else:
            value, *others = [value for value in listed(name, distribution) if accept(value)]
            self.left += [[*self.taken, other] for other in reversed(others)]
        self.taken.append(value)
        return value


def every(compose: Callable[[AbstractChooser], Any]) -> Iterator[Any]:
    """What ``compose`` makes of every combination of values, in their order.

    Raises:
        RecipeError: a parameter has a continuous range.
    """
    waiting: list[list[Any]] = [[]]
    while waiting:
        branch = _Branch(waiting.pop())
        yield compose(branch)
        waiting += branch.left


def listed(name: str, distribution: BaseDistribution) -> list[Any]:
    """The values of a parameter one by one.

    Raises:
        RecipeError: they cannot be listed.
    """
    match distribution:
        case CategoricalDistribution():
            return list(distribution.choices)
        case IntDistribution(log=False):
            return list(range(distribution.low, distribution.high + 1, distribution.step))
        case FloatDistribution(step=float(step)):
            count = round((distribution.high - distribution.low) / step) + 1
            return [distribution.low + n * step for n in range(count)]
    raise RecipeError(f"{name} has a continuous range ({shown(distribution)}), which no grid covers: give its values")


def shown(distribution: BaseDistribution) -> str:
    """A distribution in a few words."""
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(str, distribution.choices))
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    scale = " on a logarithmic scale" if distribution.log else ""
    step = f" in steps of {distribution.step:g}" if distribution.step not in (None, 1) else ""
    kind = "whole numbers from" if isinstance(distribution, IntDistribution) else "from"
    return f"{kind} {distribution.low:g} to {distribution.high:g}{step}{scale}"
