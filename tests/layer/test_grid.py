"""Tokens of a grid in one pass, against dense forms: rotations by place, neighbours, positional scans, one memory."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from eos.compose import load_model_recipe
from eos.config import EOSMixer, Output
from eos.errors import CompositionError
from eos.layer import EOSLayer, refuse
from eos.models import Classifier, Encoder

WIDTH, ROWS, HEADS = 16, 2, 2
TOLERANCE = {"atol": 1e-10, "rtol": 1e-10}
SHAPES = [(6,), (3, 4), (2, 3, 2)]


def mixer(**options: object) -> EOSMixer:
    stages = {"heads": HEADS, "expand": "linear", "shrink": "linear", "output": Output(norm="none")}
    return EOSMixer(**{**stages, **options})  # type: ignore[arg-type]


def made(options: EOSMixer, shape: tuple[int, ...]) -> tuple[EOSLayer, Tensor]:
    torch.manual_seed(0)
    return EOSLayer(options, WIDTH).double(), torch.randn(ROWS, math.prod(shape), WIDTH, dtype=torch.float64)


def states(layer: EOSLayer, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v [B,T,H,d]."""
    parts = (layer.composition.shrink.projection, layer.composition.expand.projection, layer.composition.input)
    q, k, v = (part(x).unflatten(-1, (HEADS, -1)) for part in parts)
    return q, k, v


def turned(x: Tensor, place: tuple[int, ...]) -> Tensor:
    """x [B,H,d] with pair (p, p + d/2) turned by the angle of its place, looked up pair by pair."""
    size, axes = x.shape[-1], len(place)
    pairs = size // 2
    each = math.ceil(pairs / axes)
    out = x.clone()
    for pair in range(pairs):
        axis, index = divmod(pair, each)
        angle = place[axis] * 10000.0 ** (-2 * index * axes / size)
        a, b = x[..., pair], x[..., pair + pairs]
        out[..., pair] = math.cos(angle) * a - math.sin(angle) * b
        out[..., pair + pairs] = math.sin(angle) * a + math.cos(angle) * b
    return out


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rotations_by_place(shape: tuple[int, ...]) -> None:
    layer, x = made(mixer(oscillation=["rotation"], direction="all", grid="places"), shape)
    q, k, v = states(layer, x)
    places = list(product(*(range(size) for size in shape)))
    keys = [turned(k[:, t], place) for t, place in enumerate(places)]
    rows = []
    for t, place in enumerate(places):
        query = turned(q[:, t], place)
        y = sum((query * keys[s]).sum(-1, keepdim=True) * v[:, s] for s in range(len(places)))
        assert isinstance(y, Tensor)
        rows.append(y.flatten(1))
    torch.testing.assert_close(layer(x, shape=shape), layer.readout.output(torch.stack(rows, 1)), **TOLERANCE)


def test_a_grid_of_one_axis_is_a_sequence() -> None:
    layer, x = made(mixer(oscillation=["rotation"], direction="both", grid="places"), (7,))
    torch.testing.assert_close(layer(x, shape=(7,)), layer(x), **TOLERANCE)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_memory_of_a_whole_grid(shape: tuple[int, ...]) -> None:
    layer, x = made(mixer(oscillation=["additive"], direction="all", grid="places"), shape)
    assert torch.equal(layer(x, shape=shape), layer(x))


@pytest.mark.parametrize(("shape", "share"), [((5,), 4), ((3, 2), 4), ((3, 2), 8), ((2, 2, 3), 8)], ids=str)
def test_neighbours(shape: tuple[int, ...], share: int) -> None:
    layer, x = made(mixer(direction="all", grid="places", neighbours=share), shape)
    q, k, v = states(layer, x)
    places = list(product(*(range(size) for size in shape)))

    def moved(z: Tensor) -> Tensor:
        part, out = z.shape[-1] // share, z.clone()
        for t, place in enumerate(places):
            for axis in range(len(shape)):
                for slot, step in ((2 * axis, 1), (2 * axis + 1, -1)):
                    near = list(place)
                    near[axis] += step
                    at = slice(slot * part, (slot + 1) * part)
                    inside = 0 <= near[axis] < shape[axis]
                    out[:, t, :, at] = z[:, places.index(tuple(near)), :, at] if inside else 0.0
        return out

    k, v = moved(k), moved(v)
    y = torch.einsum("bthk,bshk,bshv->bthv", q, k, v).flatten(2)
    torch.testing.assert_close(layer(x, shape=shape), layer.readout.output(y), **TOLERANCE)


def test_positional_scans_along_every_axis_add_up() -> None:
    """cosFormer2's scan that tells positions apart, on a grid: one scan an axis, from both ends, summed."""
    recipe = load_model_recipe("cosformer2", ["width=16", "layers=1", "mixers.average.direction=both"])
    encoder = Encoder(recipe).double()
    scan = encoder.positions
    assert scan is not None
    grid = torch.randn(ROWS, 3, 4, 16, dtype=torch.float64)
    expected = torch.zeros_like(grid)
    for row in range(3):
        expected[:, row] += scan(grid[:, row])
    for column in range(4):
        expected[:, :, column] += scan(grid[:, :, column])
    seen: list[Tensor] = []
    encoder.dropout.register_forward_hook(lambda module, given, output: seen.append(output))
    encoder(grid.flatten(1, 2), shape=(3, 4))
    torch.testing.assert_close(seen[0].view_as(grid), expected, **TOLERANCE)


def test_images_and_videos_are_classified() -> None:
    """Feature fixation without a causal order, with its neighbours: rows, images, and videos in one pass."""
    changes = ["width=32", "layers=2", "heads=2", "direction=all", "grid=places", "neighbours=8"]
    model = Classifier(load_model_recipe("feature_fixation", changes), classes=3, features=3)
    for shape in ((6,), (3, 4), (2, 3, 2)):
        logits = model(torch.rand(ROWS, math.prod(shape), 3), shape=shape)
        logits.sum().backward()
        assert logits.isfinite().all()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"neighbours": 4}, "direction=all"),
        ({"neighbours": 3, "direction": "all"}, "must divide"),
        ({"neighbours": 4, "direction": "all", "expand": "ones"}, "differs from token to token"),
        ({"grid": "places", "token_shift": {}}, "no token_shift"),
        ({"grid": "places", "short_convolution": {}}, "no short_convolution"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(options: dict[str, object], reason: str) -> None:
    assert reason in str(refuse(mixer(**options), WIDTH))


def test_a_rotation_that_varies_has_no_place() -> None:
    layer, x = made(mixer(oscillation=["phase_gate"], direction="both", grid="places"), (3, 2))
    with pytest.raises(CompositionError, match="rotations that are the same at every token"):
        layer(x, shape=(3, 2))
    with pytest.raises(CompositionError, match="3 × 3 has 9 tokens, not 6"):
        layer(x, shape=(3, 3))
