"""Records: what they refuse and in which words, sharing axes, sizes, and changing every part."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from torch import Tensor

from eos.errors import RecordError
from eos.record import Convolution, Memory, Recurrence, Transition, map_parts, parts, parts_over_value
from tests.records import CASES, build
from tests.transitions import PARTS, part

pytestmark = pytest.mark.usefixtures("one_thread")


def z(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(*shape, dtype=dtype)


def recurrence(
    *,
    i: Tensor | None = None,
    e: Tensor | None = None,
    s: Tensor | tuple[Tensor, ...] | None = None,
    transition: Transition | None = None,
    memory: Memory | None = None,
    reset: Tensor | None = None,
    substeps: int = 1,
    read: str = "after",
) -> Recurrence:
    """B=2 T=3 H=4 K=6 V=5, but for what is given."""
    return Recurrence(
        input=z(2, 3 * substeps, 4, 5) if i is None else i,
        expand=z(2, 3 * substeps, 4, 6) if e is None else e,
        shrink=z(2, 3, 4, 6) if s is None else s,
        transition=Transition() if transition is None else transition,
        memory=memory,
        reset=reset,
        substeps=substeps,
        read=read,  # type: ignore[arg-type]
    )


#: What is wrong → a record that is, and all of what its message must hold.
TRANSITIONS: dict[str, tuple[Callable[[], Transition], tuple[str, ...]]] = {
    "head with too many axes": (
        lambda: Transition(head=z(2, 3, 4, 6)),
        ("head must be [B,T,H]", "4 axes: [2, 3, 4, 6]"),
    ),
    "phase with too few": (
        lambda: Transition(phase=z(2, 3)),
        ("phase must be [B,T,H,Q] or [B,T,H,Q,V]", "[2, 3]"),
    ),
    "other heads": (
        lambda: Transition(head=z(2, 3, 4), key=z(2, 3, 5, 6)),
        ("key must be [B,T,H,P] with H = 4 (as head has it) or 1", "[2, 3, 5, 6]"),
    ),
    "other V": (
        lambda: Transition(value=z(2, 3, 4, 5), rate=z(4, 6, 7), step=z(2, 3, 4, 1, 1)),
        ("rate must be [H,P,V] with V = 5 (as value has it) or 1", "[4, 6, 7]"),
    ),
    "other steps": (
        lambda: Transition(head=z(2, 3, 4), value=z(2, 4, 4, 5)),
        ("value must be [B,T,H,V] with T = 3 (as head has it) or 1", "[2, 4, 4, 5]"),
    ),
    "integers": (
        lambda: Transition(head=z(2, 3, 4, dtype=torch.int64)),
        ("head must be floating point", "torch.int64"),
    ),
    "an empty axis": (lambda: Transition(key=z(2, 0, 4, 6)), ("key has an empty axis T", "[2, 0, 4, 6]")),
    "rate without step": (lambda: Transition(rate=z(4, 6, 5)), ("needs a step", "1 for 0")),
    "phase_rate without step": (lambda: Transition(phase_rate=z(4, 3, 5)), ("needs a step", "1 for 0")),
    "step without rate": (lambda: Transition(step=z(2, 3, 4, 1, 1)), ("a step needs a rate or a phase_rate",)),
    "fewer rates than steps": (
        lambda: Transition(rate=(z(4, 6, 5),), step=(z(2, 3, 4, 1, 1), z(2, 3, 4, 1, 1))),
        ("1 for 2 steps",),
    ),
    "a term of nothing": (
        lambda: Transition(rate=(z(4, 6, 5), None), step=(z(2, 3, 4, 1, 1), z(2, 3, 4, 1, 1))),
        ("a step needs a rate or a phase_rate",),
    ),
    "rates of other sizes": (
        lambda: Transition(rate=(z(4, 6, 5), z(4, 4, 5)), step=(z(2, 3, 4, 1, 1), z(2, 3, 4, 1, 1))),
        ("rate[1] must be [H,P,V] with P = 6 (as rate[0] has it) or 1", "[4, 4, 5]"),
    ),
    "tau": (lambda: Transition(tau=0.0), ("tau must be > 0, got 0.0",)),
    "tau that is no number": (lambda: Transition(tau=float("nan")), ("tau must be > 0, got nan",)),
    "an erase of other sizes": (
        lambda: Transition(erase=(z(2, 3, 4, 6), z(2, 3, 4, 5))),
        ("erase[1] must be [B,S,H,K] with K = 6 (as erase[0] has it) or 1", "[2, 3, 4, 5]"),
    ),
    "erase with value": (
        lambda: Transition(erase=(z(2, 3, 4, 6), z(2, 3, 4, 6)), value=z(2, 3, 4, 5)),
        ("erase cannot stand with value",),
    ),
    "erase with rate": (
        lambda: Transition(erase=(z(2, 3, 4, 6),) * 2, rate=z(4, 6, 5), step=z(2, 3, 4, 1, 1)),
        ("erase cannot stand with rate × step",),
    ),
    "erase with a phase over V": (
        lambda: Transition(erase=(z(2, 3, 4, 6),) * 2, phase=z(2, 3, 4, 3, 5)),
        ("erase cannot stand with phase over V",),
    ),
    "log_gate without stabilise": (
        lambda: Transition(log_gate=z(2, 3, 4, 6)),
        ('log_gate needs stabilise="sum" or "max"',),
    ),
    "stabilise without log_gate": (lambda: Transition(stabilise="sum"), ("stabilise needs a log_gate",)),
    "log_gate with value": (
        lambda: Transition(log_gate=z(2, 3, 4, 6), stabilise="sum", value=z(2, 3, 4, 5)),
        ("log_gate cannot stand with value", "no V axis"),
    ),
    "log_gate with erase": (
        lambda: Transition(log_gate=z(2, 3, 4, 6), stabilise="max", erase=(z(2, 3, 4, 6),) * 2),
        ("log_gate cannot stand with erase",),
    ),
    "an untied key with a phase": (
        lambda: Transition(key=z(2, 3, 4, 6), phase=z(2, 3, 4, 3)),
        ("phase has 3 pairs and key 6 entries", "K/2 = 3 entries"),
    ),
    "an untied rate with a phase_rate": (
        lambda: Transition(rate=z(4, 6, 5), phase_rate=z(4, 3, 5), step=z(2, 3, 4, 1, 1)),
        ("phase_rate has 3 pairs and rate 6 entries",),
    ),
    "an erase of another K than the phase": (
        lambda: Transition(erase=(z(2, 3, 4, 6),) * 2, phase=z(2, 3, 4, 2)),
        ("erase[0] has K = 6 and phase 2 pairs",),
    ),
    "a gate of another K than the key": (
        lambda: Transition(gate=z(2, 3, 4, 6, 1), key=z(2, 3, 4, 5)),
        ("gate has K = 6 and key 5 entries",),
    ),
}
RECURRENCES: dict[str, tuple[Callable[[], Recurrence], tuple[str, ...]]] = {
    "input with too few axes": (lambda: recurrence(i=z(2, 3, 5)), ("input must be [B,S,H,V]", "[2, 3, 5]")),
    "expand of another batch": (
        lambda: recurrence(e=z(3, 3, 4, 6)),
        ("expand must be [B,S,G,K] with B = 2 (as input has it) or 1", "[3, 3, 4, 6]"),
    ),
    "shrink of another K": (
        lambda: recurrence(s=z(2, 3, 4, 5)),
        ("shrink must be [B,T,G,K] with K = 6 (as expand has it) or 1", "[2, 3, 4, 5]"),
    ),
    "one of several reads": (
        lambda: recurrence(s=(z(2, 3, 4, 6), z(2, 4, 4, 6))),
        ("shrink[1] must be [B,T,G,K] with T = 3 (as shrink[0] has it) or 1", "[2, 4, 4, 6]"),
    ),
    "no reads": (lambda: recurrence(s=()), ("shrink must hold at least one read",)),
    "groups": (lambda: recurrence(e=z(2, 3, 3, 6)), ("expand has 3 heads; H = 4 must be a multiple",)),
    "groups of shrink": (lambda: recurrence(s=z(2, 3, 8, 6)), ("shrink has 8 heads; H = 4 must be a multiple",)),
    "steps of shrink": (lambda: recurrence(s=z(2, 4, 4, 6)), ("S = 3", "T = 4", "both are steps in time")),
    "micro-steps": (
        lambda: recurrence(substeps=2, s=z(2, 4, 4, 6)),
        ("input has S = 6 and shrink has T = 4", "2 micro-steps a step"),
    ),
    "odd micro-steps": (
        lambda: recurrence(substeps=2, i=z(2, 5, 4, 5), e=z(1, 1, 4, 6), s=z(1, 1, 4, 6)),
        ("S = 5", "2 micro-steps a step"),
    ),
    "substeps": (lambda: recurrence(substeps=0, i=z(2, 3, 4, 5), e=z(2, 3, 4, 6)), ("substeps must be ≥ 1, got 0",)),
    "a reset of numbers": (lambda: recurrence(reset=z(2, 3)), ("reset must be bool, got torch.float32",)),
    "a reset of other steps": (
        lambda: recurrence(reset=z(2, 4, dtype=torch.bool)),
        ("reset must be [B,T] with T = 3 (as shrink has it) or 1", "[2, 4]"),
    ),
    "the K of a key": (
        lambda: recurrence(transition=Transition(key=z(2, 3, 4, 5))),
        ("key", "5", "K = 6"),
    ),
    "a key tied without a phase": (
        lambda: recurrence(transition=Transition(key=z(2, 3, 4, 3))),
        ("key", "3", "K = 6", "decays over K have K entries"),
    ),
    "an odd K with a phase": (
        lambda: recurrence(e=z(2, 3, 4, 5), s=z(2, 3, 4, 5), transition=Transition(phase=z(2, 3, 4, 1))),
        ("K must be even", "K = 5"),
    ),
    "pairs of another K": (
        lambda: recurrence(transition=Transition(phase=z(2, 3, 4, 2))),
        ("expand has K = 6 and phase 2 pairs", "K/2"),
    ),
    "a memory of another V": (
        lambda: recurrence(memory=Memory(value=z(2, 4, 6, 7))),
        ("memory.value must be [B,H,K,V] with V = 5 (as input has it) or 1", "[2, 4, 6, 7]"),
    ),
    "a memory of other heads": (
        lambda: recurrence(memory=Memory(value=z(2, 3, 6, 5))),
        ("memory.value must be [B,H,K,V] with H = 4", "[2, 3, 6, 5]"),
    ),
    "a memory without log_scale": (
        lambda: recurrence(
            transition=Transition(log_gate=z(2, 3, 4, 6), stabilise="sum"), memory=Memory(value=z(2, 4, 6, 5))
        ),
        ("memory.log_scale is given exactly where the transition has a log_gate",),
    ),
    "a log_scale without log_gate": (
        lambda: recurrence(memory=Memory(value=z(2, 4, 6, 5), log_scale=z(2, 4, 6))),
        ("memory.log_scale is given exactly where the transition has a log_gate",),
    ),
    "a log_scale of K with a phase": (
        lambda: recurrence(
            transition=Transition(log_gate=z(2, 3, 4, 3), stabilise="sum", phase=z(2, 3, 4, 3)),
            memory=Memory(value=z(2, 4, 6, 5), log_scale=z(2, 4, 6)),
        ),
        ("memory.log_scale must be [B,H,P] with P = 3", "[2, 4, 6]"),
    ),
}
OTHERS: dict[str, tuple[Callable[[], object], tuple[str, ...]]] = {
    "a memory in bfloat16": (
        lambda: Memory(value=z(2, 4, 6, 5).bfloat16()),
        ("memory.value must be float32 or wider, got torch.bfloat16",),
    ),
    "a log_scale in float16": (
        lambda: Memory(value=z(2, 4, 6, 5), log_scale=z(2, 4, 6).half()),
        ("memory.log_scale must be float32 or wider, got torch.float16",),
    ),
    "a memory with too few axes": (
        lambda: Memory(value=z(4, 6, 5)),
        ("memory.value must be [B,H,K,V]", "[4, 6, 5]"),
    ),
    "a convolution's input": (
        lambda: Convolution(input=z(2, 3, 4), response=z(4, 5, 3)),
        ("input [B,T,H,V] and response [H,V,T]", "[2, 3, 4] and [4, 5, 3]"),
    ),
    "a response of other lags": (
        lambda: Convolution(input=z(2, 3, 4, 5), response=z(4, 5, 4)),
        ("response must be [H|1,V|1,lags] = [4, 5, 3], got [4, 5, 4]",),
    ),
    "lags of both sides": (
        lambda: Convolution(input=z(2, 3, 4, 5), response=z(4, 5, 3), causal=False),
        ("[4, 5, 5], got [4, 5, 3]",),
    ),
    "a response of other heads": (
        lambda: Convolution(input=z(2, 3, 4, 5), response=z(3, 5, 3)),
        ("[4, 5, 3], got [3, 5, 3]",),
    ),
    "a convolution of integers": (
        lambda: Convolution(input=z(2, 3, 4, 5, dtype=torch.int32), response=z(4, 5, 3)),
        ("input must be floating point, got torch.int32",),
    ),
}
WRONG = {**TRANSITIONS, **RECURRENCES, **OTHERS}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_record_names_the_argument_its_shape_and_the_right_one(name: str) -> None:
    make, words = WRONG[name]
    with pytest.raises(RecordError) as refusal:
        make()
    missing = [word for word in words if word not in str(refusal.value)]
    assert not missing, str(refusal.value)


def test_a_wrong_choice_names_the_right_ones() -> None:
    for field, value in (("link", "relu"), ("stabilise", "mean")):
        with pytest.raises(RecordError, match=f"{field} must be one of .*'sum'|{field} must be one of 'identity'"):
            replace_unchecked(Transition, field, value)
    with pytest.raises(RecordError, match="read must be one of 'after', 'before', got 'between'"):
        replace_unchecked(Recurrence, "read", "between")


def replace_unchecked(kind: type, field: str, value: str) -> None:
    """Runs the checks of a record with a value that its type does not allow."""
    record = Transition() if kind is Transition else recurrence()
    object.__setattr__(record, field, value)
    record.__post_init__()


def test_tensors_of_two_devices_are_refused() -> None:
    with pytest.raises(RecordError, match="key is on meta, the parts before it on cpu"):
        Transition(head=z(2, 3, 4), key=z(2, 3, 4, 6).to("meta"))


def test_records_are_frozen() -> None:
    for record, field in ((Transition(), "head"), (recurrence(), "input"), (Memory(value=z(1, 1, 1, 1)), "value")):
        with pytest.raises(FrozenInstanceError):
            setattr(record, field, None)


def test_values_are_never_looked_at() -> None:
    """A look would stall a GPU; a tensor on ``meta`` has no values to look at."""
    for name in CASES:
        if not CASES[name].memory:
            record = map_parts(build(CASES[name], length=3), lambda name, axes, tensor: tensor.to("meta"))
            assert replace(record).sizes == record.sizes


@pytest.mark.parametrize("axis", ["B", "T", "H", "K", "V"])
@pytest.mark.parametrize("name", ["head", "key", "value", "rate × step", "phase", "erase", "gate over K"])
def test_every_axis_may_be_shared(name: str, axis: str) -> None:
    """A size-1 axis stands for any size: the record's own sizes do not change."""

    def share(part: str, axes: tuple[str, ...], tensor: Tensor) -> Tensor:
        letters = {"T": "TS", "K": "KPQ"}.get(axis, axis)
        index = [i for i, letter in enumerate(axes) if letter in letters]
        return tensor.narrow(index[0], 0, 1) if index else tensor

    transition = part(name)
    sizes = {"B": 2, "T": 1, "H": 3, "K": 4, "V": 5}
    for held in (transition, map_parts(transition, share)):
        record = Recurrence(input=z(2, 1, 3, 5), expand=z(2, 1, 3, 4), shrink=z(2, 1, 3, 4), transition=held)
        assert record.sizes == sizes


@pytest.mark.parametrize(
    ("record", "sizes"),
    [
        (recurrence(), {"B": 2, "T": 3, "H": 4, "K": 6, "V": 5}),
        (recurrence(substeps=3), {"B": 2, "T": 3, "H": 4, "K": 6, "V": 5}),
        (recurrence(e=z(1, 1, 1, 1), s=z(1, 1, 1, 1)), {"B": 2, "T": 3, "H": 4, "K": 1, "V": 5}),
        (recurrence(e=z(1, 1, 2, 6), s=z(1, 1, 1, 6)), {"B": 2, "T": 3, "H": 4, "K": 6, "V": 5}),
        (recurrence(i=z(1, 1, 1, 1), e=z(1, 1, 4, 6, 5)), {"B": 2, "T": 3, "H": 4, "K": 6, "V": 5}),
        (
            recurrence(e=z(1, 1, 1, 1), s=z(1, 1, 1, 1), transition=Transition(key=z(1, 1, 1, 6))),
            {"B": 2, "T": 3, "H": 4, "K": 6, "V": 5},
        ),
        (
            recurrence(e=z(1, 1, 1, 6), transition=Transition(phase=z(1, 1, 1, 1), key=z(1, 1, 1, 3))),
            {"B": 2, "T": 3, "H": 4, "K": 6, "V": 5},
        ),
        (
            recurrence(i=z(1, 1, 1, 1), e=z(1, 1, 1, 6), s=z(1, 1, 1, 6), memory=Memory(value=z(7, 4, 6, 5))),
            {"B": 7, "T": 1, "H": 4, "K": 6, "V": 5},
        ),
        (
            recurrence(e=z(1, 6, 4, 6), i=z(1, 1, 1, 1), s=z(1, 1, 1, 6), substeps=2),
            {"B": 1, "T": 3, "H": 4, "K": 6, "V": 1},
        ),
    ],
)
def test_sizes_come_from_whichever_part_has_them(record: Recurrence, sizes: dict[str, int]) -> None:
    assert record.sizes == sizes


def test_sizes_are_found_never_given() -> None:
    assert "sizes" not in Recurrence.__init__.__annotations__


@pytest.mark.parametrize("name", CASES)
def test_parts_and_map_parts_walk_every_tensor(name: str) -> None:
    record = build(CASES[name], length=3)
    seen: list[Tensor] = []

    def double(part: str, axes: tuple[str, ...], tensor: Tensor) -> Tensor:
        assert len(axes) == tensor.dim()
        seen.append(tensor)
        return tensor if tensor.dtype == torch.bool else 2 * tensor

    doubled = map_parts(record, double)
    own = [(label, axes, tensor) for label, axes, tensor in parts(record) if not label.startswith("memory.")]
    assert [id(tensor) for tensor in seen] == [id(tensor) for _, _, tensor in own]
    after = {label: tensor for label, _, tensor in parts(doubled)}
    for label, _, tensor in own:
        assert torch.equal(after[label], tensor if label == "reset" else 2 * tensor)
    assert doubled.memory is record.memory
    assert doubled.sizes == record.sizes
    assert doubled.transition.link == record.transition.link


def test_parts_names_each_tensor_of_a_tuple() -> None:
    transition = Transition(
        rate=(None, z(4, 3, 5)), phase_rate=(z(4, 3, 5), None), step=(z(1, 1, 4, 1, 1), z(1, 1, 4, 3, 1))
    )
    assert [name for name, _, _ in parts(transition)] == ["rate[1]", "phase_rate[0]", "step[0]", "step[1]"]
    shapes = [(rate is None, phase_rate is None, tuple(step.shape)) for rate, phase_rate, step in transition.terms]
    assert shapes == [(True, False, (1, 1, 4, 1, 1)), (False, True, (1, 1, 4, 3, 1))]
    assert transition.turns


@pytest.mark.parametrize("name", PARTS)
def test_parts_over_value_are_those_that_an_erase_refuses(name: str) -> None:
    over = {"value": "value", "phase over V": "phase over V", "log_sigmoid": "rate × step"}
    want = over.get(name, "rate × step" if "× step" in name else None)
    assert parts_over_value(part(name)) == want


def test_a_single_read_and_a_tuple_of_one_differ() -> None:
    one, single = recurrence(), recurrence(s=(z(2, 3, 4, 6),))
    assert len(one.reads) == len(single.reads) == 1
    assert not isinstance(one.shrink, tuple)
    assert isinstance(single.shrink, tuple)
