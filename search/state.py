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
from eos.models.layout import channel_mixer_of, resolve_layout
from eos.stage import LayerContext

Knob = Literal["key_size", "heads"]
Cost = Callable[[ModelRecipe], ModelCost]
KNOBS: tuple[Knob, ...] = ("key_size", "heads")
#: K and H that are tried at most.
MOST = 1024
#: Evaluations of a knob: a guess, what is affine, and rounding.
TRIES = 4
#: A memory this near its budget is not brought nearer, relative.
ENOUGH = 0.01


class MisfitError(EOSError):
    """Why a memory cannot be brought to a budget."""


@dataclass(frozen=True)
class _Line:
    """Bytes that all layers of one mixer remember, slope · size + offset, as far as is known."""

    size: int
    slope: float
    offset: float
    measured: bool = False

    def after(self, size: int, memory: float) -> "_Line":
        """What is known once ``memory`` was found at a size."""
        if not self.measured:
            offset = self.offset if self.offset < memory else 0.0
            return _Line(size, (memory - offset) / size, offset, measured=True)
        if size == self.size:
            return self
        slope = (memory - self.slope * self.size - self.offset) / (size - self.size)
        return _Line(size, slope, memory - slope * size, measured=True)


def with_state(recipe: ModelRecipe, target: float, cost: Cost, *, near: float) -> ModelRecipe:
    """The recipe whose memory is nearest to ``target`` bytes, or within 1 % of them.

    Raises:
        MisfitError: it is further off than ``near``, relative.
    """
    layout = resolve_layout(recipe)
    plain = sorted({name for name in layout if not isinstance(recipe.mixers[name], EOSMixer)})
    eos = [name for name in dict.fromkeys(layout) if name not in plain]
    if any(recipe.mixers[name].direction != "forward" for name in layout):
        raise MisfitError("the mixers see what comes later, and nothing is kept for decoding")
    kinds = " and ".join(sorted({recipe.mixers[name].kind for name in plain}))
    if not eos:
        raise MisfitError(f"a layout of {kinds} alone has no K; it keeps {cost(recipe).memory:,}")
    others = 0
    if plain:
        alone = cost(replace(recipe, layout=plain))
        others = sum(alone.mixers[name].memory * layout.count(name) for name in plain)
    channels = [channel_mixer_of(recipe, name) for name in layout]
    others += FLOAT * recipe.width * sum(each.name != "none" and each.token_shift for each in channels)
    reached = 0
    for knob in KNOBS:
        free = _having(recipe, eos, knob)
        if free:
            recipe, reached = _tuned(recipe, free, knob, target, others, cost)
            if abs(reached / target - 1) <= near:
                return recipe
    kept = f", with what {kinds} mixers keep, which have no K" if plain else ""
    raise MisfitError(f"{_extreme(recipe, eos, below=target < reached)} {reached:,} at {_said(recipe, eos)}{kept}")


def _tuned(
    recipe: ModelRecipe, names: list[str], knob: Knob, target: float, others: int, cost: Cost
) -> tuple[ModelRecipe, int]:
    """The recipe with the sizes that come nearest, and its memory, of which ``others`` bytes are likely no mixer's."""
    layout = resolve_layout(recipe)
    lines = {name: _guess(recipe, name, knob, layout.count(name)) for name in names}
    found: list[tuple[ModelRecipe, int]] = []
    tried: list[dict[str, int]] = []
    # what K alone has reached is evaluated already
    own = {name: line.size for name, line in lines.items()}
    sizes = own if knob == "heads" else _chosen(recipe, lines, knob, target - others)
    while sizes not in tried and len(tried) < TRIES:
        tried.append(sizes)
        changed = _with_sizes(recipe, sizes, knob)
        reached = cost(changed)
        found.append((changed, reached.memory))
        if abs(reached.memory / target - 1) <= ENOUGH:
            break
        memories = {name: reached.mixers[name].memory * layout.count(name) for name in names}
        others = reached.memory - sum(memories.values())
        lines = {name: line.after(sizes[name], memories[name]) for name, line in lines.items()}
        sizes = _chosen(recipe, lines, knob, target - others)
    return min(found, key=lambda each: abs(each[1] - target))


def _guess(recipe: ModelRecipe, name: str, knob: Knob, layers: int) -> _Line:
    """What is likely before anything is evaluated: H · K · V, and what short convolutions remember."""
    mixer, context = _eos(recipe, name), _context(recipe, name)
    slope, offset = context.heads * (context.value_size + (mixer.denominator is not None)), 0
    if mixer.short_convolution is not None:
        taps, targets = mixer.short_convolution.size - 1, mixer.short_convolution.targets
        slope += taps * (context.substeps * context.groups + context.heads) * ("expand" in targets)
        offset = taps * context.substeps * context.heads * context.value_size * ("input" in targets)
    if knob == "heads":
        slope, offset = (slope * context.key_size + offset) // context.heads, 0
    if mixer.token_shift is not None:
        offset += recipe.width
    return _Line(_size(recipe, name, knob), FLOAT * layers * slope, FLOAT * layers * offset)


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
    """The allowed size nearest to a wanted one; where none around it is, the last on the way there."""
    found, empty = _size(recipe, name, knob), min(max(wanted, 1.0), float(MOST))
    close = _around(recipe, name, knob, empty)
    if close is not None:
        return close
    while abs(found - empty) > 1:
        middle = (found + empty) / 2
        close = _around(recipe, name, knob, middle)
        if close == found:
            break
        found, empty = (found, middle) if close is None else (close, empty)
    return found


def _around(recipe: ModelRecipe, name: str, knob: Knob, place: float) -> int | None:
    """The nearest allowed size among the multiples below and above of all that divides the recipe's own.

    Sizes that stages allow are multiples: of two for pairs, of 2 d for modes of d entries.
    """
    own = _size(recipe, name, knob)
    steps = [step for step in range(1, own + 1) if own % step == 0]
    sizes = {whole * step for step in steps for whole in (math.floor(place / step), math.ceil(place / step))}
    nearest = sorted((size for size in sizes if 1 <= size <= MOST), key=lambda size: abs(size - place))
    return next((size for size in nearest if size == own or _allows(recipe, name, knob, size)), None)


def _allows(recipe: ModelRecipe, name: str, knob: Knob, size: int) -> bool:
    changed = _with_sizes(recipe, {name: size}, knob)
    return layer.refuse(changed.mixers[name], recipe.width) is None


def _with_sizes(recipe: ModelRecipe, sizes: dict[str, int], knob: Knob) -> ModelRecipe:
    mixers = dict(recipe.mixers)
    for name, size in sizes.items():
        mixer, context = _eos(recipe, name), _context(recipe, name)
        if size != _size(recipe, name, knob):
            key, heads = (size, mixer.heads) if knob == "key_size" else (context.key_size, size)
            mixers[name] = replace(mixer, key_size=key, heads=heads)
    return recipe if mixers == recipe.mixers else replace(recipe, mixers=mixers)


def _size(recipe: ModelRecipe, name: str, knob: Knob) -> int:
    context = _context(recipe, name)
    return context.key_size if knob == "key_size" else context.heads


def _context(recipe: ModelRecipe, name: str) -> LayerContext:
    return make_context(_eos(recipe, name), recipe.width, layer=0, layers=1, shared=None)


def _eos(recipe: ModelRecipe, name: str) -> EOSMixer:
    mixer = recipe.mixers[name]
    assert isinstance(mixer, EOSMixer)
    return mixer


def _having(recipe: ModelRecipe, names: list[str], knob: Knob) -> list[str]:
    """Those whose memory a size changes: without a value_size H · V is a share of the width, whatever H is."""
    return [name for name in names if knob == "key_size" or _eos(recipe, name).value_size is not None]


def _extreme(recipe: ModelRecipe, names: list[str], *, below: bool) -> str:
    """Whether a memory is the least, the most, or all that there is, or one among others."""
    low, high = (
        all(
            _nearest(recipe, name, knob, end) == _size(recipe, name, knob)
            for knob in KNOBS
            for name in _having(recipe, names, knob)
        )
        for end in (1, MOST)
    )
    if low and high:
        return "it does not depend on K, of which the stages allow no other: it is"
    return "the least is" if low and below else "the most is" if high and not below else "the nearest is"


def _said(recipe: ModelRecipe, names: list[str]) -> str:
    sizes = [(knob, name) for knob in KNOBS for name in _having(recipe, names, knob)]
    return ", ".join(f"mixers.{name}.{knob}={_size(recipe, name, knob)}" for knob, name in sizes)
