"""The Triton backend as a plan and a user see it."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from triton import knobs

import eos
from eos.engine.plan import plan_structure
from eos.engine.structure import structure_of
from eos.errors import PlanError
from tests.compare import Outputs, assert_close, outcome
from tests.engine.runners import reference, runnable
from tests.engine.triton.flags import Flags, record
from tests.records import CASES, build, cast
from tests.tolerances import FLOAT32_SHORT

KERNELS = Path(eos.__file__).parent / "engine/triton/kernels"
ENTRIES = {
    "chunked_scores",
    "chunked_forward",
    "chunked_backward",
    "delta_solve",
    "elementwise_forward",
    "elementwise_backward",
    "step_forward",
}


def on_triton(record: eos.Recurrence) -> Outputs:
    y, memory = eos.scan(record, backend="triton")
    return (y if isinstance(y, tuple) else (y,)), memory, None


def test_what_a_host_can_launch_is_a_forward_and_a_backward_an_algorithm() -> None:
    """Apart from the launches before a pass over chunks, and the step of decoding, which goes forward alone."""
    launched = set()
    for path in KERNELS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and "kernel" in map(ast.unparse, node.decorator_list):
                launched.add(node.name)
    assert launched == ENTRIES


@pytest.mark.parametrize("name", ["head", "rate"])
def test_a_scan_asked_for_runs(name: str) -> None:
    exact, want = reference(name, 3)
    narrow = cast(exact, torch.float32)
    assert eos.plan(narrow, backend="triton").backend == "triton"
    assert_close(outcome(narrow, on_triton, rounded=torch.float32), want, FLOAT32_SHORT)


def test_without_a_gpu_it_says_so_and_what_would_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knobs.runtime, "interpret", False)
    asked = structure_of(cast(build(CASES["head"], length=7), torch.float32))
    with pytest.raises(PlanError, match="is on cpu and the kernels run on a GPU; backend='torch' runs it here"):
        plan_structure(asked, backend="triton")
    assert plan_structure(asked).backend == "torch"


@pytest.mark.parametrize("name", CASES)
def test_on_a_gpu_a_plan_takes_the_kernels_where_there_are_some(name: str) -> None:
    exact = build(CASES[name], length=2)
    structure = replace(structure_of(cast(exact, torch.float32)), device="cuda", length=4096)
    plan = plan_structure(structure)
    served = {"chunked", "elementwise", "delta"} & set(runnable(exact))
    assert plan.backend == ("triton" if served and plan.algorithm != "fft" else "torch"), str(plan)


@pytest.mark.parametrize(
    ("erase", "batch", "length", "heads", "count"),
    [
        (False, 1, 16384, 16, 4),
        (False, 2, 16384, 16, 2),
        (False, 8, 8192, 16, 1),
        (False, 1, 256, 16, 1),
        (True, 1, 32768, 4, 4),
        (True, 1, 32768, 16, 1),
    ],
)
def test_time_is_cut_where_heads_do_not_fill_a_gpu(
    erase: bool, batch: int, length: int, heads: int, count: int
) -> None:
    """16 heads of K = V = 128 are 64 programs a row of the batch; with an erase two sweeps more cost as much."""
    narrow = cast(record(Flags(key="one", erase=erase), length=2, key=128, value=128), torch.bfloat16)
    structure = replace(structure_of(narrow), device="cuda", batch=batch, length=length, heads=heads)
    plan = plan_structure(structure)
    assert plan.segments == count, str(plan)
    assert (f"{count} segments at once" in str(plan)) == (count > 1)


def test_what_is_too_wide_for_a_tile_is_refused_or_planned_otherwise() -> None:
    wide = cast(record(Flags(key="one"), length=2, key=300, value=3), torch.float32)
    with pytest.raises(PlanError, match="a tile holds at most 256 entries of K or V, got K = 300"):
        eos.plan(wide, backend="triton", algorithm="chunked")
    plan = eos.plan(wide, backend="triton")
    assert plan.algorithm == "elementwise"
    assert "300" in dict(plan.reasons)["chunked"]


def test_float64_is_refused() -> None:
    with pytest.raises(PlanError, match="the kernels keep a float32 memory"):
        eos.plan(build(CASES["head"], length=3), backend="triton")


def test_a_second_derivative_is_refused() -> None:
    narrow = cast(record(Flags(), length=2, key=2, value=2), torch.float32)
    (y,), _, _ = on_triton(narrow)
    (gradient,) = torch.autograd.grad(y.square().sum(), narrow.expand, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_strided_tensors_give_the_same() -> None:
    """Views of one projection, with features two apart and time within heads."""
    plain = cast(record(Flags(key="every"), length=9, key=4, value=4), torch.float32)
    stored = torch.stack([plain.expand.detach(), plain.input.detach()], -1).movedim(1, 2).contiguous().movedim(2, 1)
    strided = replace(plain, expand=stored[..., 0], input=stored[..., 1])
    for got, want in zip(on_triton(strided)[0], on_triton(plain)[0], strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)
