"""Mixers that see what comes later, against dense forms; grids; and what is refused."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from eos import registry
from eos.compose import load_model_recipe
from eos.config import ConvolutionMixer, Denominator, EOSMixer, FirstPass, ModelRecipe, Output, SoftmaxMixer
from eos.errors import CompositionError, RecipeError
from eos.layer import EOSLayer, LongConvolution, refuse
from eos.layer.direction import along_axes
from eos.models import Classifier, Encoder, LanguageModel
from eos.models.attention import SoftmaxAttention

WIDTH, ROWS, LENGTH = 8, 2, 11
# float64 and other orders of summation
TOLERANCE = {"atol": 1e-10, "rtol": 1e-10}
PLAIN = EOSMixer(heads=2, expand="linear", shrink="linear", output=Output(norm="none"))
RECIPES = [name for name in sorted(registry.recipes("model")) if name != "llama"]


def inputs(*shape: int) -> Tensor:
    return torch.randn(
        *(shape or (ROWS, LENGTH, WIDTH)), dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )


def begins() -> Tensor:
    reset = torch.zeros(ROWS, LENGTH, dtype=torch.bool)
    reset[0, 0], reset[0, 4], reset[0, 5], reset[1, 9] = True, True, True, True
    return reset


def layer_of(mixer: EOSMixer) -> EOSLayer:
    torch.manual_seed(0)
    return EOSLayer(mixer, WIDTH).double()


def heads(layer: EOSLayer, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v [B,T,H,d]."""
    composition = layer.composition
    projections = (composition.shrink.projection, composition.expand.projection, composition.input)
    q, k, v = (projection(x).unflatten(-1, (2, -1)) for projection in projections)
    return q, k, v


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"oscillation": ["key_gate"]},
        {"oscillation": ["head_rate", "delta"]},
        {"oscillation": ["additive"], "null_token": True},
        {"expand": "ones", "oscillation": [("key_gate", {"gate": "complement"})], "read": "before", "bonus": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("packed", [False, True])
def test_both_is_a_pass_from_either_end(changes: dict[str, object], packed: bool) -> None:
    forward = layer_of(replace(PLAIN, **changes))
    both = layer_of(replace(PLAIN, **changes, direction="both"))
    both.load_state_dict(forward.state_dict())
    x, reset = inputs(), begins() if packed else None
    got = both(x, reset=reset)
    cuts = [[0, 4, 5, LENGTH], [0, 9, LENGTH]] if packed else [[0, LENGTH]] * ROWS
    for row, places in enumerate(cuts):
        for start, stop in pairwise(places):
            own = x[row : row + 1, start:stop]
            wanted = forward(own) + forward(own.flip(1)).flip(1)
            torch.testing.assert_close(got[row : row + 1, start:stop], wanted, **TOLERANCE)


def test_both_divides_the_sum_of_two_reads_by_that_of_their_denominators() -> None:
    layer = layer_of(replace(PLAIN, expand="elu", shrink="elu", direction="both", denominator=Denominator()))
    x = inputs()
    q, k, v = heads(layer, x)
    q, k = (torch.nn.functional.elu(z) + 1 for z in (q, k))
    scores = torch.einsum("bthk,bshk->bhts", q, k) * (1 + torch.eye(LENGTH, dtype=x.dtype))
    y = torch.einsum("bhts,bshv->bthv", scores / scores.sum(-1, keepdim=True), v)
    torch.testing.assert_close(layer(x), layer.readout.output(y.flatten(2)), **TOLERANCE)


@pytest.mark.parametrize("denominator", [None, Denominator()])
@pytest.mark.parametrize("turned", [False, True])
def test_all_is_attention_to_all_tokens(turned: bool, denominator: Denominator | None) -> None:
    angles = {"oscillation": ["rotation"]} if turned else {"expand": "elu", "shrink": "elu"}
    layer = layer_of(replace(PLAIN, **angles, direction="all", denominator=denominator))
    x = inputs()
    q, k, v = heads(layer, x)
    if turned:
        pairs = q.shape[-1] // 2
        q, k = (torch.complex(z[..., :pairs], z[..., pairs:]) for z in (q, k))
        distance = (torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)).double()
        turn = torch.exp(1j * distance[..., None] * 10000.0 ** (-torch.arange(pairs).double() / pairs))
        scores = torch.einsum("bthp,bshp,tsp->bhts", q.conj(), k, turn.conj()).real
    else:
        q, k = (torch.nn.functional.elu(z) + 1 for z in (q, k))
        scores = torch.einsum("bthk,bshk->bhts", q, k)
    if denominator is not None:
        total = scores.sum(-1, keepdim=True)
        scores = scores / torch.where(total < 0, total.clamp(max=-1e-6), total.clamp(min=1e-6))
    y = torch.einsum("bhts,bshv->bthv", scores, v)
    torch.testing.assert_close(layer(x), layer.readout.output(y.flatten(2)), **TOLERANCE)


def test_all_of_an_additive_memory_is_a_softmax_over_all_tokens() -> None:
    layer = layer_of(replace(PLAIN, expand="ones", oscillation=["additive"], direction="all"))
    x = inputs()
    q = layer.composition.shrink.projection(x).unflatten(-1, (2, -1))
    v = layer.composition.input(x).unflatten(-1, (2, -1))
    logits = layer.composition.oscillation[0].logits(x)
    y = torch.einsum("bthk,bshk,bshv->bthv", q, logits.softmax(1), v)
    torch.testing.assert_close(layer(x), layer.readout.output(y.flatten(2)), **TOLERANCE)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("options", [{}, {"window": 3}, {"block": 4}, {"score": "relu"}], ids=str)
def test_softmax_to_all_tokens(options: dict[str, object], packed: bool) -> None:
    torch.manual_seed(0)
    mixer = SoftmaxMixer(kind="softmax", heads=2, rope=False, direction="all", **options)
    layer = SoftmaxAttention(mixer, WIDTH).double()
    x, reset = inputs(), begins() if packed else torch.zeros(ROWS, LENGTH, dtype=torch.bool)
    q, k, v = (p(x).unflatten(-1, (2, -1)) for p in (layer.query, layer.key, layer.value))
    positions = torch.arange(LENGTH)
    start = torch.where(reset, positions, 0).cummax(1).values
    seen = start[:, :, None] == start[:, None]
    if mixer.window:
        seen &= (positions[:, None] - positions).abs() < mixer.window
    if mixer.block:
        place = (positions - start) // mixer.block
        seen &= place[:, :, None] == place[:, None]
    scores = torch.einsum("bthk,bshk->bhts", q, k) / 2
    if mixer.score == "relu":
        weights = scores.clamp(min=0) * seen[:, None]
    else:
        weights = scores.masked_fill(~seen[:, None], -torch.inf).softmax(-1)
    wanted = layer.output(torch.einsum("bhts,bshv->bthv", weights, v).flatten(2))
    torch.testing.assert_close(layer(x, reset=reset if packed else None), wanted, **TOLERANCE)


@pytest.mark.parametrize("lags", [None, 4])
def test_a_convolution_over_all_lags_is_a_toeplitz_matrix(lags: int | None) -> None:
    torch.manual_seed(0)
    network = ("relative_positions", {"hidden": 5, "layers": 1})
    mixer = ConvolutionMixer(kind="convolution", response=network, direction="all", lags=lags)
    layer, x = LongConvolution(mixer, WIDTH).double(), inputs()
    h = layer.responses[0](torch.arange(1.0 - LENGTH, LENGTH, dtype=x.dtype))
    distance = torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)
    toeplitz = h[:, distance + LENGTH - 1] * 0.99 ** distance.abs().double() * (distance.abs() < (lags or LENGTH))
    y = torch.einsum("vts,bsv->btv", toeplitz, layer.projections["value"](x)) * layer.projections["gate"](x)
    torch.testing.assert_close(layer(x), layer.output(y), **TOLERANCE)


@pytest.mark.parametrize("shape", [(11,), (3, 4), (2, 3, 4)], ids=str)
def test_a_grid_is_mixed_along_every_axis(shape: tuple[int, ...]) -> None:
    layer = layer_of(replace(PLAIN, oscillation=["key_gate"], direction="both"))
    grid = inputs(ROWS, *shape, WIDTH)
    wanted = torch.zeros_like(grid)
    for axis in range(len(shape)):
        moved = grid.movedim(1 + axis, -2)
        places = torch.cartesian_prod(*(torch.arange(n) for n in moved.shape[:-2])).view(-1, moved.dim() - 2)
        for place in places.tolist():
            wanted.movedim(1 + axis, -2)[tuple(place)] += layer(moved[tuple(place)][None])[0]
    got = along_axes(layer, grid.flatten(1, -2), shape)
    torch.testing.assert_close(got, wanted.flatten(1, -2), **TOLERANCE)


FIRST_PASS = FirstPass(expand="linear", shrink="linear")
NO_ALL = [
    ({"oscillation": ["head_decay"]}, "head changes it; take both"),
    ({"oscillation": ["key_gate"]}, "key changes it; take both"),
    ({"oscillation": ["delta"]}, "erase changes it; take both"),
    ({"oscillation": ["rate_step"]}, "rate changes it; take both"),
    ({"oscillation": [("rotation", {"over": "value"})]}, "without a V axis"),
    ({"oscillation": ["exponential_gate"]}, "take both|weights that sum to one"),
    ({"read": "before"}, "needs read=after"),
    ({"bonus": True}, "neither bonus nor first_pass"),
    ({"first_pass": FIRST_PASS}, "neither bonus nor first_pass"),
    ({"shrink": "parts"}, "needs one read"),
]


@pytest.mark.parametrize(("changes", "reason"), NO_ALL, ids=str)
def test_what_cannot_read_all_tokens_says_why(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(CompositionError, match=reason):
        layer_of(replace(PLAIN, **changes, direction="all"))


def test_two_reads_of_a_running_maximum_are_not_added() -> None:
    mixer = replace(PLAIN, oscillation=["exponential_gate"], direction="both", denominator=Denominator())
    reason = refuse(mixer, WIDTH)
    assert reason is not None
    assert "scales apart" in reason


@pytest.mark.parametrize("direction", ["both", "all"])
def test_what_sees_the_future_neither_decodes_nor_models_language(direction: str) -> None:
    mixer = replace(PLAIN, direction=direction)
    layer = layer_of(mixer)
    with pytest.raises(CompositionError, match="cannot decode"):
        layer(inputs(), cache=layer.cache(ROWS))
    recipe = ModelRecipe(layers=1, width=WIDTH, mixers={"main": mixer}, layout=["main"])
    with pytest.raises(CompositionError, match="build an Encoder or a Classifier"):
        LanguageModel(recipe, 11)
    if direction == "all":
        with pytest.raises(CompositionError, match="neither several documents nor padding"):
            layer(inputs(), reset=begins())


def seeing(name: str) -> ModelRecipe:
    """A recipe whose mixers all see what comes later."""
    recipe = load_model_recipe(name, ["width=32", "layers=2"])
    mixers = {
        each: replace(mixer, direction="both" if isinstance(mixer, EOSMixer) else "all")
        for each, mixer in recipe.mixers.items()
    }
    if name == "mlstm":  # its denominator is a running maximum's
        mixers = {each: replace(mixer, denominator=None) for each, mixer in mixers.items()}
    return replace(recipe, mixers=mixers)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_makes_a_classifier(name: str) -> None:
    """Every token has a say, also along the axes of a grid; gradients reach every parameter."""
    torch.manual_seed(0)
    model = Classifier(seeing(name), 3, features=2)
    x = torch.randn(ROWS, 12, 2, requires_grad=True)
    shifted = model.encoder.recipe.channel_mixer.token_shift
    if shifted:
        with pytest.raises(CompositionError, match="the token before, and a grid has several"):
            model(x, shape=(3, 4))
    for shape in (None,) if shifted else (None, (3, 4)):
        logits = model(x, shape=shape)
        assert logits.shape == (ROWS, 3)
        (gradient,) = torch.autograd.grad(logits.square().sum(), x, retain_graph=True)
        assert (gradient.abs().sum(-1) > 0).all()
    logits.square().sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("pool", ["mean", "last"])
def test_padding_changes_no_class(pool: str) -> None:
    torch.manual_seed(0)
    model = Classifier(seeing("hgrn2"), 3, vocabulary=11, pool=pool).double()
    tokens = torch.randint(11, (2, 9))
    together = model(tokens, lengths=torch.tensor([9, 5]))
    alone = torch.cat([model(tokens[:1]), model(tokens[1:, :5])])
    torch.testing.assert_close(together, alone, **TOLERANCE)


@pytest.mark.slow
def test_a_classifier_learns_what_only_the_end_tells() -> None:
    """Whether the last token repeats the first, pooled over all: a forward pass alone has half of the tokens blind."""
    torch.manual_seed(0)
    model = Classifier(seeing("hgrn2"), 2, vocabulary=4)
    tokens = torch.randint(4, (32, 6))
    classes = (tokens[:, 0] == tokens[:, -1]).long()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    steps, loss = 0, torch.tensor(torch.inf)
    while loss.item() > 0.1 and steps < 150:
        loss = torch.nn.functional.cross_entropy(model(tokens), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    assert loss.item() <= 0.1


def test_faults_of_an_encoder_are_told() -> None:
    recipe = seeing("hgrn2")
    with pytest.raises(RecipeError, match="give one"):
        Classifier(recipe, 3)
    with pytest.raises(RecipeError, match="at least two classes, got 1"):
        Classifier(recipe, 1, vocabulary=3)
    x = torch.randn(1, 6, 32)
    with pytest.raises(CompositionError, match="a grid of 2 × 2 has 4 tokens, not 6"):
        Encoder(recipe)(x, shape=(2, 2))
    with pytest.raises(RecipeError, match="give reset or shape"):
        Encoder(recipe)(x, shape=(2, 3), reset=torch.zeros(1, 6, dtype=torch.bool))
