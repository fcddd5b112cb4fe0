"""A scan as an operator of torch: the same numbers, one node under torch.compile, clear refusals."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import eos
from eos import registry
from eos.engine.operator import flattened, scan_as_operator
from eos.engine.plan import plan_structure
from eos.errors import RecordError
from eos.record import Recurrence, Transition
from tests.compare import leaves
from tests.engine.runners import runnable
from tests.records import CASES, build

pytestmark = pytest.mark.usefixtures("untyped")
#: The module, whose name eos.engine has for its function.
planning = import_module("eos.engine.plan")
#: Records whose operators torch itself checks: a plain one, several reads, a normaliser, an erase, an impulse response.
CHECKED = ("key", "three reads", "log_gate max", "erase reads groups", "invariant key value")


@pytest.fixture
def short_windows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Windows of eight steps."""
    plan_structure.cache_clear()
    monkeypatch.setattr(planning, "window", lambda *_: 8)
    yield
    plan_structure.cache_clear()


@pytest.mark.parametrize("name", CASES)
def test_the_operator_gives_the_same_numbers(name: str, short_windows: None) -> None:
    """Outputs and gradients bit for bit, over several windows, by every algorithm."""
    record = build(CASES[name], length=21)
    trace = record.transition.log_gate is not None
    for algorithm in runnable(record):
        direct = (*eos.scan(record, algorithm=algorithm, trace=trace), None)
        ys = direct[0] if isinstance(record.shrink, tuple) else direct[:1]
        want = (ys, *direct[1:3])
        got = scan_as_operator(record, backend="auto", algorithm=algorithm, trace=trace)
        compared = [_gradients(record, *outputs) for outputs in (want, got)]
        for left, right in zip(*compared, strict=True):
            torch.testing.assert_close(right, left, rtol=0, atol=0)


@pytest.mark.parametrize("algorithm", ["chunked", "sequential"])
def test_gradients_that_are_one_tensor_are_handed_out_apart(algorithm: str) -> None:
    """Of a sum of two decays autograd gives both the same."""
    drawn = [torch.randn(2, 5, 3, 4).requires_grad_() for _ in range(3)]
    decays = [(-torch.rand(2, 5, 3, *more)).requires_grad_() for more in ((), (1,))]
    transition = Transition(head=decays[0], key=decays[1])
    record = Recurrence(input=drawn[0], expand=drawn[1], shrink=drawn[2], transition=transition)
    (y,), _, _ = scan_as_operator(record, backend="auto", algorithm=algorithm, trace=False)
    head, key = torch.autograd.grad(y.square().sum(), decays)
    torch.testing.assert_close(head, key[..., 0], rtol=0, atol=0)
    assert head.untyped_storage().data_ptr() != key.untyped_storage().data_ptr()


def test_a_term_alone_in_a_tuple_is_taken() -> None:
    record = build(CASES["rate"], length=3)
    rate, step = record.transition.rate, record.transition.step
    assert isinstance(rate, Tensor)
    held = replace(record, transition=Transition(rate=(rate,), step=step))
    (y,), _, _ = scan_as_operator(held, backend="auto", algorithm="auto", trace=False)
    torch.testing.assert_close(y, eos.scan(held)[0], rtol=0, atol=0)


@pytest.mark.parametrize("name", CHECKED)
def test_torch_accepts_the_operator(name: str) -> None:
    """Its schema, fake outputs, autograd and tracing with shapes that are symbols."""
    record = build(CASES[name], length=9)
    trace = record.transition.log_gate is not None
    torch.library.opcheck(torch.ops.eos.scan.default, (*flattened(record), "auto", "auto", trace))


@pytest.mark.parametrize("mode", ["plain", "autocast"])
def test_a_compiled_model_is_one_graph_and_the_same(mode: str) -> None:
    """At several lengths: compiled for the first, and then once for all up to the same power of two."""
    done = _compiled("gla", mode, 9, 20, 30, 300) if mode == "plain" else _compiled("gla", mode, 9)
    assert done["graphs"] == (3 if mode == "plain" else 1)
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
