"""How the weights of a network lie inside those of the largest.

An axis of H heads of n channels each is cut head by head: a network with as many heads keeps of every head the first
channels, so that a channel stays that of its head whatever K or the width. Networks with another number of heads share
the same channels, dealt out anew. Every other axis is cut to its first entries.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from eos.config import EOSMixer, Mixer, SoftmaxMixer
from eos.errors import EOSError
from eos.layer import EOSLayer, refuse
from search.nas.architecture import Architecture, Layer

#: Of each axis of a parameter, whether it is one of heads.
Headed = tuple[bool, ...]
#: Width, heads, K and V at which a mixer is looked at; those that some stage refuses are passed over.
_LOOKS = ((48, 3, 16, 16), (48, 3, 8, 16), (64, 4, 16, 16), (64, 2, 32, 32))


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Where a parameter lies in a larger one.

    Arguments:
        shape: its own.
        blocks: of each axis, in how many equal blocks both are cut.
        spans: of each axis, how much of the larger the blocks take up.
    """

    shape: tuple[int, ...]
    blocks: tuple[int, ...]
    spans: tuple[int, ...]

    def view(self, whole: Tensor) -> Tensor:
        """The part of ``whole`` with every axis as two, its blocks and what they hold; no copy."""
        for axis, (size, blocks, span) in enumerate(zip(self.shape, self.blocks, self.spans, strict=True)):
            place = 2 * axis
            whole = whole.narrow(place, 0, span).unflatten(place, (blocks, span // blocks))
            whole = whole.narrow(place + 1, 0, size // blocks)
        return whole

    def of(self, whole: Tensor) -> Tensor:
        """The part of ``whole``, in its own shape."""
        return self.view(whole).reshape(self.shape)

    def put(self, part: Tensor, whole: Tensor) -> None:
        """Write ``part`` to its place."""
        view = self.view(whole)
        view.copy_(part.reshape(view.shape))


def head_axes(mixer: Mixer) -> dict[str, Headed]:
    """Which axes of a mixer's parameters are of heads, by the parameter's name in the mixer.

    Of a mixer made of stages they are found by looking: an axis that grows with the heads and also with K or V is one.
    Parameters that are not listed have none, and so has a mixer that stands in no two sizes.
    """
    if isinstance(mixer, SoftmaxMixer):
        rows = {f"{name}.{part}": True for name in ("query", "key", "value") for part in ("weight", "bias")}
        return {
            **{name: (True, False) if name.endswith("weight") else (True,) for name in rows},
            "output.weight": (False, True),
        }
    if not isinstance(mixer, EOSMixer) or mixer.heads is None:
        return {}
    for width, heads, key, value in _LOOKS:
        base = _shapes(mixer, width, heads, key, value)
        more_heads = _shapes(mixer, width, 2 * heads, key, value)
        larger = [_shapes(mixer, width, heads, 2 * key, value), _shapes(mixer, width, heads, key, 2 * value)]
        larger += [_shapes(mixer, width, heads, 2 * key, 2 * value)]
        if base and more_heads and any(larger):
            return {
                name: tuple(
                    grown != size and any(other[name][axis] != size for other in larger if name in other)
                    for axis, (size, grown) in enumerate(zip(shape, more_heads[name], strict=True))
                )
                for name, shape in base.items()
                if name in more_heads
            }
    return {}


def _shapes(mixer: EOSMixer, width: int, heads: int, key: int, value: int) -> dict[str, torch.Size]:
    """Shapes of a mixer's parameters in these sizes; none where it cannot stand in them."""
    groups = None if mixer.groups is None else heads
    mixer = replace(mixer, heads=heads, key_size=key, value_size=value, groups=groups)
    try:
        if refuse(mixer, width) is not None:
            return {}
        with torch.device("meta"):
            layer = EOSLayer(mixer, width, layer=1, layers=2, shared={})
    except (EOSError, RuntimeError, ValueError):
        return {}
    return {name: parameter.shape for name, parameter in layer.named_parameters()}


_PLACE = re.compile(r"^(?P<stack>(?:.*\.)?)blocks\.(?P<layer>\d+)\.mixer\.(?P<name>.*)$")


@dataclass(frozen=True, kw_only=True)
class Home:
    """Where the parameter of a network lives in the network that shares its weights.

    Every layer has a set of weights for each mixer, and all else once.

    Arguments:
        key: the name of the larger parameter.
        layer: of the mixer whose it is; None where it is no mixer's.
        name: in that mixer.
    """

    key: str
    layer: Layer | None = None
    name: str = ""


def home(name: str, architecture: Architecture, shared: frozenset[tuple[str, str]]) -> Home:
    """Where a parameter lives.

    Arguments:
        name: in the network.
        shared: mixers with names of parameters that all their layers have in common.
    """
    found = _PLACE.match(name)
    if found is None:
        return Home(key=name)
    inside = architecture.encoder is not None and found["stack"] == "encoder."
    stack = architecture.encoder if inside and architecture.encoder is not None else architecture.layers
    layer, inner = stack[int(found["layer"])], found["name"]
    place = "shared" if (layer.mixer, inner) in shared else f"blocks.{found['layer']}"
    return Home(key=f"{found['stack']}{place}.mixer.{layer.mixer}.{inner}", layer=layer, name=inner)


def in_common(architecture: Architecture, model: nn.Module) -> Iterator[tuple[str, str]]:
    """Mixers with the names of parameters that several layers of a model share."""
    seen: set[int] = set()
    for name, parameter in model.named_parameters(remove_duplicate=False):
        held = home(name, architecture, frozenset())
        if held.layer is not None and id(parameter) in seen:
            yield held.layer.mixer, held.name
        seen.add(id(parameter))
