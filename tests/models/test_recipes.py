"""What every model recipe must do, walked over the registry."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import eos
from eos import registry
from eos.compose import load_model_recipe
from eos.config import ConvolutionMixer, EOSMixer, SoftmaxMixer
from eos.errors import CompositionError
from eos.layer import EOSLayer
from eos.models import LanguageModel, generate
from tests.models.page import PAGE, page

VOCABULARY, ROWS, LENGTH = 37, 2, 33
# float32, a few layers, sums in another order
TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}
pytestmark = pytest.mark.usefixtures("small_calls")
RECIPES = sorted(registry.recipes("model"))


@pytest.fixture(params=RECIPES)
def model(request: pytest.FixtureRequest) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(load_model_recipe(request.param, ["width=64", "layers=3"]), VOCABULARY)


PACKING = sorted(
    name
    for name in RECIPES
    if not any(isinstance(mixer, ConvolutionMixer) for mixer in load_model_recipe(name).mixers.values())
)


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(VOCABULARY, (ROWS, LENGTH), generator=torch.Generator().manual_seed(1))


def begins(*places: tuple[int, int]) -> Tensor:
    reset = torch.zeros(ROWS, LENGTH, dtype=torch.bool)
    for row, step in places:
        reset[row, step] = True
    return reset


def pieces(model: LanguageModel, tokens: Tensor, sizes: list[int], reset: Tensor | None = None) -> Tensor:
    """The logits of tokens given piece by piece with a cache."""
    cache = model.cache(tokens.shape[0])
    resets = [None] * len(sizes) if reset is None else reset.split(sizes, 1)
    return torch.cat(
        [model(part, reset=r, cache=cache) for part, r in zip(tokens.split(sizes, 1), resets, strict=True)], 1
    )


def test_every_gradient_is_finite(model: LanguageModel, tokens: Tensor) -> None:
    logits = model(tokens)
    F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_start_is_near_uniform(model: LanguageModel, tokens: Tensor) -> None:
    loss = F.cross_entropy(model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    assert abs(loss.item() - torch.tensor(VOCABULARY).log().item()) < 0.3


@pytest.mark.one_in(4)
def test_decode_equals_forward(model: LanguageModel, tokens: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(pieces(model, tokens, [1] * LENGTH), model(tokens), **TOLERANCE)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("sizes", [[17, *[1] * 16], [2, 3, 1, 1, 26], [32, 1]], ids=str)
def test_split_equals_continue(model: LanguageModel, tokens: Tensor, sizes: list[int]) -> None:
    with torch.no_grad():
        torch.testing.assert_close(pieces(model, tokens, sizes), model(tokens), **TOLERANCE)


@pytest.mark.parametrize("model", sorted({*RECIPES} - {*PACKING}), indirect=True)
def test_what_cannot_be_packed_says_so(model: LanguageModel, tokens: Tensor) -> None:
    with pytest.raises(CompositionError, match="neither several documents nor padding"):
        model(tokens, reset=begins((0, 5)))


@pytest.mark.one_in(4)
@pytest.mark.parametrize("model", PACKING, indirect=True)
def test_packed_equals_separate(model: LanguageModel, tokens: Tensor) -> None:
    reset = begins((0, 0), (0, 5), (0, 6), (1, 20))
    with torch.no_grad():
        packed = model(tokens, reset=reset)
        for row, start, stop in ((0, 0, 5), (0, 5, 6), (0, 6, LENGTH), (1, 0, 20), (1, 20, LENGTH)):
            alone = model(tokens[row : row + 1, start:stop])
            torch.testing.assert_close(packed[row : row + 1, start:stop], alone, **TOLERANCE)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("model", PACKING, indirect=True)
def test_packed_decode_equals_packed_forward(model: LanguageModel, tokens: Tensor) -> None:
    reset = begins((0, 3), (0, 16), (1, 9), (1, 10))
    with torch.no_grad():
        decoded = pieces(model, tokens, [10, *[1] * 13, 10], reset)
        torch.testing.assert_close(decoded, model(tokens, reset=reset), **TOLERANCE)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("step", [0, 16, LENGTH - 1])
def test_the_past_does_not_see_the_future(model: LanguageModel, tokens: Tensor, step: int) -> None:
    changed = tokens.clone()
    changed[:, step] = (changed[:, step] + 1) % VOCABULARY
    with torch.no_grad():
        before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :step], after[:, :step], **TOLERANCE)
    assert not torch.allclose(before[:, step], after[:, step], atol=1e-4)


def test_rows_do_not_see_each_other(model: LanguageModel, tokens: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(model(tokens)[1:], model(tokens[1:]), **TOLERANCE)


@pytest.mark.one_in(4)
def test_bfloat16_autocast_stays_close(model: LanguageModel, tokens: Tensor) -> None:
    wide = model(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = model(tokens)
    # bfloat16 has 8 bits; logits start at a standard deviation of about 0.16
    torch.testing.assert_close(narrow.float(), wide, atol=0.06, rtol=0)
    narrow.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.one_in(4)
def test_a_model_of_bfloat16_keeps_its_memory_wide(model: LanguageModel, tokens: Tensor) -> None:
    wide, narrow = model(tokens), deepcopy(model).bfloat16()
    with torch.no_grad():
        logits = narrow(tokens)
        cache = narrow.cache(ROWS)
        stepped = torch.cat([narrow(step, cache=cache) for step in tokens.split([LENGTH - 4, 1, 1, 1, 1], 1)], 1)
    assert logits.dtype == torch.bfloat16
    # 8 bits in every weight and activation; logits start at a standard deviation of about 0.16
    for found in (logits, stepped):
        assert (found.float() - wide).square().mean().sqrt() < 0.05


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_planned_algorithm_equals_the_sequential_one(recipe: str) -> None:
    torch.manual_seed(0)
    loaded = load_model_recipe(recipe, ["width=32", "layers=3"])
    for name, mixer in loaded.mixers.items():
        if isinstance(mixer, EOSMixer):
            layer = EOSLayer(mixer, 32, layer=1, layers=3).double()
            record = layer.record(torch.randn(ROWS, 200, 32, dtype=torch.float64))
            (planned, memory), (stepped, last) = (eos.scan(record, algorithm=how) for how in ("auto", "sequential"))
            torch.testing.assert_close(
                planned, stepped, atol=1e-10, rtol=1e-10, msg=lambda m, name=name: f"{name}: {m}"
            )
            torch.testing.assert_close(memory.value, last.value, atol=1e-10, rtol=1e-10)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", sorted(set(RECIPES) - {"llama"}))
def test_decoding_memory_is_flat(name: str) -> None:
    recipe = load_model_recipe(name, ["width=64", "layers=2"])
    shortened: dict[type, dict[str, int]] = {SoftmaxMixer: {"window": 8}, ConvolutionMixer: {"lags": 8}}
    short = {n: replace(m, **shortened.get(type(m), {})) for n, m in recipe.mixers.items()}
    model = LanguageModel(replace(recipe, mixers=short), VOCABULARY)
    cache = model.cache(1)
    sizes = []
    with torch.no_grad():
        for _ in range(20):
            model(torch.zeros(1, 1, dtype=torch.long), cache=cache)
            sizes.append(cache.bytes)
    assert sizes[9] == sizes[19] > 0


def test_a_prompt_leaves_no_more_than_its_cache(model: LanguageModel, tokens: Tensor) -> None:
    """A view of the prompt's tensors would keep them alive, and no count of bytes would show it."""
    cache = model.cache(ROWS)
    with torch.no_grad():
        model(tokens, cache=cache)
    for layer in cache.layers:
        held = [*layer.mixer.tensors(), *([] if layer.shifted is None else [layer.shifted])]
        assert sum(tensor.untyped_storage().nbytes() for tensor in held) == layer.bytes


@pytest.mark.one_in(4)
def test_generation_repeats_with_its_seed(model: LanguageModel, tokens: Tensor) -> None:
    first = generate(model, tokens[:, :5], tokens=12, temperature=1.2, top_k=20, top_p=0.95, seed=3)
    assert torch.equal(first, generate(model, tokens[:, :5], tokens=12, temperature=1.2, top_k=20, top_p=0.95, seed=3))
    assert not torch.equal(first, generate(model, tokens[:, :5], tokens=12, temperature=1.2, top_k=20, seed=4))


@pytest.mark.one_in(4)
def test_greedy_generation_is_the_argmax_of_the_forward_pass(model: LanguageModel, tokens: Tensor) -> None:
    drawn = generate(model, tokens[:, :5], tokens=6, temperature=0)
    with torch.no_grad():
        logits = model(torch.cat([tokens[:, :5], drawn], 1))
    assert torch.equal(logits[:, 4:-1].argmax(-1), drawn)


PLANNED = {
    "based": {"main": "chunked"},
    "cosformer": {"main": "chunked"},
    "deltanet": {"main": "delta"},
    "gated_deltanet": {"main": "delta"},
    "gateloop": {"main": "chunked"},
    "gfw": {"main": "chunked"},
    "gla": {"main": "chunked"},
    "griffin": {"main": "chunked"},
    "hgrn": {"main": "elementwise"},
    "hgrn2": {"main": "chunked"},
    "hybrid": {"main": "delta"},
    "kda": {"main": "delta"},
    "cosformer2": {"main": "chunked", "average": "chunked"},
    "deltaproduct": {"main": "delta"},
    "feature_fixation": {"main": "chunked"},
    "gsa": {"main": "chunked"},
    "h3": {"main": "chunked"},
    "lightnet": {"main": "chunked", "average": "chunked"},
    "lrpe": {"main": "chunked"},
    "s4": {"main": "fft"},
    "transnormer": {"main": "chunked"},
    "transnormer_t1": {"main": "chunked"},
    "hyena": {},
    "lcsm": {"main": "chunked"},
    "linear_attention": {"main": "chunked"},
    "llama": {},
    "lru": {"main": "elementwise"},
    "mamba": {"main": "elementwise"},
    "mamba2": {"main": "chunked"},
    "mingru": {"main": "chunked"},
    "mlstm": {"main": "chunked"},
    "retnet": {"main": "chunked"},
    "rwkv4": {"main": "elementwise"},
    "rwkv5": {"main": "chunked"},
    "rwkv6": {"main": "chunked"},
    "rwkv7": {"main": "delta"},
    "dss": {"main": "fft"},
    "s5": {"main": "elementwise"},
    "s4d": {"main": "fft"},
    "tnn": {},
    "tnl": {"first": "chunked", "main": "chunked"},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_plan_takes_the_algorithm_made_for_the_record(recipe: str) -> None:
    loaded = load_model_recipe(recipe)
    planned = {}
    with torch.device("meta"):
        for name, mixer in loaded.mixers.items():
            if isinstance(mixer, EOSMixer):
                record = EOSLayer(mixer, loaded.width, layers=loaded.layers).record(torch.empty(2, 2048, loaded.width))
                planned[name] = eos.plan(record).algorithm
    assert "sequential" not in planned.values()
    assert planned == PLANNED[recipe]


def test_the_page_of_models_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it again: python -m tests.models.page"
