"""Typed recipes: what a YAML file may say, checked before anything is built.

A recipe is data: names and numbers, never a Python path. Every level of it is a frozen dataclass made with
:func:`options`, whose fields declare type, range, default and meaning with :func:`option`; search reads the same
declarations. A stage declares its own options the same way, in its ``Options`` class.
"""

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import fields
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, dataclass_transform, get_args, get_origin

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from eos.errors import RecipeError, unknown

C = TypeVar("C")

Activation = Literal["none", "relu", "sigmoid", "elu_plus_one", "silu", "elu", "relu_squared", "square", "exp", "gelu"]
Norm = Literal["none", "rms", "simple_rms", "layer"]
#: How memories pass between processes that share a sequence.
Form = Literal["ring", "gather"]


def option(
    default: Any = ...,
    description: str = "",
    *,
    above: float | None = None,
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
) -> Any:
    """Declare one option of an :func:`options` class.

    Arguments:
        default: the value when a recipe is silent; left out, the option is required.
        description: one line, shown by ``eos list`` and ``eos describe``.
        above: the value must be greater than this (exclusive bound).
        low, high: the value must lie in ``low <= value <= high``.
        log: search samples it on a logarithmic scale.
    """
    return Field(default, description=description, gt=above, ge=low, le=high, json_schema_extra={"log": log})


@dataclass_transform(frozen_default=True, kw_only_default=True)
def options(cls: type[C]) -> type[C]:
    """Make ``cls`` a frozen, keyword-only dataclass that validates its fields and refuses unknown ones."""
    return dataclass(cls, frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))  # type: ignore[return-value]


def checked(cls: type[C], values: Mapping[str, Any], where: str) -> C:
    """``cls(**values)``, where ``cls`` is an :func:`options` class.

    Raises:
        RecipeError: naming ``where``, the option, what was got and what is allowed.
    """
    try:
        return cls(**values)
    except ValidationError as error:
        known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        raise RecipeError("; ".join(_complaint(fault, known, where) for fault in error.errors())) from None


def _complaint(fault: Any, known: list[str], where: str) -> str:
    path = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "unexpected_keyword_argument" and len(fault["loc"]) == 1:
        return unknown(f"option of {where}", path, known)
    if fault["type"] in ("missing", "missing_argument"):
        return f"{where} needs {path}"
    return f"{where}: {path}: {fault['msg']}, got {fault['input']!r}"


@plain_dataclass(frozen=True, kw_only=True)
class OptionField:
    """One declared option, as lists, errors and search see it.

    Arguments:
        name: its key in a recipe.
        type: its annotation.
        required: whether a recipe must give it; when False, ``default`` holds.
        default: the value when a recipe is silent.
        description: one line.
        above: exclusive lower bound, or None.
        low, high: inclusive bounds, or None.
        log: search samples it on a logarithmic scale.
    """

    name: str
    type: Any
    required: bool
    default: Any
    description: str
    above: float | None
    low: float | None
    high: float | None
    log: bool

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values of a Literal or a bool (None among them where null is allowed); empty for any other type."""
        members = get_args(self.type) if get_origin(self.type) in (Union, UnionType) else (self.type,)
        found: list[Any] = []
        for member in members:
            if get_origin(member) is Literal:
                found += get_args(member)
            elif member is bool:
                found += [False, True]
            elif member is NoneType:
                found.append(None)
            else:
                return ()
        return tuple(found)


def option_fields(cls: type[Any]) -> dict[str, OptionField]:
    """The options that an :func:`options` class declares, by name, in its order."""
    return {name: _option_field(name, info) for name, info in cls.__pydantic_fields__.items()}


def _option_field(name: str, info: FieldInfo) -> OptionField:
    bounds: dict[str, Any] = {}
    for constraint in info.metadata:
        for key in ("gt", "ge", "le"):
            bounds[key] = getattr(constraint, key, bounds.get(key))
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    return OptionField(
        name=name,
        type=info.annotation,
        required=info.is_required(),
        default=None if info.is_required() else info.get_default(call_default_factory=True, validated_data={}),
        description=info.description or "",
        above=bounds.get("gt"),
        low=bounds.get("ge"),
        high=bounds.get("le"),
        log=bool(extra.get("log", False)),
    )


@options
class StageRecipe:
    """One stage: its registered name and its own options, checked against the stage's ``Options``."""

    name: str = option(description="the stage's name, as eos list stages shows it")
    options: dict[str, Any] = option({}, "the stage's own options")


def _stage(value: Any) -> Any:
    """From Python a stage may also be its name, or (name, options)."""
    if isinstance(value, str):
        return StageRecipe(name=value)
    if isinstance(value, tuple | list) and len(value) == 2:
        return StageRecipe(name=value[0], options=value[1])
    return value


Stage = Annotated[StageRecipe, BeforeValidator(_stage)]


@options
class ShortConvolution:
    """A causal depthwise convolution over time on the projections of i, e and s, or on what the oscillation sees."""

    size: int = option(4, "taps, the current token included", low=2, high=16)
    activation: Activation = option("silu", "applied to its output")
    bias: bool = option(False, "a bias per channel, before the activation")
    targets: list[Literal["input", "expand", "oscillation", "shrink"]] = option(
        ["input", "expand", "shrink"],
        "what it acts on: projections of x, or, for the oscillation, the x that its stages see",
    )


@options
class TokenShift:
    """Every projection sees x_t + μ ∘ (x_{t-1} − x_t), with a μ of its own."""

    rank: int | None = option(None, "bottleneck of a data-dependent μ; null means a fixed one", low=1, high=256)


@options
class OutputGate:
    """y multiplied by an activation of a projection of the layer's input."""

    activation: Activation = option("silu", "applied to the gate's projection")
    rank: int | None = option(None, "bottleneck of the projection; null means full rank", low=1)
    inner: Activation = option("none", "applied inside the bottleneck")
    position: Literal["before_norm", "after_norm"] = option("after_norm", "where the gate multiplies")


@options
class Output:
    """What happens between the engine's y and the layer's output projection."""

    before_norm: Activation = option("none", "applied to y before its norm")
    norm: Norm = option("rms", "normalisation of y")
    norm_eps: float = option(1e-6, "added to the mean square", above=0)
    per_head: bool = option(True, "normalise each head by itself, else the whole width")
    norm_parts: int = option(1, "without per_head: normalise the width in this many parts (rms alone)", low=1)
    gate: OutputGate | None = option(None, "the output gate, or null")
    mix: bool = option(False, "then a plain projection to the width: the C of states that belong to no channel of x")
    activation: Activation = option("none", "applied last, before the output projection")
    glu: bool = option(False, "project to twice the width, and let a sigmoid of one half gate the other")


@options
class Denominator:
    """Divide y by a second read of the same memory, fed with ones (softmax-like normalisation)."""

    floor: float = option(1e-6, "the denominator's magnitude is at least this", above=0)


@options
class FirstPass:
    """A first memory of the same decays and gates, slots × keys; the shrink stage sees what it returns, not x."""

    key_size: int | None = option(None, "K of its own e and s; null means width / H", low=1, high=1024)
    expand: Stage = option(description="its e: under what the slots are found")
    shrink: Stage = option(description="its s: how they are looked for")


@options
class EOSMixer:
    """A token mixer composed of stages, with the closed list of layer options."""

    kind: Literal["eos"] = "eos"
    heads: int | None = option(4, "number of heads H; null means value_ratio · width / value_size", low=1)
    key_size: int | None = option(
        None, "K, the expand size of a head; null means key_ratio · width / H", low=1, high=1024
    )
    key_ratio: float = option(1.0, "K · H / width, where key_size is null", above=0, high=16)
    value_size: int | None = option(None, "V, the value size of a head; null means value_ratio · width / H", low=1)
    value_ratio: float = option(1.0, "V · H / width, where value_size is null", above=0, high=16)
    groups: int | None = option(None, "heads of e and s (H must be a multiple); null means H", low=1)
    input: Literal["linear", "layer", "ones"] = option(
        "linear",
        "the input i: a projection of x; x itself (a filter a channel); or ones, where e alone says what is written",
    )
    input_activation: Activation = option("none", "applied to the input i")
    stages_read: Literal["layer", "input"] = option(
        "layer", "what the stages see as x: the layer's input, or the input i after convolution and activation (Mamba)"
    )
    expand: Stage = option(description="what is written into the memory, and how")
    oscillation: list[Stage] = option([], "their product; the last listed acts first; empty means no decay")
    shrink: Stage = option(description="how the memory is read")
    couple: Stage | None = option(None, "a joint stage after the three, or null")
    short_convolution: ShortConvolution | None = option(None, "a short convolution on the projections, or null")
    token_shift: TokenShift | None = option(None, "a token shift before every projection, or null")
    substeps: int = option(
        1, "micro-steps of a token: it is written this many times, with an i and an e of their own each", low=1, high=8
    )
    null_token: bool = option(
        False, "an empty token of weight one begins every document, where a log_gate makes weights that sum to one"
    )
    read: Literal["after", "before"] = option("after", "read the memory after or before the token is written")
    bonus: bool = option(False, "add (sᵀ (u ∘ e)) i to y, the token itself, with u learned")
    first_pass: FirstPass | None = option(None, "a first pass that finds slots, which are K; or null")
    denominator: Denominator | None = option(None, "a denominator, or null")
    skip: bool = option(
        False, "add D ∘ i to y, with D learned per channel; D ∘ x after output.mix where the input is ones"
    )
    output: Output = option(Output(), "norm and gate of y")
    direction: Literal["forward", "both", "all"] = option(
        "forward",
        "forward: the past alone; both: plus a pass from the end; all: every token reads the memory of all tokens",
    )
    grid: Literal["axes", "places"] = option(
        "axes",
        "tokens of a grid: axes: mixed along every axis, the results summed; places: in one pass over all of them, "
        "with rotations by the place of each",
    )
    neighbours: int | None = option(
        None,
        "with direction=all: along every axis, one in this many entries of e and of i comes from the next token, and "
        "one from the token before",
        low=2,
    )
    bias: bool = option(False, "biases in the projections of i and of the output")


@options
class SoftmaxMixer:
    """Causal softmax attention, for baselines and hybrids; with relu in place of softmax, attention in blocks."""

    kind: Literal["softmax"]
    heads: int = option(4, "number of heads", low=1)
    groups: int | None = option(None, "heads of keys and values (grouped queries); null means all", low=1)
    window: int | None = option(None, "attend to this many latest tokens; null means all", low=1)
    block: int | None = option(
        None, "attend inside blocks of this many tokens, counted from the document's start", low=1
    )
    score: Literal["softmax", "relu"] = option("softmax", "how scores become weights; relu weights are not normalised")
    norm: Norm = option("none", "normalisation of the merged heads before the output projection")
    direction: Literal["forward", "all"] = option(
        "forward", "forward: the past alone; all: every token sees all tokens"
    )
    rope: bool = option(True, "rotary positions")
    rope_base: float = option(10000.0, "base of the rotary frequencies", above=1)
    bias: bool = option(False, "biases in the projections")


@options
class ConvolutionMixer:
    """Long convolutions with gates around them: a response takes the place of expand, oscillation and shrink."""

    kind: Literal["convolution"]
    response: Stage = option(description="the impulse response of every channel")
    value_ratio: float = option(1.0, "channels / width", above=0, high=16)
    order: int = option(1, "convolutions one after another, each with a response of its own", low=1, high=4)
    input_gate: bool = option(False, "multiply what every convolution takes in by a projection of x of its own")
    activation: Activation = option("none", "applied to every projection, after its short convolution")
    short_convolution: ShortConvolution | None = option(None, "on every projection, or null")
    skip: bool = option(False, "add D ∘ its input to every convolution, with D learned per channel")
    norm: Norm = option("none", "normalisation of the gated channels before the output projection")
    lags: int | None = option(
        None, "the response ends after so many lags; null: never, and decoding then remembers every input", low=1
    )
    direction: Literal["forward", "all"] = option("forward", "forward: the past alone; all: also negative lags")
    decoding: Literal["window", "recurrence"] = option(
        "window", "decoding by the last inputs, or by an exact recurrence of `lags` complex modes a channel"
    )
    bias: bool = option(False, "biases in the projections")


def _mixer_kind(mixer: Any) -> Any:
    return mixer.get("kind", "eos") if isinstance(mixer, dict) else getattr(mixer, "kind", None)


#: Told apart by ``kind``, which a recipe may leave out for the EOS mixer.
Mixer = Annotated[
    Annotated[EOSMixer, Tag("eos")]
    | Annotated[SoftmaxMixer, Tag("softmax")]
    | Annotated[ConvolutionMixer, Tag("convolution")],
    Discriminator(_mixer_kind),
]


@options
class ChannelMixer:
    """The feed-forward part of a block: a gated linear unit, a plain two-layer one, or none."""

    name: Literal["glu", "mlp", "none"] = option("glu", "glu: W3(act(W1 x) ∘ W2 x); mlp: W2 act(W1 x)")
    activation: Activation = option("silu", "its activation; none makes the simple GLU")
    ratio: float = option(8 / 3, "hidden width / width", above=0, high=16)
    multiple: int = option(8, "the hidden width is rounded up to a multiple of this", low=1)
    gate: bool = option(False, "multiply the output by a sigmoid of a projection of x")
    token_shift: bool = option(False, "a token shift before its projections")


@options
class CrossMixer:
    """What a decoder reads of an encoded sequence."""

    kind: Literal["softmax", "linear"] = option(
        "softmax", "softmax: attention to every token; linear: a memory of all tokens, read alike at every step"
    )
    heads: int = option(4, "number of heads", low=1)
    activation: Literal["elu_plus_one", "relu", "relu_squared", "square", "exp", "sigmoid"] = option(
        "elu_plus_one", "of e and s where it is linear: never negative, for the sum of their products divides"
    )
    bias: bool = option(False, "biases in the projections")


Layout = list[str] | dict[str | float, str]
_LAYOUT = "[a, a, b] cycled over depth, {first: a, rest: b}, or {0.5: a, 1.0: b} by fraction of depth"


@options
class EncoderPart:
    """An encoder whose blocks are not as many, or not the same, as those of the decoder beside it."""

    layers: int = option(6, "number of blocks L", low=1)
    layout: Layout = option(description=_LAYOUT)


@options
class ModelRecipe:
    """A causal language model: blocks of mixers, a channel mixer, an embedding and a head."""

    layers: int = option(6, "number of blocks L", low=1)
    width: int = option(256, "model width D", low=1)
    mixers: dict[str, Mixer] = option(description="named mixers")
    layout: Layout = option(description=_LAYOUT)
    positions: str | None = option(
        None, "a mixer that stands once after the embedding, in place of it: a scan that tells positions apart"
    )
    channel_mixer: ChannelMixer = option(ChannelMixer(), "the feed-forward part of every block")
    channel_mixers: dict[str, ChannelMixer] = option(
        {}, "by the name of a mixer: the feed-forward part of its blocks, in place of channel_mixer"
    )
    encoder: EncoderPart | None = option(
        None, "beside a decoder, which the rest describes: depth and layout of the encoder; null: as the decoder's"
    )
    norm: Norm = option("rms", "pre-norm of every block and the final norm")
    norm_eps: float = option(1e-6, "added to the mean square", above=0)
    embedding_norm: bool = option(False, "normalise the embedding before the first block")
    tied: bool = option(True, "the head shares the embedding's weights")
    dropout: float = option(0.0, "on the embedding and on every residual branch", low=0, high=0.99)
    embedding_dropout: float | None = option(None, "on the embedding alone; null: as dropout", low=0, high=0.99)
    initial_std: float = option(0.02, "standard deviation of the initial weights of embeddings", above=0)
