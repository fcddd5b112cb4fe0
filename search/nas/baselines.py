"""Networks as people lay them out: every layer softmax, every layer linear, every fourth softmax."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

from eos.config import SoftmaxMixer
from eos.errors import RecipeError, unknown
from search.nas.architecture import Architecture, Layer
from search.nas.evolve import Against
from search.nas.score import violation
from search.nas.space import Space
from search.nas.table import Table

#: Which of two mixers, softmax and linear, stands in a layer counted from 0.
KINDS: dict[str, Callable[[int], bool]] = {
    "softmax": lambda layer: True,
    "linear": lambda layer: False,
    "every 4th softmax": lambda layer: layer % 4 == 3,
}
#: A network costs as much as another where it is within this share of it.
NEAR = 0.05


def mixers(space: Space) -> tuple[str, str]:
    """The softmax and the linear mixer of baselines.

    Raises:
        RecipeError: the space has none of a kind, or none of the name that is asked for.
    """
    found = []
    for kind, asked in (("softmax", space.nas.retrain.softmax), ("linear", space.nas.retrain.linear)):
        fits = [name for name, mixer in space.mixers.items() if isinstance(mixer, SoftmaxMixer) == (kind == "softmax")]
        if asked is not None and asked not in fits:
            raise RecipeError(unknown(f"search.retrain.{kind}", asked, fits))
        if not fits:
            raise RecipeError(f"the space has no {kind} mixer to compare with; name one in search.mixers")
        found.append(asked or fits[0])
    return found[0], found[1]


def kinds(space: Space) -> Iterator[str]:
    """The baselines that can be told apart: with fewer than four layers, every fourth is none."""
    for kind, is_softmax in KINDS.items():
        if kind != "every 4th softmax" or any(is_softmax(layer) for layer in range(max(space.nas.depth))):
            yield kind


def like(
    space: Space,
    table: Table,
    kind: str,
    network: Architecture,
    *,
    against: Against,
    loss: Callable[[Architecture], float],
) -> Architecture:
    """The network of a kind, alike in all layers, that costs as much as another: within 5 % the best, else the nearest.

    Arguments:
        against: the cost.
        loss: predicted; less is better.

    Raises:
        RecipeError: none of the kind keeps to the constraints.
    """
    far = _far(space, table, kind, network, against)
    if not far:
        raise RecipeError(f"no {kind} network keeps to search.constraints")
    near = [each for each, share in far.items() if share <= NEAR]
    return min(near, key=loss) if near else min(far, key=lambda each: far[each])


def has_equals(space: Space, table: Table, network: Architecture, *, against: Against) -> bool:
    """Whether there is a network of every kind that costs as much, within 5 %."""
    return all(min(_far(space, table, kind, network, against).values(), default=1.0) <= NEAR for kind in kinds(space))


def _far(space: Space, table: Table, kind: str, network: Architecture, against: Against) -> dict[Architecture, float]:
    """By how much of it the cost of every network of a kind differs from a network's."""
    softmax, linear = mixers(space)
    wanted = getattr(table.of(network), against)
    costs = {each: table.of(each) for each in _alike(space, kind, softmax, linear)}
    return {
        each: abs(getattr(cost, against) / wanted - 1)
        for each, cost in costs.items()
        if not violation(cost, space.nas.constraints)
    }


def _alike(space: Space, kind: str, softmax: str, linear: str) -> Iterator[Architecture]:
    """All networks of a kind whose layers of one mixer are the same."""
    is_softmax = KINDS[kind]
    for width, depth, ratio in product(space.nas.width, space.nas.depth, space.nas.ratios):
        if kind == "every 4th softmax" and not any(is_softmax(layer) for layer in range(depth)):
            continue
        for full, fast in product(space.shapes[softmax, width], space.shapes[linear, width]):
            made = {
                True: Layer(mixer=softmax, heads=full[0], key_size=full[1], ratio=ratio),
                False: Layer(mixer=linear, heads=fast[0], key_size=fast[1], ratio=ratio),
            }
            encoders: Sequence[int | None] = space.nas.encoder_depth or (None,)
            for encoder in encoders:
                yield Architecture(
                    width=width,
                    layers=tuple(made[is_softmax(layer)] for layer in range(depth)),
                    encoder=None if encoder is None else tuple(made[is_softmax(layer)] for layer in range(encoder)),
                )
