"""Of a long sequence every process holds its part: peak memory beyond the bare process and the weights."""

import pytest
import torch
import torch.distributed as dist
from torch.nn import functional as F

from eos.compose import load_model_recipe
from eos.config import Form
from eos.models import LanguageModel
from eos.parallel import SequenceGroup, over
from tests.parallel.peak import Peak
from tests.parallel.processes import together

LENGTH, VOCABULARY = 65536, 64


def peak(recipe: str, form: Form) -> int:
    """Bytes of a training step on this process's part of a row of LENGTH tokens."""
    torch.manual_seed(0)
    model = LanguageModel(load_model_recipe(recipe, ["width=64", "layers=2"]), VOCABULARY)
    group = SequenceGroup(form=form)
    tokens = torch.randint(VOCABULARY, (1, LENGTH))

    def step(length: int) -> None:
        part = tokens[:, :length].chunk(group.size, 1)[group.rank]
        with over(group):
            logits = model(part)
            F.cross_entropy(logits.flatten(0, 1), part.flatten(), reduction="sum").backward()

    # weights, their gradients, and what torch sets up once
    step(256)
    dist.barrier()
    with Peak() as held:
        step(LENGTH)
    return held.bytes


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "form"), [("gla", "ring"), ("tnl", "gather"), ("gated_deltanet", "ring")])
def test_four_processes_hold_a_quarter_each(recipe: str, form: Form) -> None:
    (alone,) = together(1, peak, recipe, form)
    shares = [each / alone for each in together(4, peak, recipe, form)]
    told = ", ".join(f"{share:.3f}" for share in shares)
    print(f"\n{recipe}, {form}: {alone / 2**20:.0f} MiB alone; in parts, of that: {told}")  # noqa: T201
    assert max(shares) <= 1.2 / 4
