"""From one sequence to another: cross-attention against dense forms, decoding, padding, and what is learned."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from eos.compose import load_model_recipe
from eos.compose.cost import cost_of
from eos.config import CrossMixer, EOSMixer, ModelRecipe
from eos.errors import CompositionError, RecipeError
from eos.models import EncoderDecoder
from eos.models.cross_attention import CrossAttention

WIDTH, ROWS, SOURCE, TARGET, VOCABULARY = 32, 2, 7, 5, 11
TOLERANCE = {"atol": 1e-10, "rtol": 1e-10}
KINDS = pytest.mark.parametrize("kind", ["softmax", "linear"])


def recipes(name: str = "hgrn2") -> tuple[ModelRecipe, ModelRecipe]:
    decoder = load_model_recipe(name, [f"width={WIDTH}", "layers=2"])
    main = decoder.mixers["main"]
    assert isinstance(main, EOSMixer)
    return replace(decoder, mixers={"main": replace(main, direction="both")}), decoder


def built(kind: str) -> EncoderDecoder:
    torch.manual_seed(0)
    return EncoderDecoder(*recipes(), vocabulary=VOCABULARY, cross=CrossMixer(kind=kind)).double()


def tokens(length: int, seed: int = 1) -> Tensor:
    return torch.randint(VOCABULARY, (ROWS, length), generator=torch.Generator().manual_seed(seed))


@KINDS
@pytest.mark.parametrize("masked", [False, True])
def test_cross_attention_is_its_dense_form(kind: str, masked: bool) -> None:
    torch.manual_seed(0)
    layer = CrossAttention(CrossMixer(kind=kind, heads=2), WIDTH).double()
    x = torch.randn(ROWS, TARGET, WIDTH, dtype=torch.float64)
    encoded = torch.randn(ROWS, SOURCE, WIDTH, dtype=torch.float64)
    seen = torch.ones(ROWS, SOURCE, dtype=torch.bool)
    seen[1, 4:] = not masked
    q, k, v = (p(z).unflatten(-1, (2, -1)) for p, z in ((layer.query, x), (layer.key, encoded), (layer.value, encoded)))
    if kind == "softmax":
        scores = torch.einsum("bthk,bshk->bhts", q, k) / (WIDTH // 2) ** 0.5
        weights = scores.masked_fill(~seen[:, None, None], -torch.inf).softmax(-1)
    else:
        weights = torch.einsum("bthk,bshk->bhts", F.elu(q) + 1, F.elu(k) + 1) * seen[:, None, None]
        weights = weights / weights.sum(-1, keepdim=True)
    wanted = layer.output(torch.einsum("bhts,bshv->bthv", weights, v).flatten(2))
    torch.testing.assert_close(layer(x, layer.read(encoded, seen=seen if masked else None)), wanted, **TOLERANCE)


@KINDS
def test_decoding_equals_the_forward_pass(kind: str) -> None:
    model, target = built(kind), tokens(TARGET)
    contexts = model.encode(tokens(SOURCE, 2))
    cache = model.cache(contexts)
    decoded = torch.cat([model.decode(step, cache) for step in target.split([2, 1, 1, 1], 1)], 1)
    torch.testing.assert_close(decoded, model.decode(target, contexts), **TOLERANCE)


@KINDS
def test_padding_of_the_source_changes_nothing(kind: str) -> None:
    model, source, target = built(kind), tokens(SOURCE, 2), tokens(TARGET)
    seen = torch.arange(SOURCE) < torch.tensor([SOURCE, 4])[:, None]
    together = model.decode(target, model.encode(source, seen=seen))
    alone = [
        model.decode(target[row : row + 1], model.encode(source[row : row + 1, :n])) for row, n in ((0, SOURCE), (1, 4))
    ]
    torch.testing.assert_close(together, torch.cat(alone), **TOLERANCE)


@KINDS
def test_the_decoder_sees_all_of_the_source_and_none_of_its_own_future(kind: str) -> None:
    model, source, target = built(kind), tokens(SOURCE, 2), tokens(TARGET)
    before = model.decode(target, model.encode(source))
    for step in range(SOURCE):
        changed = source.clone()
        changed[:, step] = (changed[:, step] + 1) % VOCABULARY
        assert (model.decode(target, model.encode(changed)) - before).abs().amax((0, 2)).min() > 1e-9
    changed = target.clone()
    changed[:, 3] = (changed[:, 3] + 1) % VOCABULARY
    torch.testing.assert_close(model.decode(changed, model.encode(source))[:, :3], before[:, :3], **TOLERANCE)


def test_a_linear_context_does_not_grow_with_the_source() -> None:
    sizes = {kind: [built(kind).encode(tokens(n))[0].bytes for n in (5, 50)] for kind in ("softmax", "linear")}
    assert sizes["linear"][0] == sizes["linear"][1]
    assert sizes["softmax"][1] == 10 * sizes["softmax"][0]


@pytest.mark.slow
@KINDS
def test_it_learns_to_copy_backwards(kind: str) -> None:
    torch.manual_seed(0)
    model = built(kind).float()
    source = torch.randint(1, VOCABULARY, (16, 6))
    target = torch.cat([torch.zeros(16, 1, dtype=torch.long), source.flip(1)], 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    steps, loss = 0, torch.tensor(torch.inf)
    while loss.item() > 0.1 and steps < 200:
        logits = model.decode(target[:, :-1], model.encode(source))
        loss = F.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    assert loss.item() <= 0.1


def test_faults_are_told() -> None:
    encoder, decoder = recipes()
    with pytest.raises(RecipeError, match="one width, got 32 and 16"):
        EncoderDecoder(encoder, replace(decoder, width=16), vocabulary=3)
    with pytest.raises(CompositionError, match="direction=both sees what comes later"):
        EncoderDecoder(encoder, encoder, vocabulary=3)
    with pytest.raises(CompositionError, match="no positions of its own"):
        EncoderDecoder(encoder, load_model_recipe("cosformer2", [f"width={WIDTH}"]), vocabulary=3)
    with pytest.raises(CompositionError, match="heads = 3 do not divide"):
        CrossAttention(CrossMixer(heads=3), WIDTH)
    with pytest.raises(CompositionError, match="take kind=linear"):
        CrossAttention(CrossMixer(activation="relu"), WIDTH)


@KINDS
def test_autocast_stays_close(kind: str) -> None:
    model = built(kind).float()
    source, target = tokens(SOURCE, 2), tokens(TARGET)
    wide = model.decode(target, model.encode(source))
    with torch.autocast("cpu", torch.bfloat16):
        narrow = model.decode(target, model.encode(source))
    assert (narrow.float() - wide).square().mean().sqrt() < 0.03 * wide.std()


@pytest.mark.parametrize("kind", ["softmax", "linear"])
def test_its_cost_counts_what_decoding_keeps(kind: str) -> None:
    """The memories of the decoder's layers, and what each reads of a source as long as the target."""
    encoder, decoder = recipes()

    def make(_: ModelRecipe) -> EncoderDecoder:
        return EncoderDecoder(encoder, decoder, vocabulary=VOCABULARY, cross=CrossMixer(kind=kind))

    cost = cost_of(decoder, make=make, length=SOURCE)
    model = make(decoder)
    with torch.no_grad():
        cache = model.cache(model.encode(torch.zeros(1, SOURCE, dtype=torch.long)))
        model.decode(torch.zeros(1, SOURCE, dtype=torch.long), cache)
    assert cost.memory == cache.bytes
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert {"encoder.main", "main"} <= cost.mixers.keys()
