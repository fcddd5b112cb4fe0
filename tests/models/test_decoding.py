"""Decoding by replayed steps: what is captured is frozen, as a CUDA graph freezes it."""

import inspect
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from eos import registry
from eos.compose import load_model_recipe
from eos.models import LanguageModel, generate
from eos.models.decoding import Decoding, cuda_graph

pytestmark = pytest.mark.usefixtures("small_calls")
ROWS, PROMPT, VOCABULARY = 2, 5, 23
#: What does not look back at all tokens and counts none.
CONSTANT = {"gla", "hgrn2", "mamba", "mamba2", "rwkv4", "rwkv6", "tnl", "deltanet", "gated_deltanet", "mlstm", "s4d"}


def frozen(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Operations on fixed tensors, traced and run again, and nothing of Python: as a CUDA graph does."""
    tensors = inspect.getclosurevars(inspect.unwrap(run)).nonlocals["held"]
    before = [tensor.clone() for tensor in tensors]
    graph = make_fx(run)()
    for tensor, value in zip(tensors, before, strict=True):  # tracing ran it, which capturing does not
        tensor.copy_(value)
    out = graph()
    for tensor, value in zip(tensors, before, strict=True):
        tensor.copy_(value)

    def replay() -> None:
        out.copy_(graph())

    return replay, out


@pytest.fixture(params=sorted(registry.recipes("model")))
def model(request: pytest.FixtureRequest) -> LanguageModel:
    torch.manual_seed(0)
    recipe = load_model_recipe(request.param, ["width=64", "layers=2"])
    return LanguageModel(recipe, VOCABULARY).eval()


@pytest.mark.one_in(4)
def test_replayed_steps_give_the_same_logits(model: LanguageModel) -> None:
    """Every recipe; one whose cache grows, or counts tokens, is not captured."""
    tokens = torch.randint(VOCABULARY, (ROWS, PROMPT + 9))
    plain, replayed = Decoding(model, ROWS, capture=None), Decoding(model, ROWS, capture=frozen)
    for piece in tokens.split([PROMPT, 1, 1, 1, 3, 1, 1, 1], 1):
        torch.testing.assert_close(replayed(piece), plain(piece), rtol=1e-5, atol=1e-5)
    assert (replayed.captured is not None) == replayed.cache.constant
    for decoding in (plain, replayed):
        decoding.reorder(torch.tensor([1, 0]))
    torch.testing.assert_close(replayed(tokens[:, :1]), plain(tokens[:, :1]), rtol=1e-5, atol=1e-5)


def test_recipes_with_a_memory_alone_are_captured() -> None:
    for name in sorted(CONSTANT):
        model = LanguageModel(load_model_recipe(name, ["width=64", "layers=2"]), VOCABULARY).eval()
        decoding = Decoding(model, 1, capture=None)
        decoding(torch.zeros(1, 1, dtype=torch.long))
        assert decoding.cache.constant, name


@pytest.mark.gpu
@pytest.mark.parametrize("name", sorted(CONSTANT))
def test_a_cuda_graph_draws_the_same_tokens(name: str) -> None:
    torch.manual_seed(0)
    model = LanguageModel(load_model_recipe(name, ["width=64", "layers=2"]), VOCABULARY).cuda()
    prompt = torch.randint(VOCABULARY, (ROWS, PROMPT), device="cuda")
    captured, plain = (generate(model, prompt, tokens=50, temperature=0, capture=capture) for capture in (True, False))
    assert torch.equal(captured, plain)
    decoding = Decoding(model.eval(), ROWS, capture=cuda_graph)
    for piece in (prompt, prompt[:, :1], prompt[:, 1:2]):
        decoding(piece)
    assert decoding.captured is not None
