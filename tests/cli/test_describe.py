"""A description: the row of i, e, o, s and ψ, sizes that are those of the built model, and the engine's plan."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from eos import registry
from eos.compose import build, load_model_recipe
from eos.compose.cost import ModelCost, cost_of
from eos.compose.equation import memory_equation, reach, read_equation
from eos.record import Recurrence, Transition

Run = Callable[..., Any]

B, T, H, K, V = 2, 3, 4, 6, 5


def record(*, expand: torch.Tensor | None = None, read: Any = "after", **parts: Any) -> Recurrence:
    return Recurrence(
        input=torch.ones(B, T, H, V),
        expand=torch.ones(B, T, H, K) if expand is None else expand,
        shrink=torch.ones(B, T, H, K),
        transition=Transition(**parts),
        read=read,
    )


@pytest.mark.parametrize(
    ("parts", "equation", "reached"),
    [
        ({}, "m_t = m_{t-1} + e_t i_tᵀ", ""),
        ({"head": torch.zeros(1, 1, H)}, "m_t = o ∘ m_{t-1} + e_t i_tᵀ", "o one a head"),
        ({"head": torch.zeros(B, T, H)}, "m_t = o_t ∘ m_{t-1} + e_t i_tᵀ", "o_t one a head"),
        (
            {"key": torch.zeros(B, T, H, K), "value": torch.zeros(B, T, H, V), "gate": torch.ones(B, T, H, K, 1)},
            "m_t = o_t ∘ m_{t-1} + (g_t ∘ e_t) i_tᵀ",
            "o_t over K × V, g_t over K",
        ),
        (
            {"rate": torch.zeros(H, K, V), "step": torch.ones(B, T, H, 1, V)},
            "m_t = o_t ∘ m_{t-1} + e_t i_tᵀ",
            "o_t over K × V",
        ),
        (
            {"phase": torch.ones(1, 1, H, K // 2), "key": torch.zeros(B, T, H, K // 2)},
            "m_t = o_t ∘ R(φ) m_{t-1} + e_t i_tᵀ",
            "o_t over K, φ over K/2",
        ),
        (
            {"erase": (torch.ones(B, T, H, K), torch.ones(B, T, H, K))},
            "m_t = m_{t-1} + a_t (b_tᵀ m_{t-1}) + e_t i_tᵀ",
            "",
        ),
    ],
)
def test_a_record_is_told_in_its_notation(parts: dict[str, Any], equation: str, reached: str) -> None:
    assert memory_equation(record(**parts)) == equation
    assert reach(record(**parts)) == reached


def test_a_constant_expand_and_an_early_read_are_told() -> None:
    constant = record(expand=torch.ones(1, 1, H, K), read="before")
    assert memory_equation(constant) == "m_t = m_{t-1} + e i_tᵀ"
    assert read_equation(constant) == "y_t = m_{t-1}ᵀ s_t"


@pytest.mark.parametrize("name", registry.recipes("model"))
def test_sizes_are_those_of_the_model_when_built(name: str) -> None:
    recipe = load_model_recipe(name, ["layers=2", "width=64"])
    model = build(recipe, vocabulary=11)
    cost = cost_of(recipe, vocabulary=11, length=9)
    cache = model.cache(1)
    with torch.no_grad():
        model(torch.zeros(1, 9, dtype=torch.long), cache=cache)
        assert cost.memory == cache.bytes
        model(torch.zeros(1, 1, dtype=torch.long), cache=cache)
        assert cost.memory + cost.growth == cache.bytes
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_only_what_looks_back_without_an_end_grows() -> None:
    names = registry.recipes("model")
    growing = {name for name in names if cost_of(load_model_recipe(name), length=200).growth}
    assert growing == {"llama", "tnn", "hyena"}
    assert not cost_of(load_model_recipe("tnn", ["lags=64"]), length=200).growth


def test_costs_of_a_step_do_not_depend_on_the_length_but_for_softmax() -> None:
    def costs(name: str) -> tuple[ModelCost, ModelCost]:
        recipe = load_model_recipe(name)
        return cost_of(recipe, length=512), cost_of(recipe, length=4096)

    short, long = costs("hgrn2")
    assert short.decoding == long.decoding
    assert short.training.flops == pytest.approx(long.training.flops)
    short, long = costs("llama")
    assert long.decoding.flops - short.decoding.flops == 6 * 4 * 256 * (4096 - 512)
    assert long.training.flops - short.training.flops == pytest.approx(3 * 6 * 4 * 256 * (4096 - 512) / 2)


def test_weights_cost_two_operations_each() -> None:
    recipe = load_model_recipe("llama", ["layers=1", "tied=false"])
    cost = cost_of(recipe, vocabulary=1000, length=1)
    without_attention = 2 * (cost.parameters - 1000 * recipe.width)
    assert cost.decoding.flops == without_attention + 4 * recipe.width


def test_the_description_shows_the_row_the_sizes_and_the_plan(eos: Run) -> None:
    shown = eos("describe", "model=hgrn2", "expand=elu", "--length", "1024", "--vocabulary", "300").out
    cost = cost_of(load_model_recipe("hgrn2", ["expand=elu"]), vocabulary=300, length=1024)
    plan = cost.mixers["main"].plan
    for said in (
        "e_t = 1 + elu(W x_t)   elu",
        registry.stage("oscillation", "key_gate").equation,
        "key_gate lower_bound=true gate=complement",
        "m_t = o_t ∘ m_{t-1} + (g_t ∘ e_t) i_tᵀ   o_t over K, g_t over K",
        "H = 4, K = 64, V = 64",
        "output.per_head=false",
        f"{cost.parameters:,}",
        "384 KiB a sequence of 1,024 tokens, and no more however long it gets",
        str(plan),
    ):
        assert said in shown, said


def test_the_description_tells_mixers_apart(eos: Run) -> None:
    shown = eos("describe", "model=hybrid").out
    assert "main, in 3 of 6 layers: 0, 2, 4" in shown
    assert "local, in 3 of 6 layers: 1, 3, 5" in shown
    assert "keys and values of the last 128 tokens" in shown
    assert shown.count("plan of") == 1


@pytest.mark.parametrize("name", registry.recipes("model"))
def test_every_model_can_be_described(eos: Run, name: str) -> None:
    shown = eos("describe", f"model={name}", "--length", "64")
    assert shown.status == 0, shown.err
