"""The one predicate for compositions that make no sense."""

from functools import lru_cache

import torch

from eos.config import ConvolutionMixer, EOSMixer, SoftmaxMixer
from eos.errors import CompositionError, RecordError
from eos.layer.bonus import refuse_bonus
from eos.layer.build import check_stage
from eos.layer.composition import Composition, Design, make_context, stage_recipes
from eos.layer.direction import refuse_all
from eos.layer.long_convolution import LongConvolution
from eos.record import Recurrence

#: Distinct from one another and from 1, so that every axis of the dummy tensors is told apart.
ROWS, STEPS = 2, 3


def refuse(mixer: EOSMixer | SoftmaxMixer | ConvolutionMixer, width: int) -> str | None:
    """Why these stages and sizes cannot stand together in a model of this width, or None.

    The stages are built on the meta device, which holds shapes and no numbers, and run on a dummy x: what a stage,
    the product of transitions or the record refuses is the answer. No rule is listed here a second time.

    Raises:
        RecipeError: an unknown stage or option, which is no matter of composition.
    """
    if isinstance(mixer, SoftmaxMixer):
        return _refuse_softmax(mixer, width)
    return _refusal(Design(mixer), width)


@lru_cache(maxsize=1024)
def _refusal(design: Design, width: int) -> str | None:
    mixer = design.mixer
    assert not isinstance(mixer, SoftmaxMixer)
    return _refuse_convolution(mixer, width) if isinstance(mixer, ConvolutionMixer) else _refuse_eos(mixer, width)


def _refuse_eos(mixer: EOSMixer, width: int) -> str | None:
    try:
        context = make_context(mixer, width, layer=0, layers=1, shared=None)
        # what a stage refuses by itself is known before any is built; with two passes not all stand in this context
        if mixer.first_pass is None:
            for kind, recipe in stage_recipes(mixer):
                check_stage(kind, recipe, context)
        with torch.device("meta"), torch.no_grad():
            states, _ = Composition(mixer, width, context)(torch.empty(ROWS, STEPS, width), reset=None, pasts=None)
            record = Recurrence(
                input=states.i,
                expand=states.e,
                shrink=states.s,
                transition=states.transition,
                read=mixer.read,
                substeps=mixer.substeps,
            )
        if mixer.bonus:
            refuse_bonus(states, mixer.read, context.key_size)
    except (CompositionError, RecordError) as error:
        return f"{_stages(mixer)} cannot stand together: {error}"
    if mixer.direction == "all":
        if mixer.bonus or mixer.first_pass is not None:
            return "direction=all reads all tokens at once, and has neither bonus nor first_pass; take both"
        return refuse_all(record)
    if mixer.direction == "both" and mixer.denominator is not None and record.transition.stabilise == "max":
        return "direction=both adds two reads before it divides, which a running maximum scales apart"
    return None


def _refuse_softmax(mixer: SoftmaxMixer, width: int) -> str | None:
    if width % mixer.heads:
        return f"heads = {mixer.heads} do not divide the width {width}"
    if mixer.heads % (mixer.groups or mixer.heads):
        return f"heads = {mixer.heads} must be a multiple of groups = {mixer.groups}"
    size = width // mixer.heads
    if mixer.rope and size % 2:
        return f"rotary positions turn pairs: width / heads must be even, got {size}"
    return None


def _refuse_convolution(mixer: ConvolutionMixer, width: int) -> str | None:
    try:
        with torch.device("meta"), torch.no_grad():
            LongConvolution(mixer, width)(torch.empty(ROWS, STEPS, width))
    except (CompositionError, RecordError) as error:
        return f"response={mixer.response.name} cannot stand here: {error}"
    return None


def _stages(mixer: EOSMixer) -> str:
    names: dict[str, list[str]] = {}
    for kind, recipe in stage_recipes(mixer):
        names.setdefault(kind, []).append(recipe.name)
    return " ".join(f"{kind}={'+'.join(stages)}" for kind, stages in names.items())
