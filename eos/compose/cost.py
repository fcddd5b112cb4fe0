"""What a model takes before it is built: parameters, memory, and operations and bytes a token.

Every weight that meets a token costs two floating-point operations (one multiplication, one addition); what the engine
does with the memory comes from its plan. A training step is three forward passes' worth: the backward pass computes
two gradients where the forward pass computes one product. Bytes are float32.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import torch
from torch import nn

from eos.config import ModelRecipe
from eos.engine import Plan
from eos.engine.plan import plan_structure
from eos.engine.structure import structure_of
from eos.layer import AbstractMixer, Design, EOSLayer, LongConvolution
from eos.layer.convolution import CausalConvolution
from eos.layer.readout import Readout
from eos.models import Encoder, LanguageModel
from eos.models.attention import SoftmaxAttention
from eos.models.block import Block
from eos.models.channel_mixer import FeedForward
from eos.models.cross_attention import CrossAttention
from eos.models.stack import outlined
from eos.record import Convolution, Recurrence, parts

FLOAT = 4
#: A forward pass and a backward pass, in forward passes.
PASSES = 3


@dataclass(frozen=True, kw_only=True)
class Work:
    """Floating-point operations and bytes moved, for one token of one sequence."""

    flops: float
    bytes: float

    def __add__(self, other: "Work") -> "Work":
        return Work(flops=self.flops + other.flops, bytes=self.bytes + other.bytes)

    def __mul__(self, times: float) -> "Work":
        return Work(flops=self.flops * times, bytes=self.bytes * times)


NOTHING = Work(flops=0, bytes=0)


@dataclass(frozen=True, kw_only=True)
class MixerCost:
    """One mixer in one layer.

    Arguments:
        layers: the layers it stands in; none where it stands once after the embedding.
        record: what the engine runs, on the meta device; None for softmax attention.
        plan: how the engine runs it; None for softmax attention.
        forward: mixing over time in a forward pass, without the projections.
        step: the same for a token of decoding.
        memory: bytes that decoding keeps of a sequence.
        growth: bytes that one more token adds to them.
    """

    layers: tuple[int, ...] = ()
    record: Recurrence | Convolution | None
    plan: Plan | None
    forward: Work
    step: Work
    memory: int
    growth: int


@dataclass(frozen=True, kw_only=True)
class ModelCost:
    """A whole model, for sequences of ``length`` tokens.

    Arguments:
        length: T, of a training sequence and of what decoding has seen.
        parameters: trained numbers.
        non_embedding: those outside of embeddings and a linear head, the N of scaling laws.
        mixers: by name, those that stand in the layout; of an encoder beside a decoder as ``encoder.NAME``.
        training: a token of training, weights' own traffic left out (a batch shares it).
        decoding: a token of decoding one sequence, which reads every weight.
        memory: bytes that decoding keeps of a sequence, over all layers; 0 for mixers that see what comes later.
        growth: bytes that one more token adds to them.
    """

    length: int
    parameters: int
    non_embedding: int
    mixers: dict[str, MixerCost]
    training: Work
    decoding: Work
    memory: int
    growth: int


def cost_of(
    recipe: ModelRecipe,
    *,
    vocabulary: int = 256,
    length: int = 2048,
    device: str = "cpu",
    make: Callable[[ModelRecipe], nn.Module] | None = None,
    grid: Sequence[int] | None = None,
) -> ModelCost:
    """The cost of a recipe's model, of which one block of every mixer is laid out on the meta device, and none is run.

    Arguments:
        recipe: the model, checked and not refused.
        vocabulary: number of token ids, ≥ 1, of a language model.
        length: T, ≥ 1.
        device: the type of device to plan for, cpu or cuda.
        make: what is built of the recipe; None for a language model.
        grid: sizes of the grid that the tokens form, whose product is the length.
    """
    with torch.device("meta"), torch.no_grad():
        with outlined() as outlines:
            model = LanguageModel(recipe, vocabulary) if make is None else make(recipe)
        blocks = {path: module for path, module in model.named_modules() if isinstance(module, Block)}
        # a model that stood before has no outline, and every block
        stands: dict[Block, tuple[int, ...]] = {
            block: (int(path.rpartition(".")[2]),) for path, block in blocks.items()
        }
        for outline in outlines:
            stands |= {block: outline.layers[name] for name, block in outline.blocks.items()}
        both = any(not path.startswith("encoder.") for path in blocks)
        places: dict[str, list[int]] = {}
        first: dict[str, Block] = {}
        for path, block in blocks.items():
            name = f"encoder.{block.name}" if both and path.startswith("encoder.") else block.name
            first.setdefault(name, block)
            places.setdefault(name, []).extend(stands[block])
        sizes = None if grid is None else tuple(grid)
        mixers = {}
        for name, layers in places.items():
            place = _Place(first[name].mixer, layers[0], recipe.width)
            cost = _placed_cost(place, length=length, grid=sizes, device=device)
            mixers[name] = replace(cost, layers=tuple(layers))
        times = [(mixer, len(mixer.layers)) for mixer in mixers.values()]
        for module in model.modules():
            if isinstance(module, LanguageModel | Encoder) and module.positions is not None:
                place = _Place(module.positions, 0, recipe.width)
                once = _placed_cost(place, length=length, grid=sizes, device=device)
                times.append((once, 1))
                mixers.setdefault(str(recipe.positions), once)
    more = {block: len(stands[block]) - 1 for block in blocks.values()}
    shared = {parameter for outline in outlines for parameter in outline.shared}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    parameters += sum(n * sum(own.numel() for own in set(block.parameters()) - shared) for block, n in more.items())
    embeddings = [module.weight.numel() for module in model.modules() if isinstance(module, nn.Embedding)]
    head = getattr(model, "head", None)
    ends = sum(embeddings) + (head.weight.numel() if isinstance(head, nn.Linear) else 0)
    # A token meets the weights of an embedding only where the head shares them.
    met = parameters - sum(embeddings) + (embeddings[-1] if getattr(model, "head", model) is None else 0)
    moved = _moved(model, recipe.width) + sum(n * _moved(block, recipe.width) for block, n in more.items())
    between = Work(flops=2 * met, bytes=FLOAT * moved)
    for block in blocks.values():
        if block.cross is not None:
            times.append((_cross_cost(block.cross, length=length), len(stands[block])))
    forward = sum((mixer.forward * n for mixer, n in times), between)
    return ModelCost(
        length=length,
        parameters=parameters,
        non_embedding=parameters - ends,
        mixers=mixers,
        training=forward * PASSES,
        decoding=sum((mixer.step * n for mixer, n in times), Work(flops=2 * met, bytes=FLOAT * met)),
        memory=sum(mixer.memory * n for mixer, n in times)
        + sum(_shifted(block) * len(stands[block]) for block in blocks.values()),
        growth=sum(mixer.growth * n for mixer, n in times),
    )


@dataclass(frozen=True)
class _Place:
    """A mixer, and what its cost depends on: its recipe and, but for softmax, the first layer that it stands in."""

    mixer: AbstractMixer = field(compare=False)
    layer: int
    width: int
    design: Design | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        mixer = self.mixer
        if isinstance(mixer, SoftmaxAttention | LongConvolution | EOSLayer):
            object.__setattr__(self, "design", Design(mixer.mixer))
        if isinstance(mixer, SoftmaxAttention):
            object.__setattr__(self, "layer", 0)


@lru_cache(maxsize=256)
def _placed_cost(place: _Place, *, length: int, grid: tuple[int, ...] | None, device: str) -> MixerCost:
    """The cost of a mixer on a sequence, or on a grid: along every axis of it, or in one pass."""
    mixer, width = place.mixer, place.width
    if grid is None or (isinstance(mixer, EOSLayer) and mixer.mixer.grid == "places"):
        return _mixer_cost(mixer, width, length=length, device=device)
    axes = [_mixer_cost(mixer, width, length=size, device=device) for size in grid]
    return replace(axes[-1], forward=sum((axis.forward for axis in axes), NOTHING))


def _mixer_cost(mixer: AbstractMixer, width: int, *, length: int, device: str) -> MixerCost:
    if isinstance(mixer, SoftmaxAttention):
        return _softmax_cost(mixer, width, length=length)
    if isinstance(mixer, LongConvolution):
        return _convolution_cost(mixer, width, length=length, device=device)
    if not isinstance(mixer, EOSLayer):
        raise TypeError(f"the cost of a {type(mixer).__name__} is not known")
    x = torch.empty(1, length, width)
    record = mixer.record(x)
    structure = replace(structure_of(record), device=device)
    plan = plan_structure(structure)
    plans, first = [plan], mixer.composition.first
    if first is not None:
        looked_up = first.record(x, record.expand, record.transition)
        plans.append(plan_structure(replace(structure_of(looked_up), device=device)))
    steps = [plan_structure(replace(each.structure, length=1), algorithm="sequential") for each in plans]
    forward = Work(
        flops=sum(each.cost.flops for each in plans) / structure.length,
        bytes=sum(each.cost.bytes for each in plans) / structure.length + FLOAT * _made(record, plan.edges),
    )
    if mixer.mixer.direction != "forward":
        passes = 2 if mixer.mixer.direction == "both" else 1
        return MixerCost(record=record, plan=plan, forward=forward * passes, step=NOTHING, memory=0, growth=0)
    # The first pass's memory is among the pasts.
    memory = plan.state_bytes + FLOAT * structure.heads * structure.normaliser + _pasts(mixer)
    return MixerCost(
        record=record,
        plan=plan,
        forward=forward,
        # The memory is read and written once a token.
        step=Work(flops=sum(one.cost.flops for one in steps), bytes=2 * memory),
        memory=memory,
        growth=0,
    )


def _made(record: Recurrence, edges: frozenset[str]) -> float:
    """Floats that the stages move a token to make what they return, each read, written and read; without edges."""
    inside = {name.partition(" ")[0] for name in edges}
    varying = [
        tensor
        for name, axes, tensor in parts(record)
        if name not in {"input", "reset", *inside} and axes[1] in ("T", "S") and tensor.shape[1] > 1
    ]
    return 3 * sum(tensor.numel() for tensor in varying) / record.sizes["T"]


def _moved(model: nn.Module, width: int) -> float:
    """Floats that a token moves into projections and out of them, and between them: norms, activations, gates, sums,
    taps of short convolutions.
    """
    floats = 0.0
    for module in model.modules():
        match module:
            case nn.Linear():
                floats += module.in_features + module.out_features
            case CausalConvolution():
                floats += 3 * module.weight.numel() + 3 * module.weight.shape[1]
            case Readout():
                channels = (module.output if module.mix is None else module.mix).in_features
                floats += channels * (4 * (not isinstance(module.norm, nn.Identity)) + 5 * (module.gate is not None))
            case FeedForward():
                floats += module.output.in_features * (2 if module.value is None else 5)
            case Block():
                branches = 1 if module.channel_mixer is None else 2
                floats += 6 * width * branches
    return floats


def _shifted(block: Block) -> int:
    """Bytes that the token shift of a channel mixer remembers."""
    if block.channel_mixer is None or block.channel_mixer.shift is None:
        return 0
    return block.channel_mixer.shift.mix.shape[1] * FLOAT


def _pasts(mixer: EOSLayer) -> int:
    """Bytes that short convolutions remember."""
    return sum(tensor.numel() * FLOAT for tensor in mixer.cache(1).tensors())


def _convolution_cost(mixer: LongConvolution, width: int, *, length: int, device: str) -> MixerCost:
    record, order = mixer.record(torch.empty(1, length, width)), mixer.mixer.order
    plan = plan_structure(replace(structure_of(record), device=device))
    forward = Work(flops=plan.cost.flops / plan.structure.length, bytes=plan.cost.bytes / plan.structure.length)
    if mixer.mixer.direction != "forward":
        forward = forward * order
        return MixerCost(record=record, plan=plan, forward=forward, step=NOTHING, memory=0, growth=0)
    lags, channels = min(mixer.mixer.lags or length, length), mixer.output.in_features
    pasts = sum(tensor.numel() * FLOAT for tensor in mixer.cache(1).tensors())
    step = Work(flops=2.0 * order * channels * lags, bytes=0)
    if mixer.mixer.decoding == "recurrence":
        states = order * channels * 2 * (mixer.mixer.lags or 0)
        memory, growth = states * FLOAT + pasts, 0
        step = Work(flops=10.0 * states, bytes=memory)  # turned, decayed, written and read, then written back
    else:
        memory = order * channels * (lags if mixer.mixer.lags is None else lags - 1) * FLOAT + pasts
        growth = order * channels * FLOAT if mixer.mixer.lags is None else 0
    return MixerCost(
        record=record,
        plan=plan,
        forward=forward * order,
        step=step + Work(flops=0, bytes=memory),
        memory=memory,
        growth=growth,
    )


def _cross_cost(cross: CrossAttention, *, length: int) -> MixerCost:
    """Reading an encoded sequence of ``length`` tokens; the projections are counted with all others."""
    width, heads = cross.query.in_features, cross.options.heads
    if cross.options.kind == "softmax":
        held, flops = 2 * length * width, 4.0 * length * width
    else:
        held, flops = width * width // heads + width, 2.0 * (width * width // heads + width)
    return MixerCost(
        record=None,
        plan=None,
        forward=Work(flops=flops, bytes=FLOAT * 4.0 * width),
        step=Work(flops=flops, bytes=FLOAT * held),
        memory=FLOAT * held,
        growth=0,
    )


def _softmax_cost(mixer: SoftmaxAttention, width: int, *, length: int) -> MixerCost:
    attended = 4.0 * width
    if mixer.mixer.direction != "forward":
        forward = Work(flops=attended * length, bytes=FLOAT * 4.0 * width)
        return MixerCost(record=None, plan=None, forward=forward, step=NOTHING, memory=0, growth=0)
    cache = mixer.cache(1)
    mixer(torch.empty(1, length, width), cache=cache)
    memory = cache.bytes
    mixer(torch.empty(1, 1, width), cache=cache)
    window = min(mixer.reach or length, length)
    # Token t looks at min(t, window) tokens, itself among them; in a block at fewer, which this leaves out.
    looked_at = window - window * (window - 1) / (2 * length)
    return MixerCost(
        record=None,
        plan=None,
        forward=Work(flops=attended * looked_at, bytes=FLOAT * 4.0 * width),
        step=Work(flops=attended * window, bytes=memory),
        memory=memory,
        growth=cache.bytes - memory,
    )
