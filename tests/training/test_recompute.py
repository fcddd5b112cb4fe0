"""Blocks that are computed again: the same numbers, and less held in between."""

import torch
from torch.autograd.graph import saved_tensors_hooks

from eos.compose import load_model_recipe
from eos.models import LanguageModel
from eos.training.recompute import recompute_blocks


def step(model: LanguageModel, tokens: torch.Tensor) -> tuple[list[torch.Tensor], int]:
    """Gradients, and the bytes that the forward pass left for them."""
    held: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        held[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    torch.manual_seed(0)
    with saved_tensors_hooks(keep, lambda x: x):
        loss = model(tokens).square().sum()
    loss.backward()
    return [x.grad for x in model.parameters() if x.grad is not None], sum(held.values())


def test_blocks_computed_again_give_the_same_gradients_and_hold_less() -> None:
    tokens = torch.randint(17, (2, 64), generator=torch.Generator().manual_seed(1))
    found = []
    for again in (False, True):
        torch.manual_seed(0)
        model = LanguageModel(load_model_recipe("hgrn2", ["width=32", "layers=4", "dropout=0.1"]), 17)
        names = list(model.state_dict())
        if again:
            recompute_blocks(model)
        assert list(model.state_dict()) == names
        found.append(step(model, tokens))
    (plain, much), (recomputed, little) = found
    assert all(torch.equal(a, b) for a, b in zip(plain, recomputed, strict=True))
    assert little < much / 3
