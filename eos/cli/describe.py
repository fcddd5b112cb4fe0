"""Describe a model: its stages' equations, its memory, what a token costs, and the engine's plan."""

from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from eos import registry
from eos.cli.arguments import as_written, choose_model
from eos.cli.arguments import overrides as overrides_argument
from eos.cli.list import headline
from eos.cli.output import print_columns, print_line
from eos.compose import load_model_recipe, refuse
from eos.compose.model import flat
from eos.compose.stages import PRODUCT, SLOTS
from eos.config import ConvolutionMixer, EOSMixer, ModelRecipe, SoftmaxMixer, StageRecipe, option_fields
from eos.errors import CompositionError

if TYPE_CHECKING:
    from eos.compose.cost import ModelCost
    from eos.record import Convolution, Recurrence

Rows = Iterator[tuple[str, Text]]

#: Options of a mixer that are told in words of their own.
_TOLD = frozenset({"kind", "heads", "key_size", "key_ratio", "value_size", "value_ratio", PRODUCT, *SLOTS})


@click.command()
@overrides_argument
@click.option("--length", type=click.IntRange(min=1), default=2048, show_default=True, help="Tokens T of a sequence.")
@click.option("--vocabulary", type=click.IntRange(min=1), default=256, show_default=True, help="Number of token ids.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="To plan for.")
def command(overrides: tuple[str, ...], length: int, vocabulary: int, device: str) -> None:
    """Describe model=NAME, changed by any KEY=VALUE, without building it.

    Shows the row of every mixer (what i, e, o, s and ψ are), the size of its memory, parameters, operations and
    bytes a token, and how the engine would run it and why.

    \b
    Examples:
      eos describe model=hgrn2
      eos describe model=hgrn2 expand=elu heads=8 --length 16384
    """
    name, changes = choose_model(overrides)
    recipe = load_model_recipe(name, changes)
    if reason := refuse(recipe):
        raise CompositionError(reason)
    # Only now, so that help is shown without waiting for PyTorch.
    from eos.compose.cost import cost_of

    cost = cost_of(recipe, vocabulary=vocabulary, length=length, device=device)
    what, source = headline(registry.recipe("model", name).read_text(encoding="utf-8"))
    print_line(f"{name}  {what}", style="bold")
    if source:
        print_line(source, style="dim")
    for mixer, part in cost.mixers.items():
        print_line()
        print_line(f"{mixer}, in {_layers(part.layers, recipe.layers)}", style="bold")
        print_columns(_row(recipe.mixers[mixer], part.record))
    print_line()
    print_line("sizes and costs", style="bold")
    print_columns(_costs(recipe, cost))
    for mixer, part in cost.mixers.items():
        if part.plan is not None:
            print_line()
            print_line(f"plan of {mixer} over {length} tokens", style="bold")
            print_line(str(part.plan))


def _row(mixer: EOSMixer | SoftmaxMixer | ConvolutionMixer, record: "Recurrence | Convolution | None") -> Rows:
    from eos.record import Recurrence

    if isinstance(mixer, SoftmaxMixer):
        score = "softmax_s" if mixer.score == "softmax" else mixer.score
        seen = "s ≤ t" if mixer.direction == "forward" else "s"
        yield "y", Text(f"y_t = Σ_{{{seen}}} {score}(q_tᵀ k_s / √d) v_s", style="cyan")
        reach = min((n for n in (mixer.window, mixer.block) if n is not None), default=None)
        yield "memory", Text(f"keys and values of {'all' if reach is None else f'the last {reach}'} tokens")
    elif isinstance(mixer, ConvolutionMixer):
        gated = "g'_t ∘ W x_t" if mixer.input_gate else "W x_t"
        activation = "" if mixer.activation == "none" else f", {mixer.activation} on every projection"
        yield "i", Text(f"i_t = {gated}{activation}", style="cyan")
        yield "h", _stage("response", mixer.response)
        skipped = " + D ∘ i_t" if mixer.skip else ""
        times = f", {mixer.order} times, what comes out taken in again" if mixer.order > 1 else ""
        yield "y", Text(f"y_t = g_t ∘ (Σ_j h_j ∘ i_{{t−j}}{skipped}){times}", style="cyan")
        lags = "all inputs" if mixer.lags is None else f"the last {mixer.lags - 1} inputs"
        yield "memory", Text(lags if mixer.decoding == "window" else f"{mixer.lags} complex modes a channel")
    elif isinstance(record, Recurrence):
        yield from _eos_row(mixer, record)
    if changed := changed_options(mixer):
        yield "options", Text(changed)


def changed_options(mixer: EOSMixer | SoftmaxMixer | ConvolutionMixer) -> str:
    """The options of a mixer that differ from their defaults, but for its stages, kind and sizes."""
    return _changed(mixer, _TOLD)


def _eos_row(mixer: EOSMixer, record: "Recurrence") -> Rows:
    """The EOS row: i, e, o, s and ψ."""
    from eos.compose.equation import memory_equation, reach, read_equation

    projected = "W x_t" if mixer.input_activation == "none" else f"{mixer.input_activation}(W x_t)"
    written = {"linear": f"i_t = {projected}", "layer": "i_t = x_t", "ones": "i = 1"}[mixer.input]
    yield "i", Text(written, style="cyan")
    yield "e", _stage("expand", mixer.expand)
    yield from (("o", _stage("oscillation", part)) for part in mixer.oscillation)
    if not mixer.oscillation:
        yield "o", Text("none: the memory keeps everything")
    yield "s", _stage("shrink", mixer.shrink)
    if mixer.couple is not None:
        yield "couple", _stage("couple", mixer.couple)
    yield "ψ", Text(memory_equation(record), style="cyan").append(f"   {reach(record)}", style="dim not cyan")
    yield "y", Text(read_equation(record), style="cyan")
    sizes = record.sizes
    yield "memory", Text(f"H = {sizes['H']}, K = {sizes['K']}, V = {sizes['V']}")


def _stage(kind: str, recipe: StageRecipe) -> Text:
    entry = registry.stage(kind, recipe.name)
    options = entry.load().Options
    text = Text(entry.equation, style="cyan").append(f"   {recipe.name}", style="bold not cyan")
    changed = _changed(options(**recipe.options))
    return text.append(f" {changed}", style="dim not bold") if changed else text


def _changed(options: Any, told: frozenset[str] = frozenset()) -> str:
    """The options that differ from their defaults, as overrides say them; but for those told elsewhere."""
    return " ".join(f"{key}={_written(flat(value))}" for key, value in _changes(options, told))


def _changes(options: Any, told: frozenset[str] = frozenset()) -> Iterator[tuple[str, Any]]:
    for name, field in option_fields(type(options)).items():
        value = getattr(options, name)
        if name in told or value == field.default:
            continue
        if isinstance(value, StageRecipe):
            yield name, value.name
            own = registry.stage(name, value.name).load().Options(**value.options)
            yield from ((f"{name}.{key}", changed) for key, changed in _changes(own))
            continue
        inner = [*_changes(value)] if is_dataclass(value) else []
        if inner:
            yield from ((f"{name}.{key}", changed) for key, changed in inner)
        else:
            yield name, value


def _written(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}: {_written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return as_written(value)


def _layers(places: tuple[int, ...], layers: int) -> str:
    """Layers counted from 0."""
    if not places:
        return "one place, after the embedding"
    if len(places) == layers:
        return f"all {layers} layers"
    return f"{len(places)} of {layers} layers: {', '.join(map(str, places))}"


def _costs(recipe: ModelRecipe, cost: "ModelCost") -> Rows:
    mixer = recipe.channel_mixer
    yield "layers", Text(f"{recipe.layers} of width {recipe.width}")
    yield "channel mixer", Text(mixer.name).append(f" {_changed(mixer, frozenset({'name'}))}", style="dim")
    for name, own in recipe.channel_mixers.items():
        yield f"… of {name}", Text(own.name).append(f" {_changed(own, frozenset({'name'}))}", style="dim")
    yield "parameters", Text(f"{cost.parameters:,}")
    grows = f", and {_bytes(cost.growth)} more a token" if cost.growth else ", and no more however long it gets"
    yield "memory", Text(f"{_bytes(cost.memory)} a sequence of {cost.length:,} tokens{grows}")
    for name, work, what in (
        ("training", cost.training, "forward and backward, weights apart"),
        ("decoding", cost.decoding, f"after {cost.length:,} tokens, one sequence"),
    ):
        yield name, Text(f"{_count(work.flops)} operations and {_bytes(work.bytes)} moved a token ({what})")


def _count(number: float) -> str:
    return _scaled(number, 1000, ("", " thousand", " million", " billion", " trillion"))


def _bytes(number: float) -> str:
    return _scaled(number, 1024, (" B", " KiB", " MiB", " GiB", " TiB"))


def _scaled(number: float, base: int, units: tuple[str, ...]) -> str:
    for unit in units[:-1]:
        if number < base:
            return f"{number:.4g}{unit}"
        number /= base
    return f"{number:.4g}{units[-1]}"
