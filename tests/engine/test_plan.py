"""Plans: from structure alone, with a reason for everything, cached, and never changed in silence."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import eos
from eos.engine import planned
from eos.engine.chunked import Chunked
from eos.engine.delta import Delta
from eos.engine.elementwise import Elementwise
from eos.errors import PlanError
from eos.record import Convolution, Memory, Recurrence, Transition, map_parts
from tests.engine.runners import ALGORITHMS, runnable
from tests.records import CASES, Case, build

EVERY = ("sequential", *ALGORITHMS)


def z(*shape: int) -> Tensor:
    return torch.zeros(*shape)


def sized(transition: Transition, *, length: int = 2048, key: int = 64, value: int = 64) -> Recurrence:
    """B=2 H=4, in float32, with values that take no memory."""
    i, e, s = (z(1, 1, 1, 1).expand(2, length, 4, size) for size in (value, key, key))
    return Recurrence(input=i, expand=e, shrink=s, transition=transition)


CONVOLUTION = Convolution(input=z(2, 64, 4, 8), response=z(4, 8, 64))


def serving(case: Case) -> set[str]:
    """The algorithms of design section 3 that serve a case: by its decays, writes and reads."""
    invariant = {"e", "s"} <= set(case.shared) and not case.memory
    if "erase" in case.parts:
        return {"delta", "fft"} if invariant else {"delta"}
    over_both = case.per_channel or any(
        part.startswith("rate") or part in ("phase_rate", "phase_over_value", "gate_both") for part in case.parts
    )
    return {"elementwise"} | (set() if over_both else {"chunked"}) | ({"fft"} if invariant else set())


@pytest.mark.parametrize("name", CASES)
def test_a_plan_refuses_exactly_what_cannot_serve(name: str) -> None:
    record = build(CASES[name], length=64)
    assert set(runnable(record)) == serving(CASES[name])
    assert eos.plan(record, algorithm="sequential").algorithm == "sequential"


@pytest.mark.parametrize("name", CASES)
def test_a_plan_gives_every_choice_a_reason(name: str) -> None:
    chosen = eos.plan(build(CASES[name], length=64))
    reasons = dict(chosen.reasons)
    assert set(reasons) == {*EVERY, "torch", "triton"}
    assert all(reason.strip() for reason in reasons.values())
    printed = str(chosen)
    assert printed.startswith(f"{chosen.algorithm} on torch")
    for name, reason in chosen.reasons:
        assert f"{name} " in printed
        assert reason in printed


@pytest.mark.parametrize(
    ("record", "algorithm"),
    [
        (sized(Transition()), "chunked"),
        (sized(Transition(head=z(2, 2048, 4))), "chunked"),
        (sized(Transition(head=z(1, 1, 4))), "chunked"),
        (sized(Transition(key=z(2, 2048, 4, 64))), "chunked"),
        (sized(Transition(value=z(2, 2048, 4, 64))), "chunked"),
        (sized(Transition(key=z(2, 2048, 4, 64), value=z(2, 2048, 4, 64))), "chunked"),
        (sized(Transition(key=z(2, 2048, 4, 32), phase=z(1, 1, 4, 32))), "chunked"),
        (sized(Transition(log_gate=z(2, 2048, 4, 64), stabilise="sum")), "chunked"),
        (sized(Transition(head=z(2, 2048, 4), erase=(z(2, 2048, 4, 64), z(2, 2048, 4, 64)))), "delta"),
        (sized(Transition(rate=z(4, 16, 256), step=z(2, 2048, 4, 1, 256)), key=16, value=256), "elementwise"),
        (sized(Transition(phase=z(2, 2048, 4, 8, 64)), key=16), "elementwise"),
        (sized(Transition(gate=z(2, 2048, 4, 16, 64)), key=16), "elementwise"),
        (sized(Transition(head=z(2, 1, 4)), length=1), "sequential"),
        (CONVOLUTION, "fft"),
    ],
)
def test_the_chosen_algorithm(record: Recurrence | Convolution, algorithm: str) -> None:
    assert eos.plan(record).algorithm == algorithm


@pytest.mark.parametrize(
    ("name", "algorithm", "why"),
    [
        ("erase", "chunked", "an erase writes what it reads"),
        ("erase", "elementwise", "an erase mixes the rows of the memory"),
        ("erase", "fft", "varies over batch or time"),
        ("head", "delta", "there is no erase"),
        ("rate", "chunked", "rate × step decays every entry of K × V by itself"),
        ("phase over value", "chunked", "a phase over V makes e and s per channel"),
        ("gate both", "chunked", "a gate over K and V makes e per channel"),
        ("expand per channel", "chunked", "expand is per channel"),
        ("constant key", "fft", "varies over batch or time"),
        ("log_gate sum", "fft", "log_gate"),
    ],
)
def test_an_algorithm_that_cannot_run_says_why(name: str, algorithm: str, why: str) -> None:
    record = build(CASES[name], length=17)
    for ask in (eos.plan, eos.scan):
        with pytest.raises(PlanError, match=f"algorithm '{algorithm}' cannot run this record: .*") as refusal:
            ask(record, algorithm=algorithm)
        assert why in str(refusal.value)
    assert why in dict(eos.plan(record).reasons)[algorithm]


@pytest.mark.parametrize("given", ["memory", "reset", "substeps"])
def test_a_convolution_has_neither_memory_nor_documents(given: str) -> None:
    record = replace(build(CASES["invariant head"], length=16), shrink=z(1, 1, 3, 5), expand=z(1, 1, 3, 5))
    if given == "memory":
        record = replace(record, memory=Memory(value=z(1, 1, 1, 1)))
    elif given == "reset":
        record = replace(record, reset=torch.zeros(1, 1, dtype=torch.bool))
    else:
        record = replace(record, substeps=2)
    assert "fft" not in runnable(record)
    with pytest.raises(PlanError, match="cannot run this record"):
        eos.scan(record, algorithm="fft")


def test_a_convolution_runs_by_fft_alone() -> None:
    for algorithm in set(EVERY) - {"fft"}:
        with pytest.raises(PlanError, match=f"'{algorithm}' cannot run this record"):
            eos.scan(CONVOLUTION, algorithm=algorithm)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    record = build(CASES["head"], length=3)
    with pytest.raises(PlanError, match=r"unknown algorithm 'chunk'.*'chunked'"):
        eos.scan(record, algorithm="chunk")
    with pytest.raises(PlanError, match=r"unknown backend 'tritn'.*'triton'"):
        eos.plan(record, backend="tritn")


@pytest.mark.parametrize("name", ["head", "erase", "rate"])
def test_a_backend_that_cannot_run_raises(name: str) -> None:
    record = build(CASES[name], length=3)
    for ask in (eos.plan, eos.scan):
        with pytest.raises(PlanError, match="backend 'triton' cannot run this record: "):
            ask(record, backend="triton")
    assert eos.plan(record, backend="torch").backend == "torch"


@pytest.mark.parametrize("name", ["head", "erase", "rate", "invariant head"])
def test_what_was_asked_for_is_what_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def watched(label: str, run: Callable[..., object]) -> Callable[..., object]:
        def record_it(*arguments: object) -> object:
            ran.append(label)
            return run(*arguments)

        return record_it

    for label, algorithm in (("chunked", Chunked), ("delta", Delta), ("elementwise", Elementwise)):
        monkeypatch.setattr(algorithm, "forward", watched(label, algorithm.forward))
    monkeypatch.setattr(planned, "sequential", watched("sequential", planned.sequential))
    monkeypatch.setattr(planned, "run_invariant", watched("fft", planned.run_invariant))
    record = build(CASES[name], length=17)
    for algorithm in ("sequential", *runnable(record)):
        ran.clear()
        eos.scan(record, algorithm=algorithm)
        assert set(ran) == {algorithm}
    ran.clear()
    eos.scan(record)
    assert set(ran) == {eos.plan(record).algorithm}


def test_plans_are_cached_by_structure() -> None:
    first, other = (build(CASES["phase key"], length=33, seed=seed) for seed in (0, 1))
    assert eos.plan(first) is eos.plan(other)
    assert eos.plan(first) is eos.plan(build(CASES["phase key"], length=63))
    assert eos.plan(first) is not eos.plan(build(CASES["phase key"], length=65))
    assert eos.plan(first) is not eos.plan(first, algorithm="sequential")


@pytest.mark.parametrize("name", CASES)
def test_a_plan_sees_no_values(name: str) -> None:
    """On ``meta`` there are none; the choice is that of the device's own speeds."""
    record = build(replace(CASES[name], memory=False), length=64)
    meta = map_parts(record, lambda part, axes, tensor: tensor.to("meta"))
    assert eos.plan(meta).algorithm == eos.plan(record).algorithm


def test_every_part_of_the_structure_counts() -> None:
    """Records that differ in a part, a shared axis, a size or a dtype have plans of their own."""
    base = Case(parts=("key",), memory=False)
    others = [
        replace(base, memory=True),
        replace(base, reset=True),
        replace(base, parts=("head",)),
        replace(base, parts=("key_shared",)),
        replace(base, shared=("B", "T")),
        replace(base, reads=2),
        replace(base, read="before"),
        replace(base, substeps=2),
        replace(base, per_channel=("shrink",)),
        replace(base, groups=(4, 4)),
    ]
    structures = [eos.plan(build(case, length=16)).structure for case in (base, *others)]
    structures.append(eos.plan(build(base, length=16, dtype=torch.float32)).structure)
    assert len(set(structures)) == len(structures)


@pytest.mark.parametrize(("dtype", "width"), [(torch.float64, 8), (torch.float32, 4), (torch.bfloat16, 4)])
def test_state_bytes_are_those_of_the_memory(dtype: torch.dtype, width: int) -> None:
    record = build(Case(parts=("head",), memory=False), length=4, dtype=dtype)
    _, memory = eos.scan(record)
    assert eos.plan(record).state_bytes == memory.value.numel() * memory.value.element_size() == 2 * 3 * 5 * 7 * width
