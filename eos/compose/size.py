"""Sizes: layers, width, heads and hidden width that any model recipe can be given by one name."""

from typing import Any

from eos import registry
from eos.compose.check import check
from eos.compose.reader import read_recipe
from eos.config import option, options
from eos.errors import RecipeError


@options
class Size:
    """A size of model, without the vocabulary."""

    layers: int = option(description="number of blocks L", low=1)
    width: int = option(description="model width D", low=1)
    heads: int = option(description="heads of every mixer that has several", low=1)
    hidden: int = option(description="hidden width of the channel mixer", low=1)


def resized(model: dict[str, Any], name: str) -> dict[str, Any]:
    """The data of a model recipe in another size.

    A mixer with one head, or with as many as fit, stays as it is. The hidden width is that of a gated linear unit: a
    plain two-layer one gets half as much again, which is as many weights, and a model without a channel mixer twice the
    layers. The bottleneck of an output gate becomes the width of a head.

    Raises:
        RecipeError: an unknown size, or a broken recipe of one.
    """
    path = registry.recipe("size", name)
    size = check(Size, read_recipe(path), source=str(path))
    if model.get("channel_mixers") or model.get("encoder"):
        raise RecipeError(f"size={name}: this model's layers have sizes of their own; set width and layers by hand")
    channel_mixer = dict(model.get("channel_mixer") or {})
    shape = channel_mixer.get("name", "glu")
    layers = 2 * size.layers if shape == "none" else size.layers
    channel_mixer["ratio"] = size.hidden / size.width * (1.5 if shape == "mlp" else 1)
    mixers = {each: _with_heads(mixer, size) for each, mixer in model["mixers"].items()}
    return {**model, "layers": layers, "width": size.width, "channel_mixer": channel_mixer, "mixers": mixers}


def _with_heads(mixer: dict[str, Any], size: Size) -> dict[str, Any]:
    if mixer.get("kind") == "convolution" or mixer.get("heads", 0) in (1, None):
        return mixer
    mixer = {**mixer, "heads": size.heads}
    gate = (mixer.get("output") or {}).get("gate")
    if gate and gate.get("rank") is not None:
        mixer["output"] = {**mixer["output"], "gate": {**gate, "rank": size.width // size.heads}}
    return mixer
