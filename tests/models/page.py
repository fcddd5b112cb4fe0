"""The page of all models: docs/models.md, made from the recipes, the stages and the engine's plans."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from eos import registry
from eos.cli.describe import changed_options
from eos.cli.list import comment_of, headline
from eos.compose import load_model_recipe
from eos.compose.cost import MixerCost, cost_of
from eos.compose.equation import memory_equation, reach
from eos.config import ConvolutionMixer, EOSMixer, ModelRecipe, SoftmaxMixer
from eos.record import Recurrence

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "models.md"
LENGTH = 2048


def page() -> str:
    """The whole page."""
    rows, notes = [], []
    for name, path in sorted(registry.recipes("model").items()):
        text = path.read_text(encoding="utf-8")
        recipe = load_model_recipe(name)
        cost = cost_of(recipe, length=LENGTH)
        summary, source = headline(text)
        for mixer, part in cost.mixers.items():
            rows.append(_row(name, mixer, recipe, part))
        notes.append(_note(name, recipe, summary, source, text))
    return TEXT.format(length=LENGTH, rows="\n".join(rows), notes="\n".join(notes))


def _row(name: str, mixer: str, recipe: ModelRecipe, part: MixerCost) -> str:
    options = recipe.mixers[mixer]
    told = _told(options, part)
    whole = len(part.layers) == recipe.layers
    where = f"**{name}**" if whole else f"**{name}**, {mixer}"
    memory = f"{part.memory / 4:,.0f}" + (f" + {part.growth / 4:,.0f} a token" if part.growth else "")
    plan = "softmax" if part.plan is None else part.plan.algorithm
    cells = [where, *told, memory, family(options, part), plan, f"{part.step.flops:,.0f}"]
    return f"| {' | '.join(cells)} |"


def _told(options: Any, part: MixerCost) -> list[str]:
    """i, e, o, s and ψ."""
    if isinstance(options, SoftmaxMixer):
        return ["W x", "W x", "", "W x", "keeps every key and value in reach"]
    if isinstance(options, ConvolutionMixer):
        gated = "g ∘ W x" if options.input_gate else "W x"
        return [gated, f"`{options.response.name}`: one response for all three", "", "", "y_t = Σ_j h_j ∘ i_{t−j}"]
    assert isinstance(part.record, Recurrence)
    written = {"linear": "W x", "layer": "x", "ones": "1"}[options.input]
    if options.input_activation != "none":
        written = f"{options.input_activation}(W x)"
    over = reach(part.record)
    psi = memory_equation(part.record).removeprefix("m_t = ")
    named = [f"`{stage.name}`" for stage in options.oscillation]
    return [written, f"`{options.expand.name}`", " ".join(named), f"`{options.shrink.name}`", f"{psi} {over}".strip()]


def family(options: Any, part: MixerCost) -> str:
    """How the memory is kept, read off the record."""
    if isinstance(options, SoftmaxMixer):
        return "softmax"
    if isinstance(options, ConvolutionMixer):
        return "structural"
    assert part.plan is not None
    s = part.plan.structure
    transition = {"head", "key", "value", "rate", "phase", "step", "erase", "log_gate"} & s.parts
    if transition & s.varying:
        return "recurrent" if s.key <= 2 else "gating"
    if s.varying & {"expand", "shrink"}:
        return "recurrent" if s.key <= 2 else "attention"
    return "recurrent" if s.key <= 2 else "structural"


def _note(name: str, recipe: ModelRecipe, summary: str, source: str, text: str) -> str:
    lines = [f"### {name}", f"{summary}."]
    rest = _after_first_sentence(comment_of(text))
    if rest:
        lines.append(rest)
    lines.extend(_options(recipe))
    lines.append(f"Source: {source or 'none'}")
    return "\n\n".join(lines) + "\n"


def _options(recipe: ModelRecipe) -> Iterator[str]:
    for mixer, options in recipe.mixers.items():
        told = changed_options(options)
        if isinstance(options, EOSMixer):
            pure = "a composition of three stages alone" if not told else f"beside its three stages `{told}`"
            yield f"{mixer}: {pure}."
        else:
            yield f"{mixer}: `{told}`."


def _after_first_sentence(comment: str) -> str:
    bare = re.split(r"\.(?:\s|$)", comment, maxsplit=1)
    return bare[1].strip() if len(bare) > 1 else ""


TEXT = """# Models

One row for every mixer of every recipe; `eos describe model=NAME` shows more. i, e, o and s are the
[stages](concepts.md), by the names that `eos list stages` explains; ψ is what happens to the memory, and over which
axes. Memory is in numbers of a layer and sequence of {length:,} tokens, the algorithm is the engine's choice for such a
sequence on a CPU, decoding in floating-point operations of a layer's memory for one token.

Families, as read off the record: *gating* where decays, turns or erases depend on the data; *structural* where neither
they nor e and s do, so that a convolution says the same; *attention* where e and s alone do; *recurrent* where a
channel has a memory of one number, or of one complex one.

Made by `python -m tests.models.page`, and checked by the tests.

| model | i | e | o | s | ψ | memory | family | algorithm | decoding |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

A dense K × K oscillation that depends on the data is no model here: it would take K² numbers a token to say and K² V
operations to apply, and its products over a chunk have no short form. One of low rank is a product of erases
(`deltaproduct`); a dense one that is the same at all times is diagonal in another basis, or diagonal plus low rank
(`s4`).

## What a recipe adds, and where it departs from its paper
{notes}"""

if __name__ == "__main__":
    torch.manual_seed(0)
    PAGE.write_text(page(), encoding="utf-8")
