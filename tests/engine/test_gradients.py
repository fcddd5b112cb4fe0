"""Gradients against finite differences, at sizes where those are cheap."""

import pytest
import torch
from torch import Tensor

from eos.record import Recurrence
from tests.compare import scanned
from tests.engine.runners import RUNNERS
from tests.records import CASES, build, leaves

CHECKED = {
    "sequential": [
        "head key value",
        "erase phase key",
        "log_gate sum key",
        "log_gate gate",
        "rate phase_rate",
        "substeps",
    ],
    "chunked": ["head key value", "mild key value before", "phase key", "log_gate sum phase"],
    "delta": ["erase key", "erase substeps", "mild erase before"],
    "elementwise": ["rate over k", "phase over value key", "gate both", "groups per channel"],
    "fft": ["invariant before", "invariant rate"],
}


@pytest.mark.parametrize(("algorithm", "name"), [(a, name) for a, names in CHECKED.items() for name in names])
def test_gradients_equal_finite_differences(algorithm: str, name: str) -> None:
    record = build(CASES[name], length=5)
    runners = list(RUNNERS[algorithm].values())
    runner = runners[min(1, len(runners) - 1)]
    wanted = leaves(record)

    def outputs(*_: Tensor) -> tuple[Tensor, ...]:
        ys, memory, trace = runner(record)
        return tuple(tensor for tensor in (*ys, memory.value, memory.log_scale, trace) if tensor is not None)

    assert torch.autograd.gradcheck(outputs, tuple(wanted.values()), fast_mode=True)


def test_a_second_derivative_is_refused() -> None:
    """The adjoint is hand-written once; asking for more raises instead of giving a wrong number."""
    record: Recurrence = build(CASES["key"], length=5)
    ys, _, _ = scanned("chunked")(record)
    (grad,) = torch.autograd.grad(ys[0].square().sum(), record.expand, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()
