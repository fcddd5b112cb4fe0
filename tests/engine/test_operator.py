"""A scan as an operator of torch: the same numbers, one node under torch.compile, clear refusals."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import eos
from eos import registry
from eos.engine.operator import operands, scan_as_operator
from eos.errors import RecordError
from eos.record import Recurrence
from tests.compare import leaves
from tests.records import CASES, build

pytestmark = pytest.mark.usefixtures("untyped")
#: Records whose operators torch itself checks: a plain one, several reads, a normaliser, an erase, an impulse response.
CHECKED = ("key", "three reads", "log_gate max", "erase reads groups", "invariant key value")


@pytest.mark.parametrize("name", CASES)
def test_the_operator_gives_the_same_numbers(name: str) -> None:
    """Outputs and gradients bit for bit, over several windows."""
    record = build(CASES[name], length=300)
    trace = record.transition.log_gate is not None
    direct = eos.scan(record, trace=True) if trace else (*eos.scan(record), None)
    ys = direct[0] if isinstance(record.shrink, tuple) else direct[:1]
    want = (ys, *direct[1:])
    got = scan_as_operator(record, backend="auto", algorithm="auto", trace=trace)
    compared = [_gradients(record, *outputs) for outputs in (want, got)]
    for left, right in zip(*compared, strict=True):
        torch.testing.assert_close(right, left, rtol=0, atol=0)


@pytest.mark.parametrize("name", CHECKED)
def test_torch_accepts_the_operator(name: str) -> None:
    """Its schema, fake outputs, autograd and tracing with shapes that are symbols."""
    record = build(CASES[name], length=9)
    trace = record.transition.log_gate is not None
    torch.library.opcheck(torch.ops.eos.scan.default, (*operands(record), "auto", "auto", trace))


@pytest.mark.parametrize("mode", ["plain", "autocast"])
def test_a_compiled_model_is_one_graph_and_the_same(mode: str) -> None:
    """At several lengths: compiled once for the first, and once for all others."""
    done = _compiled("gla", mode, 9, 20, 300) if mode == "plain" else _compiled("gla", mode, 9)
    assert done["graphs"] == (2 if mode == "plain" else 1)
    assert done["logits"] == done["gradients"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(registry.recipes("model")))
def test_every_recipe_compiles_to_one_graph(name: str) -> None:
    done = _compiled(name, "plain", 33)
    assert done["graphs"] == 1
    assert done["logits"] < 1e-5
    assert done["gradients"] < 1e-4


@pytest.mark.parametrize("compiled", [False, True])
def test_vmap_is_refused_with_what_to_do(*, compiled: bool) -> None:
    record = build(CASES["key"], length=20)

    def run(expand: Tensor) -> Tensor:
        held = Recurrence(
            input=record.input, expand=expand, shrink=record.shrink, transition=record.transition, memory=record.memory
        )
        if compiled:
            return scan_as_operator(held, backend="auto", algorithm="chunked", trace=False)[0][0]
        return eos.scan(held, algorithm="chunked")[0]

    with pytest.raises(RecordError, match="put what is mapped over on the axis B"):
        torch.func.vmap(run)(record.expand.detach().expand(3, *record.expand.shape))


def test_a_second_derivative_of_the_operator_is_refused() -> None:
    record = build(CASES["key"], length=5)
    ys, _, _ = scan_as_operator(record, backend="auto", algorithm="auto", trace=False)
    (gradient,) = torch.autograd.grad(ys[0].square().sum(), record.expand, create_graph=True)
    with pytest.raises(RecordError, match="differentiated once"):
        gradient.sum().backward()


def _gradients(record: Recurrence, ys: tuple[Tensor, ...], memory: Any, trace: Tensor | None) -> list[Tensor]:
    outputs = [x for x in (*ys, memory.value, memory.log_scale, trace) if x is not None]
    weights = [torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x) for x in outputs]
    loss = torch.stack([(x * w).sum() for x, w in zip(outputs, weights, strict=True)]).sum()
    wanted = list(leaves(record).values())
    return [*outputs, *torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)]


def _compiled(name: str, mode: str, *lengths: int) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).parent / "compiled.py"), name, mode, *map(str, lengths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
