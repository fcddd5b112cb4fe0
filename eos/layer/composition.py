"""From x to what the engine runs: the projection of i, the stages, and the short convolutions between."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from eos import registry
from eos.config import ConvolutionMixer, EOSMixer, SoftmaxMixer, StageRecipe
from eos.errors import CompositionError
from eos.layer.build import build_stage
from eos.layer.convolution import CausalConvolution
from eos.layer.denominator import States, with_ones
from eos.layer.first_pass import FirstPass
from eos.layer.grid import by_place, from_neighbours
from eos.layer.microsteps import MicrostepsExpand
from eos.layer.null_token import with_null_token
from eos.layer.token_shift import Shift, previous
from eos.record import Transition
from eos.stage import AbstractCouple, AbstractExpand, AbstractShrink, LayerContext, activate

Pasts = dict[str, Tensor]
#: What a token shift gives a view of x of its own, and the name of its past.
TARGETS, SHIFT = ("input", "expand", "oscillation", "shrink", "gate"), "token_shift"
#: The name of the first pass's memory among the pasts.
FIRST = "first_pass"
#: Among the pasts, whether there was a token.
BEGUN = "begun"


@dataclass(frozen=True)
class Design:
    """A mixer's recipe and the classes of its stages: equal where the same would be built, and hashable.

    Arguments:
        mixer: the recipe.
    """

    mixer: EOSMixer | SoftmaxMixer | ConvolutionMixer = field(compare=False)
    text: str = field(init=False)
    stages: tuple[type, ...] = field(init=False)

    def __post_init__(self) -> None:
        named: Iterator[tuple[str, StageRecipe]] = iter(())
        if isinstance(self.mixer, EOSMixer):
            named = stage_recipes(self.mixer)
        elif isinstance(self.mixer, ConvolutionMixer):
            named = iter([("response", self.mixer.response)])
        object.__setattr__(self, "text", repr(self.mixer))
        object.__setattr__(self, "stages", tuple(registry.stage(kind, recipe.name).load() for kind, recipe in named))


def stage_recipes(mixer: EOSMixer) -> Iterator[tuple[str, StageRecipe]]:
    """Every stage of a mixer with its kind, in the order they act."""
    yield "expand", mixer.expand
    yield from (("oscillation", recipe) for recipe in mixer.oscillation)
    if mixer.first_pass is not None:
        yield from (("expand", mixer.first_pass.expand), ("shrink", mixer.first_pass.shrink))
    yield "shrink", mixer.shrink
    if mixer.couple is not None:
        yield "couple", mixer.couple


def make_context(
    mixer: EOSMixer, width: int, *, layer: int, layers: int, shared: dict[str, nn.Parameter] | None
) -> LayerContext:
    """The sizes of a mixer's heads in a model of this width.

    Raises:
        CompositionError: sizes that do not divide.
    """
    if mixer.input != "linear" and (mixer.stages_read == "input" or mixer.input_activation != "none"):
        raise CompositionError(f"input={mixer.input} is no projection: it has no activation and no stages_read=input")
    if mixer.token_shift is not None and mixer.stages_read == "input":
        raise CompositionError("a token shift is of the layer's input, which stages_read=input hides from the stages")
    if mixer.input == "ones" and mixer.skip and not mixer.output.mix:
        raise CompositionError("skip=true with input=ones needs output.mix=true: ones say nothing of x")
    if mixer.substeps > 1 and (mixer.input != "linear" or mixer.stages_read == "input" or mixer.skip or mixer.bonus):
        raise CompositionError("substeps need input=linear and stages_read=layer, and have neither skip nor bonus")
    if mixer.null_token and mixer.bonus:
        raise CompositionError("null_token=true has no bonus: the empty token would have to share in it")
    if mixer.grid == "places" and (mixer.token_shift is not None or mixer.short_convolution is not None):
        raise CompositionError("grid=places has no token_shift and no short_convolution: a token has several before it")
    if mixer.neighbours is not None and (mixer.direction != "all" or mixer.input == "ones"):
        raise CompositionError("neighbours are of layers that see them (direction=all), and of an input that differs")
    if mixer.output.norm_parts > 1 and (mixer.output.norm != "rms" or mixer.output.per_head):
        raise CompositionError("output.norm_parts are of a norm of the whole width: norm=rms and per_head=false")
    gate = mixer.output.gate
    if gate is not None and gate.inner != "none" and gate.rank is None:
        raise CompositionError("output.gate.inner acts inside a bottleneck: give output.gate.rank")
    heads = mixer.heads or _heads(mixer, width)
    groups = mixer.groups or heads
    if heads % groups:
        raise CompositionError(f"heads = {heads} must be a multiple of groups = {groups}")
    key = mixer.key_size or _share(width, mixer.key_ratio, heads, "key")
    value = mixer.value_size or _share(width, mixer.value_ratio, heads, "value")
    if mixer.input == "layer" and heads * value != width:
        raise CompositionError(f"input=layer needs heads · V = width, got {heads} · {value} and {width}")
    return LayerContext(
        layer=layer,
        layers=layers,
        width=heads * value if mixer.stages_read == "input" else width,
        heads=heads,
        groups=groups,
        key_size=key,
        value_size=value,
        substeps=mixer.substeps,
        shared={} if shared is None else shared,
    )


def _heads(mixer: EOSMixer, width: int) -> int:
    if mixer.value_size is None:
        raise CompositionError("heads=null needs a value_size, which says how many there are")
    return _share(width, mixer.value_ratio, mixer.value_size, "value")


def _share(width: int, ratio: float, heads: int, name: str) -> int:
    whole = width * ratio
    size = round(whole / heads)
    if size < 1 or abs(size * heads - whole) > 1e-6:
        raise CompositionError(
            f"{heads} heads do not divide {name}_ratio · width = {whole:g}; choose other heads or a {name}_size"
        )
    return size


class Composition(nn.Module):
    """The stages of one layer."""

    def __init__(self, mixer: EOSMixer, width: int, context: LayerContext) -> None:
        super().__init__()
        self.mixer = mixer
        self.context = context
        channels = context.substeps * context.heads * context.value_size
        self.input = nn.Linear(width, channels, bias=mixer.bias) if mixer.input == "linear" else None
        self.expand: AbstractExpand = (
            build_stage("expand", mixer.expand, context)
            if context.substeps == 1
            else MicrostepsExpand([build_stage("expand", mixer.expand, context) for _ in range(context.substeps)])
        )
        self.oscillation = nn.ModuleList(build_stage("oscillation", recipe, context) for recipe in mixer.oscillation)
        self.first = None if mixer.first_pass is None else FirstPass(mixer.first_pass, context)
        seen = context.width if self.first is None else context.heads * context.key_size
        passes = 1 if self.first is None else 2
        self.shrink: AbstractShrink = build_stage("shrink", mixer.shrink, replace(context, width=seen, passes=passes))
        self.couple: AbstractCouple | None = (
            None if mixer.couple is None else build_stage("couple", mixer.couple, context)
        )
        self.shift: Shift | None = None
        if mixer.token_shift is not None:
            places = {"layer": context.layer, "layers": context.layers}
            self.shift = Shift(mixer.token_shift, width, TARGETS, **places)
        self.convolutions = nn.ModuleDict()
        if mixer.short_convolution is not None:
            features = {"expand": self.expand.features, "shrink": self.shrink.features}
            features["input"] = 0 if self.input is None else channels
            # fixed decays and turns read no x
            reads = any(isinstance(module, nn.Linear) for module in self.oscillation.modules())
            features["oscillation"] = context.width if reads else 0
            for target in mixer.short_convolution.targets:
                if features[target]:
                    self.convolutions[target] = CausalConvolution(mixer.short_convolution, features[target])
            if not self.convolutions:
                named = ", ".join(mixer.short_convolution.targets)
                raise CompositionError(f"short_convolution has nothing to act on: none of {named} reads x")
            if self.first is not None and "shrink" in self.convolutions:
                raise CompositionError("with first_pass a short convolution acts on the input: targets=[input]")

    def pasts(self, batch: int, *, device: torch.device | None, dtype: torch.dtype | None) -> Pasts:
        """Empty pasts of the short convolutions, of the token shift and of the first pass."""
        pasts = {}
        if self.shift is not None:
            pasts[SHIFT] = torch.zeros(batch, 1, self.shift.mix.shape[1], device=device, dtype=dtype)
        for target, convolution in self.convolutions.items():
            assert isinstance(convolution, CausalConvolution)
            pasts[target] = torch.zeros(batch, *convolution.shape, device=device, dtype=dtype)
        if self.mixer.null_token:
            pasts[BEGUN] = torch.zeros(1, dtype=torch.bool, device=device)
        if self.first is not None:
            pasts[FIRST] = self.first.empty(batch, device=device)
        return pasts

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        *,
        reset: Bool[Tensor, "B T"] | None,
        pasts: Pasts | None,
        shape: Sequence[int] | None = None,
    ) -> tuple[States, Float[Tensor, "B T D"]]:
        """What the engine runs, and what the output gate sees; ``pasts`` is moved on in place.

        With the shape of a grid, x holds its tokens, the last axis the fastest.
        """
        held: Pasts = {} if pasts is None else pasts

        def convolve(target: str, z: Tensor) -> Tensor:
            if target in self.convolutions:
                z, held[target] = self.convolutions[target](z, reset=reset, past=held.get(target))
            return z

        seen = dict.fromkeys(TARGETS, x)
        if self.shift is not None:
            before, held[SHIFT] = previous(x, reset=reset, past=held.get(SHIFT))
            seen = self.shift(x, before)
        z = seen["input"]
        if self.input is not None:
            z = activate(self.mixer.input_activation, convolve("input", self.input(z)))
        if self.mixer.stages_read == "input":
            seen = {**dict.fromkeys(TARGETS, z), "gate": x}
        if self.mixer.input == "ones":
            i = x.new_ones(1, 1, 1, self.context.value_size)
        else:
            i = rearrange(z, "b t (n h v) -> b (t n) h v", n=self.context.substeps, h=self.context.heads)
        e = self.expand(convolve("expand", self.expand.project(seen["expand"])))
        transition, z = Transition(), convolve("oscillation", seen["oscillation"])
        for oscillate in self.oscillation:
            transition = transition.times(oscillate(z, e), substeps=self.context.substeps)
        if self.first is not None:
            record = self.first.record(seen["shrink"], e, transition, reset=reset, memory=held.get(FIRST))
            seen["shrink"], held[FIRST] = self.first(record)
        if shape is not None:
            transition = by_place(transition, shape)
        if self.mixer.neighbours is not None:
            i, e = (from_neighbours(z, shape or x.shape[1:2], self.mixer.neighbours) for z in (i, e))
        s = self.shrink(convolve("shrink", self.shrink.project(seen["shrink"])), e, transition)
        if self.couple is not None:
            if isinstance(s, tuple):
                raise CompositionError(f"a couple stage changes one read, got {len(s)}")
            i, e, s = self.couple(i, e, s)
        if self.mixer.null_token:
            transition = with_null_token(transition, e, reset=reset, begun=held.get(BEGUN))
            held[BEGUN] = torch.ones(1, dtype=torch.bool, device=x.device)
        states = States(i, e, s, transition)
        return (states if self.mixer.denominator is None else with_ones(states)), seen["gate"]
