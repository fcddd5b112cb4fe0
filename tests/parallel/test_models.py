"""Every causal model with its sequence spread over four processes is the model on one: logits and gradients."""

from collections.abc import Sequence

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from eos import registry
from eos.compose import load_model_recipe
from eos.config import ConvolutionMixer
from eos.models import LanguageModel
from eos.parallel import Form, SequenceGroup, over
from eos.training.recompute import recompute_blocks
from tests.parallel.processes import together

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


#: Every other model in one form, the rest in the other; and the other way round.
HALVES = [
    ("ring", 0),
    ("gather", 1),
    pytest.param("ring", 1, marks=pytest.mark.slow),
    pytest.param("gather", 0, marks=pytest.mark.slow),
]


def recipe_of(name: str) -> list[str]:
    """The recipe's name and its overrides."""
    return MORE.get(name, [name])


def model_of(name: str) -> LanguageModel:
    torch.manual_seed(0)
    recipe, *overrides = recipe_of(name)
    return LanguageModel(load_model_recipe(recipe, ["width=32", "layers=2", *overrides]), VOCABULARY).double()


def drawn(*, documents: bool) -> tuple[Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(VOCABULARY, (ROWS, LENGTH), generator=generator)
    if not documents:
        return tokens, None
    reset = torch.rand(ROWS, LENGTH, generator=generator) < 0.06
    reset[:, LENGTH // RANKS] = torch.tensor([True, False])
    return tokens, reset


def packs(name: str) -> bool:
    mixers = load_model_recipe(recipe_of(name)[0]).mixers.values()
    return not any(isinstance(mixer, ConvolutionMixer) for mixer in mixers)


def run(model: LanguageModel, tokens: Tensor, reset: Tensor | None) -> tuple[Tensor, list[Tensor]]:
    """Logits, and the gradients of a loss that is a sum over tokens."""
    logits = model(tokens, reset=reset)
    loss = F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="sum")
    parameters = [x for x in model.parameters() if x.requires_grad]
    grads = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return logits.detach(), list(grads)


def compared(form: Form, names: Sequence[str]) -> dict[str, float]:
    """The largest error of every model, relative to the largest entry of each tensor."""
    found = {}
    for name in names:
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
            found[f"{name} {'documents' if documents else ''}"] = max(error.item() for error in errors)
    return found


def recomputed(form: Form) -> float:
    """The largest difference between the gradients of a model whose blocks are computed again, and of one as it is."""
    group, (tokens, reset) = SequenceGroup(form=form), drawn(documents=True)
    assert reset is not None
    size = LENGTH // RANKS
    mine = slice(group.rank * size, (group.rank + 1) * size)
    found = []
    for again in (False, True):
        model = model_of("gated_deltanet")
        if again:
            recompute_blocks(model)
        with over(group):
            found.append(run(model, tokens[:, mine], reset[:, mine])[1])
    return max((a - b).abs().max().item() for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("form", ["ring", "gather"])
def test_blocks_are_computed_again_with_what_came_before(form: Form) -> None:
    assert together(RANKS, recomputed, form) == [0.0] * RANKS


@pytest.mark.parametrize(("form", "first"), HALVES)
def test_every_model_in_four_parts_is_the_whole(form: Form, first: int) -> None:
    names = [*RECIPES, *MORE][first::2]
    for found in together(RANKS, compared, form, names):
        assert len(found) >= len(names)
        assert {name: error for name, error in found.items() if not error <= 1e-9} == {}
