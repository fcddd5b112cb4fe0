"""Brings the decoding memory of a model recipe to a budget by K, and by H where K alone cannot.

What a mixer remembers is affine in K and in H: m = a K + b, with b what short convolutions keep of other projections.
Two evaluations know both. All mixers of the layout are scaled alike.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from eos import layer
from eos.compose.cost import FLOAT, ModelCost
from eos.config import EOSMixer, ModelRecipe
from eos.errors import EOSError
from eos.layer.composition import make_context
from eos.models.layout import resolve_layout
from eos.stage import LayerContext

Knob = Literal["key_size", "heads"]
Cost = Callable[[ModelRecipe], ModelCost]
KNOBS: tuple[Knob, ...] = ("key_size", "heads")
#: K and H that are tried at most.
MOST = 1024
#: Evaluations of a knob: a guess, what is affine, and rounding.
TRIES = 4
#: How far around a wanted size others are tried: at least so many, and so much of it.
FEW, REACH = 2, 0.08


class MisfitError(EOSError):
    """Why a memory cannot be brought to a budget."""


@dataclass(frozen=True)
class _Line:
    """Bytes that all layers of one mixer remember, slope · size + offset, as far as is known."""

    size: int
    slope: float
    offset: float = 0.0
    measured: bool = False

    def after(self, size: int, memory: float) -> "_Line":
        """What is known once ``memory`` was found at a size."""
        if not self.measured:
            return _Line(size, memory / size, measured=True)
        if size == self.size:
            return self
        slope = (memory - self.slope * self.size - self.offset) / (size - self.size)
        return _Line(size, slope, memory - slope * size, measured=True)


def with_state(recipe: ModelRecipe, target: float, cost: Cost, *, near: float) -> ModelRecipe:
    """The recipe whose memory is nearest to ``target`` bytes.

    Raises:
        MisfitError: it is further off than ``near``, relative.
    """
    names = list(dict.fromkeys(resolve_layout(recipe)))
    eos = [name for name in names if isinstance(recipe.mixers[name], EOSMixer)]
    if not eos:
        kinds = " and ".join(sorted({recipe.mixers[name].kind for name in names}))
        raise MisfitError(f"the layout has no mixer with a K, only {kinds}, which keeps {cost(recipe).memory:,}")
    if any(recipe.mixers[name].direction != "forward" for name in names):
        raise MisfitError("the mixers see what comes later, and nothing is kept for decoding")
    ranges = []
    for knob in KNOBS:
        free = [name for name in eos if _is_free(recipe, name, knob)]
        if free:
            recipe, reached = _tuned(recipe, free, knob, target, cost)
            if abs(reached / target - 1) <= near:
                return recipe
            ranges.append((recipe, free, knob))
    reached = cost(recipe).memory
    if ranges:
        raise MisfitError(f"{'; '.join(_range(*each, cost) for each in ranges)}; the nearest is {reached:,}")
    if abs(reached / target - 1) <= near:
        return recipe
    only = ", ".join(f"mixers.{name}.key_size={_context(recipe, name).key_size}" for name in eos)
    raise MisfitError(f"it does not depend on K, for the stages stand together with {only} alone; it is {reached:,}")


def _tuned(recipe: ModelRecipe, names: list[str], knob: Knob, target: float, cost: Cost) -> tuple[ModelRecipe, int]:
    """The recipe with the sizes that come nearest, and its memory."""
    layout, lines = resolve_layout(recipe), {}
    for name in names:
        context = _context(recipe, name)
        memory = FLOAT * layout.count(name) * context.heads * context.key_size * context.value_size
        lines[name] = _Line(_size(recipe, name, knob), memory / _size(recipe, name, knob))
    others, tried = 0, []
    found: list[tuple[ModelRecipe, int]] = []
    for _ in range(TRIES):
        sizes = _chosen(recipe, lines, knob, target - others)
        if sizes in tried:
            break
        tried.append(sizes)
        changed = _with_sizes(recipe, sizes, knob)
        reached = cost(changed)
        found.append((changed, reached.memory))
        memories = {name: reached.mixers[name].memory * layout.count(name) for name in names}
        others = reached.memory - sum(memories.values())
        lines = {name: line.after(sizes[name], memories[name]) for name, line in lines.items()}
    return min(found, key=lambda each: abs(each[1] - target))


def _chosen(recipe: ModelRecipe, lines: dict[str, _Line], knob: Knob, target: float) -> dict[str, int]:
    """Allowed sizes in the proportions of the recipe's; each makes up for how the ones before were rounded."""
    rest = target - sum(line.offset for line in lines.values())
    own = {name: _size(recipe, name, knob) for name in lines}
    weights = {name: line.slope * own[name] for name, line in lines.items()}
    chosen: dict[str, int] = {}
    for name, line in lines.items():
        left = sum(weight for other, weight in weights.items() if other not in chosen)
        chosen[name] = _nearest(recipe, name, knob, own[name] * rest / left if left > 0 else own[name])
        rest -= line.slope * chosen[name]
    return chosen


def _nearest(recipe: ModelRecipe, name: str, knob: Knob, wanted: float) -> int:
    """The allowed size nearest to a wanted one; where there is none around it, the first on the way to the recipe's."""
    empty = min(max(wanted, 1.0), float(MOST))
    close = _around(recipe, name, knob, empty)
    if close is not None:
        return close
    found = _size(recipe, name, knob)
    while abs(found - empty) > FEW:
        middle = (found + empty) / 2
        close = _around(recipe, name, knob, middle)
        if close == found:
            break
        found, empty = (found, middle) if close is None else (close, empty)
    return found


def _around(recipe: ModelRecipe, name: str, knob: Knob, place: float) -> int | None:
    reach = max(FEW, REACH * place)
    sizes = range(max(1, math.ceil(place - reach)), min(MOST, math.floor(place + reach)) + 1)
    return next(
        (size for size in sorted(sizes, key=lambda s: abs(s - place)) if _allows(recipe, name, knob, size)), None
    )


def _is_free(recipe: ModelRecipe, name: str, knob: Knob) -> bool:
    """Whether a size may be another; without a value_size, H · V does not depend on H."""
    mixer, size = recipe.mixers[name], _size(recipe, name, knob)
    if knob == "heads" and isinstance(mixer, EOSMixer) and mixer.value_size is None:
        return False
    others = {2 * size, size // 2, size + 1, size - 1} - {0, size}
    return any(_allows(recipe, name, knob, other) for other in sorted(others) if other <= MOST)


def _allows(recipe: ModelRecipe, name: str, knob: Knob, size: int) -> bool:
    changed = _with_sizes(recipe, {name: size}, knob)
    return layer.refuse(changed.mixers[name], recipe.width) is None


def _with_sizes(recipe: ModelRecipe, sizes: dict[str, int], knob: Knob) -> ModelRecipe:
    mixers = dict(recipe.mixers)
    for name, size in sizes.items():
        mixer = mixers[name]
        assert isinstance(mixer, EOSMixer)
        if size == _size(recipe, name, knob):
            continue
        key = size if knob == "key_size" else _context(recipe, name).key_size
        mixers[name] = replace(mixer, key_size=key, heads=size if knob == "heads" else mixer.heads)
    return replace(recipe, mixers=mixers)


def _size(recipe: ModelRecipe, name: str, knob: Knob) -> int:
    context = _context(recipe, name)
    return context.key_size if knob == "key_size" else context.heads


def _context(recipe: ModelRecipe, name: str) -> LayerContext:
    mixer = recipe.mixers[name]
    assert isinstance(mixer, EOSMixer)
    return make_context(mixer, recipe.width, layer=0, layers=1, shared=None)


def _range(recipe: ModelRecipe, names: list[str], knob: Knob, cost: Cost) -> str:
    ends = []
    for end in (1, MOST):
        sizes = {name: _nearest(recipe, name, knob, end) for name in names}
        said = ", ".join(f"{name}.{knob}={size}" for name, size in sizes.items())
        ends.append(f"{cost(_with_sizes(recipe, sizes, knob)).memory:,} at {said}")
    return f"mixers.{' to '.join(ends)}"
