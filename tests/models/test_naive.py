"""The mixers of the recipes against independent forms written from the papers."""

import ast
import importlib
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from eos import registry
from eos.compose import load_model_recipe
from eos.config import EOSMixer
from eos.models.block import make_mixer
from tests.models.base_cases import LAYERS
from tests.models.cases import CASES

NAIVE = Path(__file__).resolve().parent.parent / "naive"
WIDTH, LENGTH = 32, 21
# float64 and two orders of summation
TOLERANCE, GRADIENT_TOLERANCE = 1e-10, 1e-8


@pytest.mark.parametrize("case", CASES)
def test_mixer_equals_naive_form(case: str) -> None:
    """The output, and the gradients of x and of every parameter."""
    torch.manual_seed(0)
    module, name, arguments, parameters = CASES[case]
    recipe, *overrides = (word for word in case.split() if word != "first")
    loaded = load_model_recipe(recipe, [f"width={WIDTH}", f"layers={LAYERS}", *overrides])
    mixer = loaded.mixers[name]
    layer = make_mixer(loaded, name, layer=arguments.get("layer", 0)).double()
    for parameter in layer.parameters():  # no weight stays at a value that hides it
        parameter.data += 0.1 * torch.randn_like(parameter)
    state = dict(layer.named_parameters())
    weights = {"output": state.pop("readout.output.weight" if isinstance(mixer, EOSMixer) else "output.weight")}
    weights |= {own: state.pop(theirs).squeeze() for own, theirs in parameters.items()}
    assert not state, f"the naive form leaves out {sorted(state)}"

    if (heads := getattr(mixer, "heads", None) or 1) > 1:
        arguments = {"heads": heads, **arguments}
    file, _, function = module.partition(".")
    naive = getattr(importlib.import_module(f"tests.naive.{file}"), function or file)
    x = torch.randn(2, LENGTH, WIDTH, dtype=torch.float64, requires_grad=True)
    wanted = torch.stack([naive(row, weights, **arguments) for row in x])
    got = layer(x)
    torch.testing.assert_close(got, wanted, atol=TOLERANCE, rtol=TOLERANCE)

    leaves = {"x": x, **dict(layer.named_parameters())}
    weight = torch.randn(got.shape, dtype=torch.float64)
    gradients, expected = (torch.autograd.grad((weight * y).sum(), [*leaves.values()]) for y in (got, wanted))
    for leaf, gradient, right in zip(leaves, gradients, expected, strict=True):
        torch.testing.assert_close(
            gradient, right, atol=GRADIENT_TOLERANCE, rtol=GRADIENT_TOLERANCE, msg=lambda m, leaf=leaf: f"{leaf}: {m}"
        )


@pytest.mark.one_in(3)
@pytest.mark.parametrize("recipe", sorted(registry.recipes("model")))
def test_gradients_are_those_of_finite_differences(recipe: str) -> None:
    """Of x and of every parameter, in a random direction."""
    torch.manual_seed(0)
    loaded = load_model_recipe(recipe, [f"width={WIDTH}", f"layers={LAYERS}"])
    for name in loaded.mixers:
        layer = make_mixer(loaded, name, layer=1).double()
        names = [name for name, _ in layer.named_parameters()]
        leaves = [p.detach().clone().requires_grad_() for p in layer.parameters()]
        x = torch.randn(1, 5, WIDTH, dtype=torch.float64, requires_grad=True)

        def run(x: Tensor, *leaves: Tensor, layer: nn.Module = layer, names: list[str] = names) -> Tensor:
            return functional_call(layer, dict(zip(names, leaves, strict=True)), (x,))

        assert torch.autograd.gradcheck(run, (x, *leaves), fast_mode=True)


@pytest.mark.parametrize("path", sorted(NAIVE.glob("*.py")), ids=lambda path: path.stem)
def test_naive_forms_import_torch_alone(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "."]
        for name in names:
            own = name.startswith("tests.naive.")
            assert own or name.split(".")[0] in {"torch", *sys.stdlib_module_names}, name
