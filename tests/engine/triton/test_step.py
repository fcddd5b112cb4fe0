"""The kernel of decoding, interpreted: token by token as the sequential form in float64."""

import pytest
import torch

import eos
from eos.engine.sequential import sequential
from eos.errors import PlanError
from eos.record import Memory, Recurrence
from tests.compare import relative_error
from tests.records import CASES, build, cast, cut
from tests.tolerances import BFLOAT16, FLOAT32_SHORT

LENGTH = 4


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_tokens_one_by_one_equal_the_sequential_form(name: str) -> None:
    """Reads of every token, and the memory and normaliser after the last."""
    exact = build(CASES[name], length=LENGTH)
    want, last, _ = sequential(exact)
    narrow = cast(exact, torch.float32)
    memory = narrow.memory
    found = []
    for t in range(LENGTH):
        ys, memory = eos.step(cut(narrow, t, t + 1, memory), backend="triton")
        found.append(ys if isinstance(ys, tuple) else (ys,))
    for ys, right in zip(zip(*found, strict=True), want, strict=True):
        _close(torch.cat(ys, 1), right)
    assert memory is not None
    _close(memory.value, last.value)
    if last.log_scale is not None:
        assert memory.log_scale is not None
        _close(memory.log_scale, last.log_scale)


@torch.no_grad()
def test_several_tiles_of_values() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(2, 1, 3, size, generator=generator) for size in (300, 40, 300)]
    record = Recurrence(
        expand=drawn[0],
        input=drawn[1],
        shrink=drawn[2],
        transition=eos.Transition(key=-torch.rand(2, 1, 3, 300, generator=generator)),
        memory=Memory(value=torch.randn(2, 3, 300, 40, generator=generator)),
    )
    (y, memory), (want, after) = (eos.step(record, backend=backend) for backend in ("triton", "torch"))
    _close(y, want)
    _close(memory.value, after.value)


@pytest.mark.parametrize("name", ["gate key", "phase key", "erase head", "log_gate max"])
@torch.no_grad()
def test_narrow_activations_are_widened_before_they_are_gated_or_turned(name: str) -> None:
    """The memory keeps float32's digits, whatever the activations have."""
    record = cast(build(CASES[name], length=1), torch.bfloat16)
    (y, memory), (want, after) = (eos.step(record, backend=backend) for backend in ("triton", "torch"))
    for left, right in zip(*(ys if isinstance(ys, tuple) else (ys,) for ys in (y, want)), strict=True):
        assert left.dtype == torch.bfloat16
        assert relative_error(left, right) <= BFLOAT16
    _close(memory.value, after.value)


@torch.no_grad()
def test_reads_that_share_their_values() -> None:
    """Of one read per channel, of one whose axis V has one entry, and of both."""
    generator = torch.Generator().manual_seed(0)
    wide, narrow, plain = (torch.randn(1, 1, 2, 3, *more, generator=generator) for more in ((7,), (1,), ()))
    for reads in ((wide, narrow), (plain, narrow), (narrow, narrow)):
        record = Recurrence(
            expand=plain, input=torch.randn(1, 1, 2, 7, generator=generator), shrink=reads, transition=eos.Transition()
        )
        (ys, _), (want, _) = (eos.step(record, backend=backend) for backend in ("triton", "torch"))
        for left, right in zip(ys, want, strict=True):
            _close(left, right)


def test_what_the_kernel_cannot_run_is_refused_with_the_reason() -> None:
    record = cast(build(CASES["key"], length=1), torch.float32)
    with pytest.raises(PlanError, match="has no gradient"):
        eos.step(record, backend="triton")
    with torch.no_grad(), pytest.raises(PlanError, match="float32 memory"):
        eos.step(build(CASES["key"], length=1), backend="triton")
    with pytest.raises(PlanError, match="unknown backend"):
        eos.step(record, backend="tritn")


def _close(got: torch.Tensor, want: torch.Tensor) -> None:
    assert relative_error(got, want) <= FLOAT32_SHORT
