"""Every pair and triple of registered stages builds and equals the sequential form, or is refused with its reason."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

import eos
from eos import registry
from eos.config import EOSMixer, StageRecipe, option_fields
from eos.errors import CompositionError
from eos.layer import EOSLayer

WIDTH, ROWS, LENGTH = 8, 2, 17
# float64, gradients summed over some hundred terms in another order
TOLERANCE = 1e-9

pytestmark = pytest.mark.usefixtures("small_calls")

KINDS = ("expand", "oscillation", "shrink", "couple")
EXPANDS, OSCILLATIONS, SHRINKS, COUPLES = (sorted(registry.stages(kind)) for kind in KINDS)


def composed(expand: str, oscillation: tuple[str, ...], shrink: str, couple: str | None = None) -> EOSMixer:
    """K and V differ from each other, from the heads and from the pairs of K."""
    return EOSMixer(
        heads=2, key_size=4, value_size=3, expand=expand, oscillation=[*oscillation], shrink=shrink, couple=couple
    )


def results(layer: EOSLayer, x: Tensor, algorithm: str) -> dict[str, Tensor | None]:
    """y, the last memory, and the gradient of everything that takes one."""
    record = layer.record(x)
    y, memory = eos.scan(record, algorithm=algorithm)
    y = torch.cat(y, -1) if isinstance(y, tuple) else y
    leaves = {"x": x, **dict(layer.composition.named_parameters())}
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    loss = (y * weight).sum() + memory.value.square().sum()
    gradients = torch.autograd.grad(loss, [*leaves.values()], allow_unused=True)
    return {"y": y, "memory": memory.value, "scale": memory.log_scale, **dict(zip(leaves, gradients, strict=True))}


def stand_or_are_refused(mixer: EOSMixer) -> None:
    names = [mixer.expand.name, *(part.name for part in mixer.oscillation), mixer.shrink.name]
    torch.manual_seed(0)
    try:
        layer = EOSLayer(mixer, WIDTH).double()
    except CompositionError as error:
        stages, _, why = str(error).partition(" cannot stand together: ")
        assert all(name in stages for name in names)
        assert len(why) > 10
        return
    for parameter in layer.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    x = torch.randn(ROWS, LENGTH, WIDTH, dtype=torch.float64, requires_grad=True)
    planned, stepped = results(layer, x, "auto"), results(layer, x, "sequential")
    for name, wanted in stepped.items():
        torch.testing.assert_close(
            planned[name], wanted, atol=TOLERANCE, rtol=TOLERANCE, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("shrink", SHRINKS)
@pytest.mark.parametrize("oscillation", [(), *((name,) for name in OSCILLATIONS)], ids="+".join)
@pytest.mark.parametrize("expand", EXPANDS)
def test_expand_oscillation_shrink(expand: str, oscillation: tuple[str, ...], shrink: str) -> None:
    stand_or_are_refused(composed(expand, oscillation, shrink))


@pytest.mark.parametrize("oscillation", [*product(OSCILLATIONS, repeat=2)], ids="+".join)
def test_pairs_of_oscillations(oscillation: tuple[str, ...]) -> None:
    stand_or_are_refused(composed("linear", oscillation, "linear"))


@pytest.mark.slow
@pytest.mark.parametrize("oscillation", [*product(OSCILLATIONS, repeat=3)], ids="+".join)
def test_triples_of_oscillations(oscillation: tuple[str, ...]) -> None:
    stand_or_are_refused(composed("linear", oscillation, "linear"))


@pytest.mark.parametrize("oscillation", [(), *((name,) for name in OSCILLATIONS)], ids="+".join)
@pytest.mark.parametrize("couple", COUPLES)
def test_couples(couple: str, oscillation: tuple[str, ...]) -> None:
    stand_or_are_refused(composed("linear", oscillation, "linear", couple))


def variants() -> Iterator[tuple[str, str, dict[str, object]]]:
    """Every stage with every value of every option that has choices, one at a time."""
    for kind in KINDS:
        for name, entry in registry.stages(kind).items():
            for field in option_fields(entry.load().Options).values():
                yield from ((kind, name, {field.name: value}) for value in field.choices if value != field.default)


@pytest.mark.parametrize(("kind", "name", "options"), [*variants()], ids=str)
def test_every_choice_of_every_stage(kind: str, name: str, options: dict[str, object]) -> None:
    mixer = composed("linear", (), "linear", "pad" if options.get("form") == "cosine" else None)
    stage = StageRecipe(name=name, options=options)
    stand_or_are_refused(replace(mixer, **{kind: [stage] if kind == "oscillation" else stage}))


@pytest.mark.parametrize("oscillation", OSCILLATIONS)
@pytest.mark.parametrize("kinds", [("expand",), ("shrink",), ("expand", "shrink")], ids="+".join)
def test_states_per_channel(kinds: tuple[str, ...], oscillation: str) -> None:
    per_channel = StageRecipe(name="learned", options={"over": "key_value"})
    stand_or_are_refused(replace(composed("linear", (oscillation,), "linear"), **dict.fromkeys(kinds, per_channel)))


def test_the_order_of_a_product_matters_where_it_should() -> None:
    """[delta, key_gate] decays before it erases; the other order is another model."""
    x = torch.randn(1, LENGTH, WIDTH, generator=torch.Generator().manual_seed(0))
    outputs = []
    for names in (("delta", "key_gate"), ("key_gate", "delta")):
        torch.manual_seed(0)
        layers = {name: EOSLayer(composed("linear", (name,), "linear"), WIDTH) for name in sorted(names)}
        layer = EOSLayer(composed("linear", names, "linear"), WIDTH)
        for place, name in enumerate(names):
            layer.composition.oscillation[place] = layers[name].composition.oscillation[0]
        layer.composition.input = layers["delta"].composition.input
        layer.composition.expand = layers["delta"].composition.expand
        layer.composition.shrink = layers["delta"].composition.shrink
        outputs.append(eos.scan(layer.record(x))[0])
    assert not torch.allclose(*outputs, atol=1e-3)
