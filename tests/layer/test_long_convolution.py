"""Long convolutions: their decoding, their gates, and what they refuse."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from eos.config import ConvolutionMixer, ShortConvolution
from eos.errors import CompositionError, RunError
from eos.layer import LongConvolution, refuse

WIDTH, ROWS, LENGTH = 6, 2, 19
# float64, sums of a Fourier transform in another order
TOLERANCE = {"atol": 1e-10, "rtol": 1e-10}

NETWORK = {"hidden": 5, "layers": 1, "decay": 0.9}
MIXER = ConvolutionMixer(kind="convolution", response=("relative_positions", NETWORK), activation="silu")


def built(mixer: ConvolutionMixer) -> LongConvolution:
    torch.manual_seed(0)
    return LongConvolution(mixer, WIDTH).double()


def inputs() -> Tensor:
    return torch.randn(ROWS, LENGTH, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("sizes", [[1] * LENGTH, [LENGTH], [7, *[1] * 5, 4, 3], [18, 1]], ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lags": 1},
        {"lags": 5},
        {"lags": LENGTH},
        {"lags": LENGTH, "decoding": "recurrence"},
        {"lags": 3 * LENGTH, "decoding": "recurrence"},
        {"order": 2, "input_gate": True, "skip": True, "short_convolution": ShortConvolution(size=3), "norm": "rms"},
        {"order": 2, "lags": LENGTH, "decoding": "recurrence", "response": ("implicit", {"length": 16})},
    ],
    ids=str,
)
def test_pieces_equal_the_whole(options: dict[str, object], sizes: list[int]) -> None:
    layer, x = built(replace(MIXER, **options)), inputs()
    cache = layer.cache(ROWS, dtype=x.dtype)
    decoded = torch.cat([layer(part, cache=cache) for part in x.split(sizes, 1)], 1)
    torch.testing.assert_close(decoded, layer(x), **TOLERANCE)


@pytest.mark.parametrize("response", [("relative_positions", NETWORK), ("implicit", {"length": 400})], ids=str)
def test_responses_of_a_narrow_model_tell_lags_apart(response: tuple[str, dict[str, object]]) -> None:
    """bfloat16 has no number between 256 and 258."""
    torch.manual_seed(0)
    layer = LongConvolution(replace(MIXER, response=response), WIDTH)
    for parameter in layer.parameters():  # to what both can hold
        parameter.data = parameter.data.bfloat16().float()
    wide = layer._response(0, 400)
    narrow = layer.bfloat16()._response(0, 400)
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow, wide, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("decoding", ["window", "recurrence"])
def test_a_narrow_model_decodes(decoding: str) -> None:
    layer = built(replace(MIXER, lags=LENGTH, decoding=decoding)).bfloat16()
    x = inputs().bfloat16()
    cache = layer.cache(ROWS, dtype=x.dtype)
    decoded = torch.cat([layer(part, cache=cache) for part in x.split(1, 1)], 1)
    assert (decoded - layer(x)).float().square().mean().sqrt() < 0.02 * layer(x).float().std()


def test_a_recurrence_refuses_more_tokens_than_it_is_exact_for() -> None:
    layer = built(replace(MIXER, lags=8, decoding="recurrence"))
    cache = layer.cache(ROWS, dtype=torch.float64)
    layer(inputs()[:, :8], cache=cache)
    with pytest.raises(RunError, match="exact for lags = 8 tokens, and these are 9"):
        layer(inputs()[:, :1], cache=cache)
    with pytest.raises(RunError, match="and these are 9; take decoding=window"):  # nothing has moved
        layer(inputs()[:, :1], cache=cache)


def test_a_response_ends_after_its_lags() -> None:
    layer, x = built(replace(MIXER, lags=4)), inputs()
    changed = x.clone()
    changed[:, 3] += 1
    difference = (layer(changed) - layer(x)).abs().amax((0, 2))
    assert (difference[3:7] > 1e-6).all()
    assert (difference[7:] < 1e-12).all()


def test_a_response_goes_on_beyond_any_length_it_was_trained_on() -> None:
    layer = built(MIXER)
    long = layer._response(0, 14_000)
    torch.testing.assert_close(long[:, :LENGTH], layer._response(0, LENGTH))
    assert long.isfinite().all()


@pytest.mark.parametrize("order", [1, 2])
def test_order_counts_convolutions_with_their_gates(order: int) -> None:
    layer = built(replace(MIXER, order=order, input_gate=True, skip=True, activation="none"))
    x = inputs()
    z = layer.projections["value"](x)
    for n in range(order):
        z = z * layer.projections[f"gate_{n}"](x)
        h = layer._response(n, LENGTH)
        lag = torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)
        toeplitz = torch.where(lag >= 0, h[:, lag.clamp(min=0)], 0.0)
        convolved = torch.einsum("vts,bsv->btv", toeplitz, z)
        z = convolved + layer.skips[n] * z
    wanted = layer.output(z * layer.projections["gate"](x))
    torch.testing.assert_close(layer(x), wanted, **TOLERANCE)


def test_documents_cannot_be_packed() -> None:
    with pytest.raises(CompositionError, match=r"task\.documents=false"):
        built(MIXER)(inputs(), reset=torch.zeros(ROWS, LENGTH, dtype=torch.bool))


def test_a_recurrence_needs_to_know_its_modes() -> None:
    for changes, why in (({}, "needs lags"), ({"lags": 8, "direction": "all"}, "cannot decode")):
        reason = refuse(replace(MIXER, decoding="recurrence", **changes), WIDTH)
        assert reason is not None
        assert why in reason
