"""Every model with its sequence spread over four processes is the model on one: logits and gradients."""

import itertools

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from eos import registry
from eos.compose import load_model_recipe
from eos.config import ConvolutionMixer, Form, SoftmaxMixer
from eos.models import LanguageModel, MaskedModel
from eos.models.encoder_decoder import encoder_recipe
from eos.parallel import SequenceGroup, over
from eos.training.recompute import recompute_blocks
from tests.parallel.processes import Crew

pytestmark = pytest.mark.xdist_group("four")

RANKS, VOCABULARY, ROWS, LENGTH = 4, 23, 2, 48
RECIPES = sorted(registry.recipes("model"))
#: Mixers of hybrids beside what the recipes have: a window that reaches past a part, one that does not, and blocks.
MORE = {
    "llama window": ["llama", "window=9"],
    "llama long window": ["llama", "window=20"],
    "llama blocks": ["llama", "block=5", "score=relu"],
    "llama groups": ["llama", "groups=2"],
    "lightnet null token": ["lightnet", "mixers.main.null_token=true"],
}


FORMS: tuple[Form, ...] = ("ring", "gather")


def recipe_of(name: str) -> list[str]:
    """The recipe's name and its overrides."""
    return MORE.get(name, [name])


def model_of(name: str) -> nn.Module:
    """The model of a recipe, or, where the name says so, one whose mixers see both sides or all at once."""
    torch.manual_seed(0)
    name, _, later = name.partition(", ")
    recipe, *overrides = recipe_of(name)
    made = load_model_recipe(recipe, ["width=32", "layers=2", *overrides])
    if not later:
        return LanguageModel(made, VOCABULARY).double()
    return MaskedModel(encoder_recipe(made, "both" if later == "both" else "all"), VOCABULARY).double()


def drawn(*, documents: bool) -> tuple[Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(VOCABULARY, (ROWS, LENGTH), generator=generator)
    if not documents:
        return tokens, None
    reset = torch.rand(ROWS, LENGTH, generator=generator) < 0.06
    reset[:, LENGTH // RANKS] = torch.tensor([True, False])
    return tokens, reset


def packs(name: str) -> bool:
    name, _, later = name.partition(", ")
    mixers = load_model_recipe(recipe_of(name)[0]).mixers.values()
    unpacked = any(isinstance(mixer, ConvolutionMixer) for mixer in mixers)
    return not unpacked and (later != "all" or all(isinstance(mixer, SoftmaxMixer) for mixer in mixers))


def run(model: nn.Module, tokens: Tensor, reset: Tensor | None) -> tuple[Tensor, list[Tensor]]:
    """Logits, and the gradients of a loss that is a sum over tokens."""
    logits = model(tokens, reset=reset)
    loss = F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="sum")
    parameters = [x for x in model.parameters() if x.requires_grad]
    grads = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return logits.detach(), list(grads)


def compared(names: dict[Form, list[str]]) -> dict[str, float]:
    """The largest error of every model, relative to the largest entry of each tensor."""
    found = {}
    for form, name in ((form, name) for form, those in names.items() for name in those):
        for documents in (False, True) if packs(name) else (False,):
            model, (tokens, reset) = model_of(name), drawn(documents=documents)
            want, wanted = run(model, tokens, reset)
            group = SequenceGroup(form=form)
            size = LENGTH // RANKS
            mine = slice(group.rank * size, (group.rank + 1) * size)
            with over(group):
                got, grads = run(model, tokens[:, mine], None if reset is None else reset[:, mine])
            pairs = [(got, want[:, mine])]
            for grad, whole in zip(grads, wanted, strict=True):
                dist.all_reduce(grad := grad.contiguous())
                pairs.append((grad, whole))
            errors = [(a - b).abs().max() / b.abs().max().clamp(min=1e-3) for a, b in pairs]
            found[f"{name} {form} {'documents' if documents else ''}"] = max(error.item() for error in errors)
    return found


def recomputed() -> dict[tuple[str, Form], float]:
    """The largest difference between the gradients of a model whose blocks are computed again, and of one as it is."""
    (tokens, reset), size = drawn(documents=True), LENGTH // RANKS
    assert reset is not None
    differences = {}
    for name, form in itertools.product(("gated_deltanet", "hybrid"), FORMS):
        group, found = SequenceGroup(form=form), []
        mine = slice(group.rank * size, (group.rank + 1) * size)
        for again in (False, True):
            model = model_of(name)
            if again:
                recompute_blocks(model)
            with over(group):
                found.append(run(model, tokens[:, mine], reset[:, mine])[1])
        differences[name, form] = max((a - b).abs().max().item() for a, b in zip(*found, strict=True))
    return differences


def test_blocks_are_computed_again_with_what_came_before(four: Crew) -> None:
    for found in four(recomputed):
        assert set(found.values()) == {0.0}, found


#: Models that see later tokens too: from both sides (not mLSTM, whose running maxima do not add up), or all at once.
SIDES = [f"{name}, both" for name in (*RECIPES, *MORE) if name != "mlstm"]
AT_ONCE = ("based", "cosformer", "feature_fixation", "lrpe", "tnn", "llama", "llama window")
LATER = [*SIDES, *(f"{name}, all" for name in AT_ONCE)]
#: One of every kind of memory, and of what else looks over a seam; all models in both forms.
KINDS: dict[Form, list[str]] = {
    "ring": [
        *("tnl", "gla", "hgrn", "gated_deltanet", "lru", "gsa", "hyena", "llama window"),
        *("gla, both", "griffin, both", "cosformer, all", "llama window, all"),
    ],
    "gather": [
        *("mamba", "rwkv7", "mlstm", "rwkv4", "hybrid", "llama long window", "lightnet null token"),
        *("hybrid, both", "lightnet null token, both", "tnn, all", "lrpe, all"),
    ],
}
ALL = {form: [*RECIPES, *MORE, *LATER] for form in FORMS}


@pytest.mark.parametrize("names", [KINDS, pytest.param(ALL, marks=pytest.mark.slow)], ids=["kinds", "all"])
def test_every_model_in_four_parts_is_the_whole(names: dict[Form, list[str]], four: Crew) -> None:
    for found in four(compared, names):
        assert len(found) >= sum(map(len, names.values()))
        assert {name: error for name, error in found.items() if not error <= 1e-9} == {}
