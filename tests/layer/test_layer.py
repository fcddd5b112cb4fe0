"""The layer's own options, each against the plain formula."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import eos
from eos import registry
from eos.config import Denominator, EOSMixer, Output, OutputGate, ShortConvolution, StageRecipe
from eos.errors import RecipeError
from eos.layer import EOSLayer
from eos.layer.convolution import CausalConvolution
from eos.models.attention import AttentionCache

WIDTH, ROWS, LENGTH = 16, 2, 23
# float64 and two orders of summation
TOLERANCE = {"atol": 1e-10, "rtol": 1e-10}

LINEAR = EOSMixer(heads=4, expand="linear", shrink="linear", output=Output(norm="none"))


def built(mixer: EOSMixer, width: int = WIDTH) -> EOSLayer:
    """A layer in float64 without a parameter at a value that hides it."""
    torch.manual_seed(0)
    layer = EOSLayer(mixer, width).double()
    for parameter in layer.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return layer


def inputs(width: int = WIDTH) -> Tensor:
    return torch.randn(ROWS, LENGTH, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def begins() -> Tensor:
    reset = torch.zeros(ROWS, LENGTH, dtype=torch.bool)
    reset[0, 4], reset[0, 5], reset[1, 17] = True, True, True
    return reset


def test_a_stage_is_named_in_three_ways() -> None:
    options = {"activation": "silu"}
    mixers = [
        EOSMixer(expand=stage, shrink="linear", oscillation=[stage_osc])
        for stage, stage_osc in (
            (("linear", options), "head_decay"),
            (["linear", options], ("head_decay", {})),
            (StageRecipe(name="linear", options=options), StageRecipe(name="head_decay")),
        )
    ]
    assert mixers[0] == mixers[1] == mixers[2]


def test_an_unknown_stage_shows_the_nearest() -> None:
    with pytest.raises(RecipeError, match="Did you mean 'linear'"):
        EOSLayer(EOSMixer(expand="liner", shrink="linear"), WIDTH)


def test_an_unknown_option_shows_the_nearest() -> None:
    with pytest.raises(RecipeError, match="Did you mean 'activation'"):
        EOSLayer(EOSMixer(expand=("linear", {"activaton": "silu"}), shrink="linear"), WIDTH)


def test_an_option_out_of_range_says_the_range() -> None:
    with pytest.raises(RecipeError, match=r"tau.*greater than 0.*got -1"):
        EOSLayer(EOSMixer(expand="linear", oscillation=[("key_gate", {"tau": -1})], shrink="linear"), WIDTH)


def test_plain_layer_is_linear_attention() -> None:
    layer, x = built(LINEAR), inputs()
    stages = layer.composition
    q, k, v = (
        projection(x).unflatten(-1, (4, 4)).transpose(1, 2)
        for projection in (stages.shrink.projection, stages.expand.projection, stages.input)
    )
    y = ((q @ k.mT).tril() @ v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(layer(x), layer.readout.output(y), **TOLERANCE)


@pytest.mark.parametrize(
    "oscillation", ["", "head_gate", "key_gate", "value_gate", "rate_step", "key_value_gate", "delta"]
)
@pytest.mark.parametrize("expand", ["elu", "linear"])
def test_denominator_is_a_second_read_fed_with_ones(expand: str, oscillation: str) -> None:
    plain = replace(LINEAR, expand=StageRecipe(name=expand), oscillation=[oscillation] if oscillation else [])
    layer, divided = built(plain), built(replace(plain, denominator=Denominator(floor=1e-3)))
    x, reset = inputs(), begins()
    record = layer.record(x, reset=reset)
    y, _ = eos.scan(record, algorithm="sequential")
    ones, _ = eos.scan(replace(record, input=torch.ones_like(record.input)), algorithm="sequential")
    wanted = y / (torch.where(ones < 0, -1, 1) * ones.abs().clamp(min=1e-3))
    torch.testing.assert_close(divided(x, reset=reset), layer.readout.output(wanted.flatten(2)), **TOLERANCE)


def test_denominator_of_an_exponential_gate_has_its_own_floor() -> None:
    mixer = replace(LINEAR, oscillation=[StageRecipe(name="exponential_gate")], denominator=Denominator())
    layer, x = built(mixer), inputs()
    composition = layer.composition
    q, k, v = (
        projection(x).unflatten(-1, (4, 4))
        for projection in (composition.shrink.projection, composition.expand.projection, composition.input)
    )
    gates = composition.oscillation[0]
    forget, enter = F.logsigmoid(gates.forget(x)), gates.input(x)
    c = torch.zeros(ROWS, 4, 4, 4, dtype=torch.float64)
    n = torch.zeros(ROWS, 4, 4, dtype=torch.float64)
    ys = []
    for t in range(LENGTH):  # without a stabiliser, which float64 does without at this size
        f, i = forget[:, t].exp()[..., None], enter[:, t].exp()[..., None]
        c = f[..., None] * c + i[..., None] * k[:, t, :, :, None] * v[:, t, :, None]
        n = f * n + i * k[:, t]
        scale = (n * q[:, t]).sum(-1, keepdim=True).abs().clamp(min=1.0)
        ys.append((q[:, t, :, None] @ c)[:, :, 0] / scale)
    wanted = layer.readout.output(torch.stack(ys, 1).flatten(2))
    torch.testing.assert_close(layer(x), wanted, **TOLERANCE)
    cache = layer.cache(ROWS, dtype=torch.float64)
    decoded = torch.cat([layer(x[:, t : t + 1], cache=cache) for t in range(LENGTH)], 1)
    torch.testing.assert_close(decoded, wanted, **TOLERANCE)


def test_the_denominator_of_an_average_with_its_own_share_is_one() -> None:
    """What is averaged by weights that sum to one needs no other divisor, however small the weights are."""
    average = EOSMixer(
        heads=None,
        key_size=1,
        value_size=1,
        expand="ones",
        oscillation=["running_average"],
        shrink="ones",
        read="before",
        bonus=True,
        output=Output(norm="none"),
    )
    plain, divided = built(average), built(replace(average, denominator=Denominator(floor=1e-6)))
    for layer in (plain, divided):
        oscillation = layer.composition.oscillation[0]
        oscillation.logits.bias.data -= 30.0
    x = inputs()
    torch.testing.assert_close(divided(x, reset=begins()), plain(x, reset=begins()), **TOLERANCE)


def test_short_convolution_is_a_depthwise_convolution() -> None:
    torch.manual_seed(0)
    convolution = CausalConvolution(ShortConvolution(size=5, activation="silu", bias=True), 6).double()
    convolution.bias.data += torch.randn(6)
    z = torch.randn(ROWS, LENGTH, 6, dtype=torch.float64)
    kernel = convolution.weight.flip(0).T[:, None]
    wanted = F.silu(F.conv1d(F.pad(z.mT, (4, 0)), kernel, convolution.bias, groups=6)).mT
    y, past = convolution(z, reset=None, past=None)
    torch.testing.assert_close(y, wanted, **TOLERANCE)
    assert torch.equal(past, z[:, -4:])


@pytest.mark.parametrize("split", [1, 4, 5, 6, 7, 11, 19, LENGTH - 1])
def test_short_convolution_stays_within_its_document(split: int) -> None:
    torch.manual_seed(0)
    convolution = CausalConvolution(ShortConvolution(size=4), 6).double()
    z, reset = torch.randn(ROWS, LENGTH, 6, dtype=torch.float64), begins()
    whole, _ = convolution(z, reset=reset, past=None)
    for row, start, stop in ((0, 0, 4), (0, 4, 5), (0, 5, LENGTH), (1, 0, 17), (1, 17, LENGTH)):
        alone, _ = convolution(z[row : row + 1, start:stop], reset=None, past=None)
        torch.testing.assert_close(whole[row : row + 1, start:stop], alone, **TOLERANCE)
    head, past = convolution(z[:, :split], reset=reset[:, :split], past=None)
    tail, _ = convolution(z[:, split:], reset=reset[:, split:], past=past)
    torch.testing.assert_close(torch.cat([head, tail], 1), whole, **TOLERANCE)


def test_stages_that_do_not_read_x_are_not_convolved() -> None:
    mixer = replace(LINEAR, expand=StageRecipe(name="ones"), short_convolution=ShortConvolution())
    assert set(built(mixer).composition.convolutions) == {"input", "shrink"}
    everything = ShortConvolution(targets=["input", "expand", "oscillation", "shrink"])
    convolved = {
        name: set(built(replace(mixer, oscillation=[name], short_convolution=everything)).composition.convolutions)
        for name in ("head_decay", "rotation", "learned_decay", "key_gate", "rate_step", "delta")
    }
    fixed, read = {"input", "shrink"}, {"input", "oscillation", "shrink"}
    assert convolved == {
        **dict.fromkeys(("head_decay", "rotation", "learned_decay"), fixed),
        **dict.fromkeys(("key_gate", "rate_step", "delta"), read),
    }


def test_decays_and_gates_may_read_what_is_convolved() -> None:
    convolution = ShortConvolution(targets=["oscillation"])
    layer, x = built(replace(LINEAR, oscillation=["key_gate"], short_convolution=convolution)), inputs()
    u, _ = layer.composition.convolutions["oscillation"](x, reset=begins(), past=None)
    record, stages = layer.record(x, reset=begins()), layer.composition
    torch.testing.assert_close(record.transition.key, F.logsigmoid(stages.oscillation[0].logits(u)), **TOLERANCE)
    torch.testing.assert_close(record.expand.flatten(2), stages.expand.projection(x), **TOLERANCE)


def test_skip_adds_the_input_channel_by_channel() -> None:
    layer, without, x = built(replace(LINEAR, skip=True)), built(LINEAR), inputs()
    without.load_state_dict({name: value for name, value in layer.state_dict().items() if name != "skip"})
    i = layer.composition.input(x)
    wanted = without(x) + layer.readout.output(i * layer.skip.flatten())
    torch.testing.assert_close(layer(x), wanted, **TOLERANCE)


@pytest.mark.parametrize("rank", [None, 3])
@pytest.mark.parametrize("position", ["before_norm", "after_norm"])
@pytest.mark.parametrize("per_head", [True, False])
@pytest.mark.parametrize("norm", ["none", "rms", "simple_rms", "layer"])
def test_norm_and_gate_follow_their_formulas(norm: str, per_head: bool, position: str, rank: int | None) -> None:
    gate = OutputGate(activation="sigmoid", rank=rank, position=position)
    layer = built(replace(LINEAR, output=Output(norm=norm, per_head=per_head, gate=gate)))
    x = inputs()
    y, _ = eos.scan(layer.record(x))
    g = layer.readout.gate.projection(x).sigmoid().unflatten(-1, (4, 4))
    y = y * g if position == "before_norm" else y
    y = y if per_head else y.flatten(2)
    if norm == "layer":
        y = y - y.mean(-1, keepdim=True)
    if norm != "none":
        y = y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    for name in ("weight", "bias"):
        parameter = getattr(layer.readout.norm, name, None)
        if parameter is not None:
            y = y * parameter if name == "weight" else y + parameter
    y = y.reshape(ROWS, LENGTH, 4, 4)
    y = y if position == "before_norm" else y * g
    torch.testing.assert_close(layer(x), layer.readout.output(y.flatten(2)), **TOLERANCE)


@pytest.mark.parametrize("oscillation", sorted(registry.stages("oscillation")))
@pytest.mark.parametrize("groups", [1, 2])
def test_a_group_is_several_heads_with_the_same_e_and_s(groups: int, oscillation: str) -> None:
    mixer = replace(LINEAR, groups=groups, oscillation=[StageRecipe(name=oscillation)])
    layer, full = built(mixer), built(replace(mixer, groups=None))
    state = layer.state_dict()
    for stage in ("expand", "shrink"):
        name = f"composition.{stage}.projection.weight"
        state[name] = state[name].unflatten(0, (groups, 4)).repeat_interleave(4 // groups, 0).flatten(0, 1)
    full.load_state_dict(state)
    x = inputs()
    torch.testing.assert_close(layer(x), full(x), **TOLERANCE)


def test_stages_may_read_the_convolved_input() -> None:
    mixer = replace(
        LINEAR,
        value_ratio=2,
        key_size=3,
        stages_read="input",
        input_activation="silu",
        short_convolution=ShortConvolution(targets=["input"], activation="none"),
        oscillation=[StageRecipe(name="key_gate")],
    )
    layer, x = built(mixer), inputs()
    i, _ = layer.composition.convolutions["input"](layer.composition.input(x), reset=None, past=None)
    u = F.silu(i)
    record = layer.record(x)
    torch.testing.assert_close(record.input.flatten(2), u, **TOLERANCE)
    torch.testing.assert_close(record.expand.flatten(2), layer.composition.expand.projection(u), **TOLERANCE)
    torch.testing.assert_close(record.shrink.flatten(2), layer.composition.shrink.projection(u), **TOLERANCE)
    gate = layer.composition.oscillation[0].logits(u)
    torch.testing.assert_close(record.transition.key, F.logsigmoid(gate), **TOLERANCE)


@pytest.mark.parametrize("denominator", [None, Denominator()])
@pytest.mark.parametrize("oscillation", sorted(registry.stages("oscillation")))
def test_decode_equals_forward(oscillation: str, denominator: Denominator | None) -> None:
    mixer = replace(
        LINEAR,
        expand=StageRecipe(name="elu"),
        oscillation=[StageRecipe(name=oscillation)],
        shrink=StageRecipe(name="elu"),
        short_convolution=ShortConvolution(size=3, targets=["input", "expand", "oscillation", "shrink"]),
        denominator=denominator,
        skip=True,
    )
    layer, x, reset = built(mixer), inputs(), begins()
    wanted = layer(x, reset=reset)
    cache = layer.cache(ROWS, dtype=torch.float64)
    cuts = [0, 3, 4, 5, 6, 12, 13, LENGTH]
    parts = [layer(x[:, a:b], reset=reset[:, a:b], cache=cache) for a, b in pairwise(cuts)]
    torch.testing.assert_close(torch.cat(parts, 1), wanted, **TOLERANCE)


@pytest.mark.parametrize("sizes", [[1] * LENGTH, [5, 1, 1, 16]], ids=str)
def test_a_null_token_begins_every_document_once(sizes: list[int]) -> None:
    layer, x = built(replace(LINEAR, oscillation=["additive"], null_token=True)), inputs()
    whole = layer(x, reset=begins())
    torch.testing.assert_close(whole[1:, 17:], layer(x[1:, 17:]), **TOLERANCE)
    cache = layer.cache(ROWS, dtype=x.dtype)
    parts = [
        layer(part, reset=reset, cache=cache)
        for part, reset in zip(x.split(sizes, 1), begins().split(sizes, 1), strict=True)
    ]
    torch.testing.assert_close(torch.cat(parts, 1), whole, **TOLERANCE)


def test_the_cache_of_another_mixer_is_refused() -> None:
    empty = torch.empty(ROWS, 4, 0, 4)
    other = AttentionCache(keys=empty, values=empty, begins=torch.empty(ROWS, 0, dtype=torch.long))
    with pytest.raises(TypeError, match="AttentionCache"):
        built(LINEAR)(inputs(), cache=other)


def test_gradients_flow_in_training_with_resets() -> None:
    layer, reset = built(replace(LINEAR, short_convolution=ShortConvolution(), skip=True)), begins()
    x = inputs().requires_grad_()
    layer(x, reset=reset)[0, 5:].square().sum().backward()
    assert x.grad[0, 5:].abs().min() > 0
    assert not x.grad[0, :5].any()
    assert not x.grad[1].any()


@pytest.mark.parametrize("layers", [1, 8])
def test_the_output_projection_starts_small_in_a_deep_model(layers: int) -> None:
    weight = EOSLayer(LINEAR, 64, layers=layers).readout.output.weight
    bound = (2 * layers * 64) ** -0.5
    assert weight.abs().max() <= bound
    # 4,096 draws: a uniform's standard deviation is known to about 0.5 %
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)
