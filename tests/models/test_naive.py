"""The mixers of the recipes against independent forms written from the papers."""

import ast
import importlib
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from eos.compose import load_model_recipe
from eos.config import EOSMixer
from eos.models.block import make_mixer
from tests.models.cases import CASES, LAYERS

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
    weights |= {own: _bare(state.pop(theirs)) for own, theirs in parameters.items()}
    assert not state, f"the naive form leaves out {sorted(state)}"

    if (mixer.heads or 1) > 1:
        arguments = {"heads": mixer.heads, **arguments}
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


def _bare(parameter: Tensor) -> Tensor:
    """Without a first or last axis of one."""
    parameter = parameter.squeeze(0)
    return parameter.squeeze(-1) if parameter.dim() > 1 else parameter


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
