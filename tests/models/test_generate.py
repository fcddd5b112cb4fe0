import pytest
import torch

from eos.compose import load_model_recipe
from eos.errors import DataError, RecipeError
from eos.models import LanguageModel, generate, stream
from eos.models.generate import _truncated

PROMPT = torch.tensor([[1, 2, 3]])


@pytest.fixture
def model() -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(load_model_recipe("gla", ["width=32", "layers=1"]), 11)


def test_stream_yields_what_generate_returns(model: LanguageModel) -> None:
    drawn = torch.stack([*stream(model, PROMPT, tokens=7, seed=5)], 1)
    assert torch.equal(drawn, generate(model, PROMPT, tokens=7, seed=5))


def test_no_tokens_asked_none_drawn(model: LanguageModel) -> None:
    assert generate(model, PROMPT, tokens=0).shape == (1, 0)


def test_sampling_leaves_the_global_generator_alone(model: LanguageModel) -> None:
    state = torch.get_rng_state()
    generate(model, PROMPT, tokens=4)
    assert torch.equal(state, torch.get_rng_state())


def test_the_model_is_evaluated_and_then_trains_on(model: LanguageModel) -> None:
    drawn = stream(model.train(), PROMPT, tokens=2)
    next(drawn)
    assert not model.training
    next(drawn)
    assert [*drawn] == []
    assert model.training


def test_top_k_keeps_the_k_largest() -> None:
    kept = _truncated(torch.tensor([[1.0, 4.0, 3.0, 2.0]]), 2, None)
    assert kept.isfinite().tolist() == [[False, True, True, False]]


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.05, [2]), (0.5, [2]), (0.51, [1, 2]), (0.85, [0, 1, 2]), (1.0, [0, 1, 2, 3])]
)
def test_top_p_keeps_the_fewest_that_reach_p(top_p: float, kept: list[int]) -> None:
    logits = torch.tensor([[0.15, 0.3, 0.5, 0.05]]).log()
    assert _truncated(logits, None, top_p)[0].isfinite().nonzero()[:, 0].tolist() == kept


def test_samples_follow_the_softmax(model: LanguageModel) -> None:
    rows = PROMPT.expand(4000, -1)
    drawn = generate(model, rows, tokens=1, temperature=2.0, seed=1)[:, 0]
    with torch.no_grad():
        wanted = (model(PROMPT)[0, -1] / 2.0).softmax(-1)
    # 4,000 draws: a frequency of 0.1 has a standard deviation of 0.005
    torch.testing.assert_close(torch.bincount(drawn, minlength=11) / 4000, wanted, atol=0.025, rtol=0)


def test_an_empty_prompt_is_refused(model: LanguageModel) -> None:
    with pytest.raises(DataError, match="at least one token"):
        generate(model, PROMPT[:, :0], tokens=1)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
    ],
)
def test_a_setting_out_of_range_is_refused(model: LanguageModel, setting: dict[str, float], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        stream(model, PROMPT, tokens=1, **setting)
