"""What dtype everything has, and how near narrow activations stay to float64."""

from dataclasses import replace

import pytest
import torch

import eos
from eos.record import Memory, Recurrence, Transition, map_parts
from tests.compare import Outputs, assert_close, outcome, relative_error, scanned
from tests.engine.runners import RUNNERS, in_turn, runnable
from tests.records import CASES, build, cast, leaves
from tests.tolerances import BFLOAT16, FLOAT32_SHORT

LENGTH = 65


@pytest.mark.parametrize(("name", "algorithm", "sizes"), list(in_turn()))
def test_bfloat16_stays_near_float64(name: str, algorithm: str, sizes: str) -> None:
    """The reference is given the same rounded numbers."""
    run = RUNNERS[algorithm][sizes]
    record = cast(build(CASES[name], length=LENGTH), torch.bfloat16)
    ys, memory, trace = run(record)
    assert {y.dtype for y in ys} == {torch.bfloat16}
    assert memory.value.dtype == torch.float32
    assert memory.log_scale is None or memory.log_scale.dtype == torch.float32
    assert trace is None or trace.dtype == torch.float32
    got = outcome(record, run)
    for name, leaf in leaves(record).items():
        assert got[f"gradient of {name}"].dtype == leaf.dtype
    want = outcome(cast(record, torch.float64, memory=torch.float64), scanned("sequential"), rounded=torch.bfloat16)
    assert_close(got, want, BFLOAT16)


@pytest.mark.parametrize(("name", "algorithm", "sizes"), [c for c in in_turn() if c[1] != "sequential"])
def test_float32_stays_near_float64(name: str, algorithm: str, sizes: str) -> None:
    record = cast(build(CASES[name], length=LENGTH), torch.float32)
    want = outcome(cast(record, torch.float64), scanned("sequential"), rounded=torch.float32)
    assert_close(outcome(record, RUNNERS[algorithm][sizes]), want, FLOAT32_SHORT)


@pytest.mark.parametrize("name", ["key", "erase key", "rate", "log_gate max", "invariant key value", "phase key"])
def test_autocast_changes_nothing(name: str) -> None:
    """A memory in bfloat16 would lose what it holds; autocast may not reach it, forward or backward."""
    record = cast(build(CASES[name], length=LENGTH), torch.float32)
    for algorithm in ("sequential", *runnable(record)):
        want = outcome(record, scanned(algorithm))

        def under_autocast(record: Recurrence, algorithm: str = algorithm) -> Outputs:
            with torch.autocast("cpu", torch.bfloat16):
                return scanned(algorithm)(record)

        assert_close(outcome(record, under_autocast), want, 0.0)
        if algorithm not in ("sequential", "fft"):  # those leave their backward pass to autograd
            with torch.autocast("cpu", torch.bfloat16):
                assert_close(outcome(record, scanned(algorithm)), want, 0.0)


@pytest.mark.parametrize("name", ["key", "erase key", "rate", "log_gate sum key"])
def test_mixed_dtypes_take_the_wider_memory(name: str) -> None:
    """A memory in float64 beside float32 parts; float32 decays beside bfloat16 activations."""
    record = cast(build(CASES[name], length=LENGTH), torch.float32, memory=torch.float64)
    for algorithm in ("sequential", *runnable(record)):
        ys, memory, trace = scanned(algorithm)(record)
        assert ys[0].dtype == torch.float32
        assert memory.value.dtype == torch.float64
        assert trace is None or trace.dtype == torch.float64
    narrow = ("input", "expand", "shrink")
    mixed = map_parts(record, lambda part, axes, t: t.bfloat16() if part in narrow else t)
    mixed = replace(mixed, memory=None)
    for algorithm in ("sequential", *runnable(mixed)):
        ys, memory, _ = scanned(algorithm)(mixed)
        assert ys[0].dtype == torch.bfloat16
        assert memory.value.dtype == torch.float32


def test_a_scale_in_float32_joins_a_memory_in_float64() -> None:
    record = build(CASES["log_gate sum"], length=LENGTH)
    held = record.memory
    assert held is not None
    assert held.log_scale is not None
    record = replace(record, memory=Memory(value=held.value, log_scale=held.log_scale.float()))
    for algorithm in ("sequential", *runnable(record)):
        _, memory, _ = scanned(algorithm)(record)
        assert memory.log_scale is not None
        assert memory.log_scale.dtype == torch.float64


@pytest.mark.parametrize(("algorithm", "sizes"), [("elementwise", "step by step"), ("chunked", "chunks of 8")])
def test_a_shared_gradient_is_summed_in_float32(algorithm: str, sizes: str) -> None:
    """A bfloat16 decay that all steps share adds up over many windows: in bfloat16 the sum would stop growing."""
    generator = torch.Generator().manual_seed(0)
    i, e, s = (torch.rand(1, 700, 1, 4, generator=generator).bfloat16() for _ in range(3))
    head = torch.full((1, 1, 1), -0.02).bfloat16().requires_grad_()
    record = Recurrence(input=i, expand=e, shrink=s, transition=Transition(head=head))
    double = cast(record, torch.float64)
    y, _ = eos.scan(double, algorithm="sequential")
    (want,) = torch.autograd.grad(y.sum(), double.transition.head)
    (reads, _, _) = RUNNERS[algorithm][sizes](record)
    (got,) = torch.autograd.grad(reads[0].float().sum(), head)
    assert relative_error(got, want) <= 2**-8


def test_the_gradient_of_a_strong_decay_keeps_its_digits() -> None:
    """1 + (o − 1) is 3e-8 off, which of o = exp(−7) is the fifth digit."""
    generator = torch.Generator().manual_seed(0)
    i, e, s = (torch.rand(1, 20, 1, 4, generator=generator) for _ in range(3))
    rate = torch.full((1, 4, 4), -1 / 16).requires_grad_()
    step = torch.full((1, 20, 1, 1, 1), 112.0)
    record = Recurrence(input=i, expand=e, shrink=s, transition=Transition(rate=rate, step=step))
    double = cast(record, torch.float64)
    y, _ = eos.scan(double, algorithm="sequential")
    (want,) = torch.autograd.grad(y.sum(), double.transition.rate)
    y, _ = eos.scan(record, algorithm="elementwise")
    (got,) = torch.autograd.grad(y.sum(), rate)
    assert relative_error(got, want) <= FLOAT32_SHORT
