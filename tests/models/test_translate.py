"""Decoding by an encoder and a decoder: greedy and beam search against all there is, and the encoder's directions."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from eos.compose import load_model_recipe
from eos.config import ConvolutionMixer, CrossMixer, EOSMixer, ModelRecipe, SoftmaxMixer
from eos.errors import CompositionError, RecipeError
from eos.models import EncoderDecoder, translate
from eos.models.encoder import refuse_padding
from eos.models.encoder_decoder import encoder_recipe
from eos.models.translate import _search

END, VOCABULARY, WIDTH = 3, 4, 16
MODELS = pytest.mark.parametrize("name", ["gla", "hybrid", "llama"])
pytestmark = pytest.mark.usefixtures("small_calls")


def built(name: str = "gla", *, vocabulary: int = VOCABULARY, kind: str = "softmax", seed: int = 0) -> EncoderDecoder:
    """A model whose next tokens are far from equally likely."""
    torch.manual_seed(seed)
    recipe = load_model_recipe(name, [f"width={WIDTH}", "layers=2", "initial_std=0.7", "tied=false"])
    model = EncoderDecoder(encoder_recipe(recipe), recipe, vocabulary=vocabulary, cross=CrossMixer(kind=kind))
    return model.double().eval()


def sources(rows: int, length: int, vocabulary: int = VOCABULARY) -> Tensor:
    return torch.randint(vocabulary, (rows, length), generator=torch.Generator().manual_seed(1))


def limits(*each: int) -> Tensor:
    return torch.tensor(each)


def log_probabilities(model: EncoderDecoder, source: Tensor, written: list[list[int]]) -> Tensor:
    """Of each that was written of one source, its end included where it has one, without a cache."""
    size = max(map(len, written))
    ids = torch.tensor([[*each, *[END] * (size - len(each))] for each in written])
    given = torch.cat([torch.full((len(ids), 1), END), ids[:, :-1]], 1)
    steps = model(given, source=source.expand(len(ids), -1)).log_softmax(-1).gather(2, ids[..., None])[..., 0]
    return (steps * (torch.arange(size) < torch.tensor([*map(len, written)])[:, None])).sum(1)


@MODELS
def test_greedy_takes_the_likeliest_token_each_time(name: str) -> None:
    model, source, size = built(name, vocabulary=11), sources(4, 5, 11), 7
    found = translate(model, source, end=END, limits=limits(*[size] * 4))
    given = torch.full((4, 1), END)
    for _ in range(size):
        given = torch.cat([given, model(given, source=source)[:, -1:].argmax(-1)], 1)
    for ids, likeliest in zip(found, given[:, 1:].tolist(), strict=True):
        assert ids == list(itertools.takewhile(lambda token: token != END, likeliest))
    assert any(found)


@pytest.mark.parametrize(("name", "penalty"), [("gla", 0.0), ("hybrid", 1.0), ("llama", 1.0)])
def test_a_beam_that_holds_everything_finds_the_best(name: str, penalty: float) -> None:
    """Against the score of every sentence of at most three tokens."""
    others = [token for token in range(VOCABULARY) if token != END]
    whole = [[*head, END] for size in range(3) for head in itertools.product(others, repeat=size)]
    whole += [list(head) for head in itertools.product(others, repeat=3)]
    sizes = torch.tensor([float(len(ids)) for ids in whole])
    for seed in range(2):
        model, source = built(name, seed=seed), sources(1, 4)
        best = whole[int((log_probabilities(model, source, whole) / sizes**penalty).argmax())]
        # as many beams as there are beginnings of two tokens
        found = translate(model, source, end=END, limits=limits(3), beams=16, penalty=penalty)
        assert found == [[token for token in best if token != END]]


@MODELS
def test_a_beam_knows_how_likely_it_is(name: str) -> None:
    """Each goes on from the state of the one that it continues."""
    model, source = built(name, vocabulary=11), sources(2, 5, 11)
    with torch.no_grad():
        written, scores = _search(model, source, None, END, limits(6, 6), 4)
    for row in range(2):
        ids = [each[: each.index(END) + 1] if END in each else each for each in written[row].tolist()]
        assert len({*map(tuple, ids)}) == 4
        wanted = log_probabilities(model, source[row : row + 1], ids).float()
        torch.testing.assert_close(scores[row], wanted, rtol=1e-5, atol=1e-5)  # logarithms are summed in float32


@pytest.mark.parametrize(("name", "beams"), [("gla", 1), ("gla", 3), ("hybrid", 3), ("llama", 3)])
def test_a_row_does_not_depend_on_the_others(name: str, beams: int) -> None:
    model, source = built(name, vocabulary=11), sources(3, 6, 11)
    seen = torch.arange(6) < torch.tensor([6, 2, 4])[:, None]
    together = translate(model, source, end=END, limits=limits(12, 4, 8), seen=seen, beams=beams)
    assert [len(ids) <= most for ids, most in zip(together, (12, 4, 8), strict=True)] == [True] * 3
    for row, (size, most) in enumerate(((6, 12), (2, 4), (4, 8))):
        alone = translate(model, source[row : row + 1, :size], end=END, limits=limits(most), beams=beams)
        assert alone == together[row : row + 1]
    assert any(together)


def test_the_mode_of_the_model_is_as_before() -> None:
    model = built().train()
    translate(model, sources(1, 4), end=END, limits=limits(2))
    assert model.training


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(RecipeError, match="beams must be ≥ 1, got 0"):
        translate(built(), sources(1, 4), end=END, limits=limits(2), beams=0)
    with pytest.raises(RecipeError, match="at least one token is written, got a limit of 0"):
        translate(built(), sources(1, 4), end=END, limits=limits(0))


@pytest.mark.parametrize(("asked", "stages", "others"), [("both", "both", "all"), ("forward",) * 3, ("all",) * 3])
def test_every_mixer_of_an_encoder_looks_the_way_that_it_can(asked: str, stages: str, others: str) -> None:
    hybrid, hyena = load_model_recipe("hybrid"), load_model_recipe("hyena")
    turned = encoder_recipe(
        replace(hybrid, mixers=hybrid.mixers | hyena.mixers | {"stages": hybrid.mixers["main"]}), asked
    )
    found = {type(mixer): mixer.direction for mixer in turned.mixers.values()}
    assert found == {EOSMixer: stages, SoftmaxMixer: others, ConvolutionMixer: others}


def test_what_cannot_leave_padding_out_is_told_and_runs_without() -> None:
    def recipe(name: str) -> ModelRecipe:
        return load_model_recipe(name, [f"width={WIDTH}", "layers=1"])

    assert refuse_padding(encoder_recipe(recipe("hybrid"))) is None
    for name, direction in (("hyena", "both"), ("linear_attention", "all")):
        encoder = encoder_recipe(recipe(name), direction)
        assert "padding" in str(refuse_padding(encoder))
        model = EncoderDecoder(encoder, recipe(name), vocabulary=VOCABULARY)
        source, target = sources(2, 5), sources(2, 3)
        assert model(target, source=source, seen=torch.ones(2, 5, dtype=torch.bool)).shape == (2, 3, VOCABULARY)
        with pytest.raises(CompositionError):
            model(target, source=source, seen=torch.arange(5) < torch.tensor([5, 3])[:, None])
