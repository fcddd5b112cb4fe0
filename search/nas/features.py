"""A network as numbers, for what ranks it.

Which mixer stands where is told by a one for each (mixer, layer) and by counts: an average of numbered kinds would put
one kind between two others.
"""

import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from search.nas.architecture import Architecture, Layer
from search.nas.space import Space
from search.nas.table import Cost

Floats = NDArray[np.float64]


def names(space: Space) -> list[str]:
    """What each number is."""
    found = ["width", "log parameters", "log flops", "log state"]
    for stack, depths in _stacks(space):
        found += [f"{stack} depth", *(f"{stack} mean {size}" for size in ("heads", "K", "ratio"))]
        found += [f"{stack} count {mixer}" for mixer in space.mixers]
        for place in range(max(depths)):
            found += [f"{stack} {place} {mixer}" for mixer in space.mixers]
            found += [f"{stack} {place} {size}" for size in ("heads", "K", "ratio")]
    return found


def features(space: Space, network: Architecture, cost: Cost) -> Floats:
    """The numbers [F] of a network; 0 stands for a layer that is not there."""
    found = [float(network.width), math.log(cost.parameters), math.log(cost.flops), math.log(cost.state + 1)]
    for stack, depths in _stacks(space):
        layers: tuple[Layer, ...] = getattr(network, stack)
        found += [len(layers), *(fmean(sizes) for sizes in zip(*map(_sizes, layers), strict=True))]
        found += [sum(layer.mixer == mixer for layer in layers) for mixer in space.mixers]
        for place in range(max(depths)):
            layer = layers[place] if place < len(layers) else None
            found += [float(layer is not None and layer.mixer == mixer) for mixer in space.mixers]
            found += [0.0, 0.0, 0.0] if layer is None else _sizes(layer)
    return np.array(found)


def _sizes(layer: Layer) -> list[float]:
    return [float(layer.heads or 0), float(layer.key_size or 0), layer.ratio]


def _stacks(space: Space) -> Sequence[tuple[str, list[int]]]:
    encoder = [("encoder", space.nas.encoder_depth)] if space.nas.encoder_depth else []
    return [*encoder, ("layers", space.nas.depth)]
