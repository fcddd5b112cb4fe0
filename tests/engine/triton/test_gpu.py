"""The kernels as compiled on a GPU: in 16 bits and float32 against float64, the same bits every time, any length."""

from typing import Any

import pytest
import torch

import eos
from eos.engine.sequential import sequential
from eos.engine.triton import algorithm_of
from eos.engine.triton.kernels.chunked_backward import chunked_backward
from eos.engine.triton.kernels.chunked_forward import chunked_forward
from eos.engine.triton.kernels.chunked_scores import chunked_scores
from eos.engine.triton.tiles import Scans, Tiles
from tests.compare import Outputs, assert_close, outcome, relative_error
from tests.engine.runners import reference, runnable
from tests.engine.triton.flags import EDGED, ERASING, EVERY, Flags, pairwise, record
from tests.engine.triton.test_edges import Operands, step_record, with_edges
from tests.engine.triton.test_edges import outcome as edges_outcome
from tests.engine.triton.test_edges import reference as edges_reference
from tests.records import CASES, build, cast
from tests.tolerances import BFLOAT16, FLOAT32_SHORT

pytestmark = pytest.mark.gpu


def on_triton(record: eos.Recurrence) -> Outputs:
    traced = record.transition.log_gate is not None
    y, memory, *trace = eos.scan(record, backend="triton", trace=traced)
    return (y if isinstance(y, tuple) else (y,)), memory, trace[0] if traced else None


def near_float64(exact: eos.Recurrence, dtype: torch.dtype, tolerance: float) -> None:
    """What the kernels make of rounded numbers, against what float64 makes of the same rounded numbers."""
    rounded = cast(exact, dtype)
    want = outcome(cast(rounded, torch.float64, memory=torch.float64), sequential, rounded=dtype)
    got = outcome(cast(rounded, dtype, device="cuda"), on_triton, rounded=dtype)
    assert_close({name: tensor.cpu() for name, tensor in got.items()}, want, tolerance)


@pytest.mark.parametrize("flags", [*EVERY, *ERASING], ids=str)
def test_flags_in_bfloat16(flags: Flags) -> None:
    near_float64(record(flags, length=129, key=33, value=18), torch.bfloat16, 2 * BFLOAT16)


@pytest.mark.parametrize("flags", [*EVERY, *ERASING], ids=str)
def test_flags_in_float32(flags: Flags) -> None:
    near_float64(record(flags, length=129, key=33, value=18), torch.float32, FLOAT32_SHORT)


@pytest.mark.parametrize(
    "name",
    [name for name in CASES if {"chunked", "elementwise", "delta"} & set(runnable(build(CASES[name], length=2)))],
)
def test_records_in_float32(name: str) -> None:
    near_float64(reference(name, 65)[0], torch.float32, FLOAT32_SHORT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("flags", pairwise(EDGED), ids=str)
def test_chunks_make_edges(flags: Flags, dtype: torch.dtype) -> None:
    sizes = {"length": 129, "key": 33, "value": 18}
    exact, terms = edges_reference(with_edges(flags, Operands(torch.float64, rounded=dtype), **sizes))
    leaf = Operands(dtype, rounded=dtype, device="cuda")
    algorithm = algorithm_of("chunked", Tiles())
    got, _ = edges_outcome(with_edges(flags, leaf, **sizes), algorithm, "chunked")
    tolerance = FLOAT32_SHORT if dtype == torch.float32 else 2 * BFLOAT16
    assert_close({name: tensor.cpu() for name, tensor in got.items()}, exact, tolerance, terms=terms)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("gated", [True, False])
def test_scans_make_a_step(gated: bool, dtype: torch.dtype) -> None:
    options: Any = {"gated": gated, "link": "identity", "reset": True}
    exact, terms = edges_reference(step_record(Operands(torch.float64, rounded=dtype), **options))
    leaf = Operands(dtype, rounded=dtype, device="cuda")
    got, _ = edges_outcome(step_record(leaf, **options), algorithm_of("elementwise", Scans()), "elementwise")
    tolerance = FLOAT32_SHORT if dtype == torch.float32 else 2 * BFLOAT16
    assert_close({name: tensor.cpu() for name, tensor in got.items()}, exact, tolerance, terms=terms)


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_one_token_of_every_record(name: str) -> None:
    narrow = cast(build(CASES[name], length=1), torch.float32, device="cuda")
    y, memory = eos.step(narrow, backend="triton")
    want, after = eos.step(narrow, backend="torch")
    got = y if isinstance(y, tuple) else (y,)
    for left, right in zip(got, want if isinstance(want, tuple) else (want,), strict=True):
        assert relative_error(left, right) <= FLOAT32_SHORT
    assert relative_error(memory.value, after.value) <= FLOAT32_SHORT


@pytest.mark.parametrize(
    "flags", [Flags(key="every", value="every"), Flags(key="one", reset=True), Flags(erase=True)], ids=str
)
def test_twenty_runs_give_the_same_bits(flags: Flags) -> None:
    made = cast(record(flags, length=500, key=64, value=64), torch.bfloat16, device="cuda")
    first = outcome(made, on_triton)
    for _ in range(20):
        again = outcome(made, on_triton)
        assert all(torch.equal(first[name], again[name]) for name in first)


def test_another_length_compiles_nothing() -> None:
    kernels = (chunked_scores, chunked_forward, chunked_backward)

    def compiled() -> int:
        return sum(len(held) for kernel in kernels for held, *_ in kernel.device_caches.values())

    lengths = torch.randperm(4097, generator=torch.Generator().manual_seed(0))[:40].add(1).tolist()
    counts = []
    for length in lengths:
        made = cast(record(Flags(key="every"), length=length, key=64, value=64), torch.bfloat16, device="cuda")
        outcome(made, on_triton)
        counts.append(compiled())
    assert counts[0] == counts[-1]
