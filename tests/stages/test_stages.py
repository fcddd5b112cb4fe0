"""What every stage must do, walked over the registry, and what single stages promise."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from eos import registry
from eos.config import option_fields
from eos.record import Transition, parts
from eos.stage import AbstractStage, LayerContext, spread

WIDTH, HEADS, KEY, VALUE = 12, 3, 4, 5
ROWS, LENGTH = 2, 7
# float64
TOLERANCE = {"atol": 1e-12, "rtol": 1e-12}

ENTRIES = [entry for kind in registry.KINDS for entry in registry.stages(kind).values()]
EVERY = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind}-{entry.name}")
OSCILLATIONS = sorted(registry.stages("oscillation"))


def context(**changes: Any) -> LayerContext:
    sizes = {"width": WIDTH, "heads": HEADS, "groups": HEADS, "key_size": KEY, "value_size": VALUE}
    return LayerContext(**{"layer": 0, "layers": 4, **sizes, **changes})


def stage(kind: str, name: str, where: LayerContext | None = None, **options: Any) -> AbstractStage:
    torch.manual_seed(0)
    cls = registry.stage(kind, name).load()
    built: AbstractStage = cls(cls.Options(**options), where or context()).double()
    return built


def oscillate(name: str, x: Tensor, where: LayerContext | None = None, **options: Any) -> Transition:
    e = torch.randn(ROWS, LENGTH, HEADS, KEY, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    transition: Transition = stage("oscillation", name, where, **options)(x, e[:, : x.shape[1]])
    return transition


def inputs(scale: float = 1.0) -> Tensor:
    return scale * torch.randn(ROWS, LENGTH, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@EVERY
def test_a_stage_says_what_it_is(entry: registry.Entry) -> None:
    assert entry.summary.endswith(".")
    assert "=" in entry.equation or "←" in entry.equation
    assert "arXiv:" in entry.source
    assert entry.load().__doc__


@EVERY
def test_every_option_has_a_meaning_a_default_and_a_range(entry: registry.Entry) -> None:
    for name, field in option_fields(entry.load().Options).items():
        assert field.description, name
        assert not field.required, name
        if not field.choices:  # a number: search needs to know from where to where
            assert field.high is not None, name
            assert field.low is not None or field.above is not None, name


@EVERY
def test_a_stage_is_the_same_at_every_step(entry: registry.Entry) -> None:
    """Stages keep no time: what one emits for a step is what it emits for that step alone."""
    x = inputs()
    built = stage(entry.kind, entry.name)

    def emitted(x: Tensor, steps: slice) -> list[Tensor]:
        e = F.normalize(x[..., :KEY], dim=-1)[:, :, None].expand(-1, -1, HEADS, -1)
        if entry.kind == "expand":
            return [built(built.project(x))]
        if entry.kind == "shrink":
            pairs = torch.full((1, 1, HEADS, KEY // 2), -0.1, dtype=x.dtype)
            s = built(built.project(x), e, Transition(key=pairs, phase=pairs))
            return [*s] if isinstance(s, tuple) else [s]
        if entry.kind == "response":
            return [built(torch.arange(LENGTH, dtype=torch.float64))]
        if entry.kind == "couple":
            return list(built(x[:, :, None, :VALUE].expand(-1, -1, HEADS, -1), e, e))
        return [tensor for _, _, tensor in parts(built(x, e))]

    for whole, one in zip(emitted(x, slice(None)), emitted(x[:, 3:4], slice(3, 4)), strict=True):
        shared = whole.shape[1] == 1 or whole.shape[:2] != (ROWS, LENGTH)
        torch.testing.assert_close(whole if shared else whole[:, 3:4], one, **TOLERANCE)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3], ids=str)
@pytest.mark.parametrize("name", OSCILLATIONS)
def test_log_decays_are_finite_and_never_grow(name: str, scale: float) -> None:
    transition = oscillate(name, inputs(scale))
    for part, _, tensor in parts(transition):
        assert tensor.isfinite().all(), part
        if part in ("head", "key", "value"):
            assert (tensor <= 0).all(), part
    if transition.rate is not None and transition.link == "identity":
        assert (transition.rate * transition.step <= 0).all()


@pytest.mark.parametrize("name", OSCILLATIONS)
def test_log_decays_stay_wide_under_autocast(name: str) -> None:
    built = stage("oscillation", name).float()
    x = inputs().float()
    with torch.autocast("cpu", torch.bfloat16):
        for part, _, tensor in parts(built(x, x[..., :KEY, None].mT.bfloat16())):
            assert tensor.dtype == torch.float32 or part == "erase[1]", part


def test_spread_is_even_and_a_single_value_stands_in_the_middle() -> None:
    assert spread(1.0, 4.0, 2, 4).tolist() == [[1.0, 2.0, 3.0, 4.0]] * 2
    assert spread(1.0, 4.0, 1).tolist() == [2.5]


@pytest.mark.parametrize(
    ("schedule", "decays"),
    [
        ("powers", [1 - 1 / 32, 1 - 1 / 64, 1 - 1 / 128]),
        ("slopes", [math.exp(-(2 ** (-8 / 3))), math.exp(-(2 ** (-16 / 3))), math.exp(-(2**-8))]),
        ("linear", [math.exp(-8 / 3), math.exp(-16 / 3), math.exp(-8)]),
        ("half_lives", [2 ** (-1 / 2), 2 ** (-1 / 2**4.5), 2 ** (-1 / 256)]),
    ],
)
@pytest.mark.parametrize("learned", [False, True])
def test_head_decay_schedules(schedule: str, decays: list[float], learned: bool) -> None:
    head = oscillate("head_decay", inputs(), schedule=schedule, learned=learned).head
    # learned rates are kept in float32
    torch.testing.assert_close(
        head.exp()[0, 0], torch.tensor(decays, dtype=torch.float64), atol=1e-6 if learned else 1e-12, rtol=0
    )


@pytest.mark.parametrize(
    ("factor", "wanted"),
    [
        ("one", [1, 1, 1, 1]),
        ("to_zero", [1 + 1e-5, 2 / 3 + 1e-5, 1 / 3 + 1e-5, 1e-5]),
        ("to_last", [1, 0.75, 0.5, 0.25]),
    ],
)
def test_head_decay_fades_over_depth(factor: str, wanted: list[float]) -> None:
    heads = [oscillate("head_decay", inputs(), context(layer=layer), layer_factor=factor).head for layer in range(4)]
    alone = oscillate("head_decay", inputs()).head
    for head, times in zip(heads, wanted, strict=True):
        torch.testing.assert_close(head, alone * times, **TOLERANCE)
    oscillate("head_decay", inputs(), context(layer=0, layers=1), layer_factor=factor)


@pytest.mark.parametrize("name", ["head_gate", "key_gate", "value_gate"])
def test_a_complement_gate_is_one_minus_the_decay(name: str) -> None:
    transition = oscillate(name, inputs(), gate="complement", tau=2.0)
    log_decay = next(t for t in (transition.head, transition.key, transition.value) if t is not None)
    torch.testing.assert_close(transition.gate.reshape(log_decay.shape), 1 - log_decay.exp(), **TOLERANCE)


def test_paired_decays_are_the_same_for_both_entries_of_a_pair() -> None:
    transition = oscillate("key_gate", inputs(), gate="complement", pairs=True)
    assert transition.key.shape[-1] == KEY // 2
    gate = transition.gate[..., 0]
    assert torch.equal(gate[..., : KEY // 2], gate[..., KEY // 2 :])


@pytest.mark.parametrize("trained", [False, True])
def test_lower_bounds_grow_from_zero_and_never_reach_one(trained: bool) -> None:
    shared: dict[str, Any] = {}
    layers = [
        stage("oscillation", "key_gate", context(layer=layer, shared=shared), lower_bound=True) for layer in range(4)
    ]
    (bounds,) = shared.values()
    if trained:
        bounds.data.normal_()
    decays = []
    for built in layers:
        built.logits.bias.data.fill_(-1e6)  # a closed gate leaves the bound itself
        decays.append(built(inputs(), inputs()).key.exp()[0, 0])
    assert not decays[0].any()
    for below, above in pairwise(decays):
        assert (below < above).all()
    assert (decays[-1] < 1).all()
    if not trained:
        assert [decay.mean().item() for decay in decays] == pytest.approx([0, 0.25, 0.5, 0.75])


def test_a_lower_bound_of_zero_has_a_gradient() -> None:
    built = stage("oscillation", "key_gate", context(layer=1), lower_bound=True).float()
    built.bounds.data[0] = -500.0
    built(inputs().float(), inputs().float()).key.sum().backward()
    assert built.bounds.grad.isfinite().all()


def test_delta_never_makes_the_memory_grow() -> None:
    for high in (1.0, 2.0):
        transition = oscillate("delta", inputs(3.0), high=high)
        a, b = transition.erase
        values = torch.linalg.eigvalsh(torch.eye(KEY) + a[..., :, None] * b[..., None, :])
        assert values.max() <= 1 + 1e-9
        assert values.min() >= 1 - high - 1e-9
        torch.testing.assert_close(values.min(), 1 - transition.gate.max(), atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", ["head_rate", "rate_step"])
def test_steps_start_where_the_options_say(name: str) -> None:
    step = oscillate(name, torch.zeros(1, 1, WIDTH, dtype=torch.float64), step_low=0.01, step_high=0.5).gate
    assert step.min().item() == pytest.approx(0.01, rel=1e-5)
    assert step.max().item() == pytest.approx(0.5, rel=1e-5)


def test_turning_rates_are_those_of_a_diagonal_state_space() -> None:
    transition = oscillate("rate_step", inputs(), turning=True)
    assert transition.rate.shape == transition.phase_rate.shape == (HEADS, KEY // 2, VALUE)
    torch.testing.assert_close(transition.rate, torch.full_like(transition.rate, -0.5), atol=1e-6, rtol=0)
    assert transition.phase_rate[0, :, 0].tolist() == pytest.approx([0, math.pi], rel=1e-6)


def test_rotation_is_minus_theta() -> None:
    transition = oscillate("rotation", inputs(), base=100.0)
    assert transition.phase.flatten().tolist() == pytest.approx([-1, -0.1])
    cosine = oscillate("rotation", inputs(), base=100.0, form="cosine")
    assert cosine.phase.flatten().tolist() == pytest.approx([-(100.0 ** (-p / 2)) for p in range(KEY)])


def test_ones_and_learned_states_do_not_read_x() -> None:
    for kind, name in (("expand", "ones"), ("expand", "learned"), ("shrink", "learned")):
        built = stage(kind, name)
        assert built.features == 0
        x = inputs()
        more = () if kind == "expand" else (x[..., :KEY, None], Transition())
        assert torch.equal(built(built.project(x), *more), built(built.project(2 * x), *more))


@EVERY
def test_weight_decay_takes_weights_alone(entry: registry.Entry) -> None:
    """Biases, rates and angles start spread out: pulled to zero they would all become the same."""
    for name, parameter in stage(entry.kind, entry.name).named_parameters():
        weight = name.rpartition(".")[2] in ("weight", "state", "table")
        assert weight or parameter.ndim < 2 or getattr(parameter, "_no_weight_decay", False), name


def test_rates_of_legs_are_those_of_its_normal_part() -> None:
    """A + P Pᵀ with HiPPO-LegS's A and P has the eigenvalues −1/2 ± iω."""
    built = stage("oscillation", "state_space", context(key_size=8), start="legs")
    n = torch.arange(8, dtype=torch.float64)
    a = -((2 * n[:, None] + 1) * (2 * n + 1)).sqrt().tril(-1) - torch.diag(n + 1)
    p = (n + 0.5).sqrt()
    found = torch.linalg.eigvals(a + p[:, None] * p)
    torch.testing.assert_close(found.real, torch.full_like(n, -0.5), atol=1e-9, rtol=0)
    wanted = found.imag[found.imag > 0].sort().values
    torch.testing.assert_close(built.phase_rate[0, :, 0].data, wanted, atol=1e-5, rtol=1e-6)
