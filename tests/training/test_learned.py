"""What a trained model shows of itself."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import eos
from eos import registry
from eos.compose import load_model_recipe, refuse
from eos.config import EOSMixer
from eos.models import LanguageModel
from eos.models.layout import causal_layout
from eos.record import Memory, Recurrence, Transition
from eos.tasks.task import Batch
from eos.training import learned as module
from eos.training.folder import RunFolder
from eos.training.learned import CHANNELS, mean_log_decay, mean_phase, read_learned
from eos.training.run import Recipe, train

B, T, H, K, V = 2, 35, 2, 4, 3
Describe = Callable[..., Recipe]


def below_zero(*shape: int) -> Tensor:
    return -torch.rand(*shape, dtype=torch.float64)


def any_sign(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


TRANSITIONS: dict[str, Callable[[], Transition]] = {
    "none": Transition,
    "head": lambda: Transition(head=below_zero(B, T, H)),
    "shared": lambda: Transition(head=below_zero(1, 1, H)),
    "key and value": lambda: Transition(key=below_zero(B, T, H, K), value=below_zero(B, 1, 1, V)),
    "rate": lambda: Transition(rate=below_zero(H, K, V), step=-below_zero(B, T, H, 1, V)),
    "link": lambda: Transition(
        rate=any_sign(H, K, V), step=any_sign(B, T, H, K, V), link="log_sigmoid", tau=4.0, head=below_zero(B, T, H)
    ),
}


@pytest.mark.parametrize("name", TRANSITIONS)
def test_the_mean_decay_is_what_is_left_of_a_memory_that_nothing_is_written_to(name: str) -> None:
    torch.manual_seed(1)
    transition = TRANSITIONS[name]()
    record = Recurrence(
        input=torch.zeros(B, T, H, V, dtype=torch.float64),
        expand=torch.zeros(B, T, H, K, dtype=torch.float64),
        shrink=torch.ones(B, T, H, K, dtype=torch.float64),
        transition=transition,
        memory=Memory(value=torch.ones(B, H, K, V, dtype=torch.float64)),
    )
    _, memory = eos.scan(record, algorithm="sequential")
    left = (memory.value.log() / T).mean(0)
    torch.testing.assert_close(mean_log_decay(transition).expand(H, K, V), left, rtol=1e-9, atol=1e-9)


def test_the_mean_phase_adds_those_of_angles_and_of_rates() -> None:
    transition = Transition(
        phase=torch.full((1, 1, H, K // 2), -0.5),
        phase_rate=torch.full((H, K // 2, V), 0.25),
        step=torch.full((B, T, H, 1, V), 2.0),
    )
    found = mean_phase(transition)
    assert found is not None
    torch.testing.assert_close(found, torch.full((H, K // 2, V), 1.0, dtype=torch.float64))
    assert mean_phase(Transition()) is None


@pytest.mark.parametrize("name", sorted(registry.recipes("model")))
@pytest.mark.usefixtures("small_calls")
def test_every_recipe_tells_of_each_layer_whose_memory_it_keeps(name: str) -> None:
    recipe = load_model_recipe(name, ["layers=2", "width=64"])
    assert not refuse(recipe, causal=True)
    torch.manual_seed(1)
    model = LanguageModel(recipe, 16)
    batch = Batch(inputs=torch.randint(16, (2, 32)), targets=torch.randint(16, (2, 32)))
    with torch.no_grad():
        found = list(module._memories(model, recipe, batch, "float32"))
    layout = causal_layout(recipe)
    layers = [index for index, mixer in enumerate(layout) if isinstance(recipe.mixers[mixer], EOSMixer)]
    assert [kept.layer for kept in found] == layers
    for kept in found:
        assert kept.mixer == layout[kept.layer]
        assert len({len(row) for row in kept.log_decay}) == 1
        assert len(kept.log_decay[0]) <= CHANNELS
        assert all(-88 <= value <= 0 for row in kept.log_decay for value in row)
        assert all(row == sorted(row) for row in kept.log_decay)


def test_a_run_on_text_keeps_its_decays_and_a_text(describe: Describe, tmp_path: Path) -> None:
    recipe = describe("steps=2", "sample=12", "model=hgrn2")
    train(recipe, tmp_path / "run")
    found = read_learned(RunFolder(tmp_path / "run").learned)
    assert [kept.layer for kept in found.memory] == list(range(recipe.model.layers))
    assert all(kept.learned and kept.over == "K" and not kept.erase for kept in found.memory)
    assert all(math.exp(value) < 1 for kept in found.memory for row in kept.log_decay for value in row)
    assert found.mixers["main"].equations[0].startswith("m_t = o_t ∘ m_{t-1} + ")
    assert "chunked" in found.mixers["main"].plan
    assert found.latency_ms is not None
    assert 0 < found.latency_ms < 1000
    (text,) = found.samples
    assert len(text) >= module.PROMPT


def test_no_text_is_written_where_none_is_asked_for(describe: Describe, tmp_path: Path) -> None:
    train(describe("steps=2", "sample=0"), tmp_path / "run")
    assert read_learned(RunFolder(tmp_path / "run").learned).samples == []


def test_what_is_kept_is_a_forward_pass_that_changes_nothing(describe: Describe, tmp_path: Path) -> None:
    """The same weights and metrics, whether or not a text is written."""
    first: Any = train(describe("steps=3", "sample=0"), tmp_path / "one")
    second: Any = train(describe("steps=3", "sample=20"), tmp_path / "two")
    assert first.metrics == second.metrics
