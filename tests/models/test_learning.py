"""Every model recipe learns: it overfits one batch of real text, and bfloat16 training stays finite."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from eos import registry
from eos.compose import build

RECIPES = sorted(registry.recipes("model"))
SIZES = ("layers=2", "width=64")
ROWS, LENGTH = 2, 64
#: Steps to learn 128 bytes by heart, steps that must stay finite, and the learning rate that recipes default to.
ENOUGH, STEPS, RATE = 400, 200, 2e-3

pytestmark = pytest.mark.slow


def text() -> Tensor:
    """The first bytes of this file, in rows."""
    read = Path(__file__).read_bytes()[: ROWS * (LENGTH + 1)]
    return torch.tensor(list(read)).view(ROWS, LENGTH + 1)


def losses(recipe: str, *, steps: int, bfloat16: bool, until: float = 0.0) -> list[float]:
    """The loss of every step of AdamW on the one batch, until it is low enough."""
    torch.manual_seed(0)
    model = build(recipe, SIZES, vocabulary=256)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    batch, found = text(), [float("inf")]
    while found[-1] >= until and len(found) <= steps:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = model(batch[:, :-1])
        loss = cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        found.append(loss.item())
    return found[1:]


@pytest.mark.parametrize("recipe", RECIPES)
def test_one_batch_is_learned_by_heart(recipe: str) -> None:
    assert min(losses(recipe, steps=ENOUGH, bfloat16=False, until=0.1)) < 0.1


@pytest.mark.parametrize("recipe", RECIPES)
def test_bfloat16_training_stays_finite(recipe: str) -> None:
    found = torch.tensor(losses(recipe, steps=STEPS, bfloat16=True))
    assert found.isfinite().all()
    assert found[-1] < found[0]
