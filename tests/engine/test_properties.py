"""What holds for every record, whatever runs it: continuing, causality, packing, and gradients of any loss."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

import eos
from eos.errors import RecordError
from eos.record import Memory, Recurrence, map_parts, parts
from tests.compare import Outputs, Runner, assert_close, outcome, scanned
from tests.engine.runners import RUNNERS, in_turn, runnable
from tests.records import CASES, build, cut, leaves
from tests.tolerances import EXACT

LENGTH = 21
CUTS = (0, 1, 9, 16, LENGTH)


def in_pieces(run: Runner, cuts: tuple[int, ...], *, forget: bool) -> Runner:
    """A record piece by piece: each from the memory of the one before, or from an empty one."""

    def pieces(record: Recurrence) -> Outputs:
        memory = record.memory
        reads, traces = [], []
        for start, stop in pairwise(cuts):
            if start == stop:
                memory = None
                continue
            ys, memory, trace = run(cut(record, start, stop, memory))
            reads.append(ys)
            traces.append(trace)
            last, memory = memory, None if forget else memory
        ys = tuple(torch.cat(pieces, 1) for pieces in zip(*reads, strict=True))
        return ys, last, None if traces[0] is None else torch.cat(traces, 1)

    return pieces


def stepped(record: Recurrence) -> Outputs:
    """One token of decoding; M after it stands for its trace."""
    y, memory = eos.step(record)
    trace = None if memory.log_scale is None else memory.log_scale[:, None]
    return (y if isinstance(y, tuple) else (y,)), memory, trace


@pytest.mark.parametrize("name", CASES)
def test_split_equals_continue(name: str) -> None:
    record = build(CASES[name], length=LENGTH)
    whole = outcome(record, scanned())
    assert_close(outcome(record, in_pieces(scanned(), CUTS, forget=False)), whole, EXACT)


@pytest.mark.parametrize("name", CASES)
def test_steps_equal_a_scan(name: str) -> None:
    record = build(CASES[name], length=4)
    whole = outcome(record, scanned())
    assert_close(outcome(record, in_pieces(stepped, (0, 1, 2, 3, 4), forget=False)), whole, EXACT)


#: A convolution takes no reset, and without an input the number of channels comes from the memory.
PACKED = [name for name, case in CASES.items() if not (case.reset or "e" in case.shared or case.ones)]


@pytest.mark.parametrize("at_start", [False, True], ids=["memory kept", "reset at 0"])
@pytest.mark.parametrize("name", PACKED)
def test_packed_equals_separate(name: str, at_start: bool) -> None:
    record = build(CASES[name], length=LENGTH)
    cuts = (0, *CUTS) if at_start else CUTS
    begins = torch.zeros(1, LENGTH, dtype=torch.bool)
    begins[:, list(cuts[1:-1])] = True
    packed = replace(record, reset=begins)
    assert_close(outcome(packed, scanned()), outcome(record, in_pieces(scanned(), cuts, forget=True)), EXACT)


@pytest.mark.parametrize(("name", "algorithm", "sizes"), list(in_turn()))
def test_what_comes_later_changes_nothing_before(name: str, algorithm: str, sizes: str) -> None:
    """Every part is drawn anew from step t on; reads before t are as they were."""
    at = 11
    record, other = (build(CASES[name], length=LENGTH, seed=seed) for seed in (0, 1))
    drawn = iter(own(other))
    mixed = map_parts(record, lambda part, axes, tensor: redrawn(at, record.substeps, axes, tensor, next(drawn)))
    run = RUNNERS[algorithm][sizes]
    (before, _, _), (after, _, _) = run(record), run(mixed)
    got, want = ({f"y[{j}]": y[:, :at] for j, y in enumerate(ys)} for ys in (after, before))
    assert_close(got, want, EXACT)
    assert all((x[:, at:] != y[:, at:]).any() for x, y in zip(before, after, strict=True))


def own(record: Recurrence) -> list[Tensor]:
    """The tensors of a record in the order that map_parts walks them."""
    return [tensor for name, _, tensor in parts(record) if not name.startswith("memory.")]


def redrawn(at: int, substeps: int, axes: tuple[str, ...], tensor: Tensor, other: Tensor) -> Tensor:
    if axes[0] != "B" or tensor.shape[1] == 1:
        return tensor
    at = at * substeps if axes[1] == "S" else at
    return torch.cat([tensor[:, :at], other[:, at:]], 1)


PARTIAL = ["head", "phase key", "erase key", "log_gate sum key", "rate", "three reads", "invariant key value"]


@pytest.mark.parametrize("name", PARTIAL)
def test_a_loss_of_one_output_alone(name: str) -> None:
    """Gradients that do not come count as zero: of a read, of the memory, of M."""
    record = build(CASES[name], length=LENGTH)

    def one_by_one(run: Runner) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        ys, memory, trace = run(record)
        for output, tensor in {"y": ys[0], "memory": memory.value, "scale": memory.log_scale, "M": trace}.items():
            if tensor is not None:
                wanted = leaves(record)
                grads = torch.autograd.grad(
                    tensor.square().sum(),
                    list(wanted.values()),
                    allow_unused=True,
                    materialize_grads=True,
                    retain_graph=True,
                )
                found |= {f"{name} from {output}": grad for name, grad in zip(wanted, grads, strict=True)}
        return found

    want = one_by_one(scanned("sequential"))
    for algorithm in runnable(record):
        assert_close(one_by_one(scanned(algorithm)), want, EXACT)


def only(record: Recurrence, leaf: Tensor) -> Recurrence:
    """The same record, with all but one leaf cut from the graph."""

    def cut_off(tensor: Tensor | None) -> Tensor | None:
        return tensor if tensor is None or tensor is leaf else tensor.detach()

    held = record.memory
    if held is not None:
        held = Memory(value=cut_off(held.value), log_scale=cut_off(held.log_scale))
    return replace(map_parts(record, lambda part, axes, tensor: cut_off(tensor)), memory=held)


@pytest.mark.parametrize("name", PARTIAL)
def test_a_gradient_for_one_leaf_alone(name: str) -> None:
    """The same gradient as when every leaf takes one, and none for the others."""
    record = build(CASES[name], length=LENGTH)
    for algorithm in runnable(record):
        want = outcome(record, scanned(algorithm))
        for part, leaf in leaves(record).items():
            got = outcome(only(record, leaf), scanned(algorithm))
            assert [key for key in got if key.startswith("gradient")] == [f"gradient of {part}"]
            assert_close(got, {key: want[key] for key in got}, EXACT)


@pytest.mark.parametrize("algorithm", ["chunked", "elementwise", "delta"])
def test_windows_keep_one_memory_each(algorithm: str) -> None:
    """For the backward pass and in the memory they return; a view of more would keep all of a window alive."""
    for name, case in CASES.items():
        record = build(case, length=LENGTH)
        if algorithm not in runnable(record):
            continue
        given = {tensor.untyped_storage().data_ptr() for _, _, tensor in parts(record)}
        kept: list[Tensor] = []

        def keep(tensor: Tensor, kept: list[Tensor] = kept) -> Tensor:
            kept.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            _, memory, _ = list(RUNNERS[algorithm].values())[-1](record)
        kept += [tensor for tensor in (memory.value, memory.log_scale) if tensor is not None]
        own = [tensor for tensor in kept if tensor.untyped_storage().data_ptr() not in given]
        assert own
        assert all(tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size() for tensor in own), name


@pytest.mark.parametrize("name", [name for name in PARTIAL if "invariant" not in name])
def test_strides_do_not_matter(name: str) -> None:
    """Tensors that an einops rearrangement left with time innermost, or heads before time."""
    record = build(CASES[name], length=LENGTH)
    want = outcome(record, scanned())

    def strided(part: str, axes: tuple[str, ...], tensor: Tensor) -> Tensor:
        if axes[0] != "B":
            return tensor
        copy = tensor.detach().movedim(1, -1).contiguous().movedim(-1, 1)
        return copy.requires_grad_(tensor.requires_grad)

    assert_close(outcome(map_parts(record, strided), scanned()), want, EXACT)


@pytest.mark.parametrize("name", ["constant head", "constant key value", "constant phase", "constant erase"])
def test_an_expanded_view_equals_a_shared_axis(name: str) -> None:
    """A stage may also broadcast by itself: the same values, and gradients that sum to those of the shared axis."""
    record = build(CASES[name], length=LENGTH)

    def expanded(part: str, axes: tuple[str, ...], tensor: Tensor) -> Tensor:
        return tensor.expand(2, LENGTH, *tensor.shape[2:]) if axes[0] == "B" and tensor.shape[0] == 1 else tensor

    def run(record: Recurrence) -> Outputs:
        return scanned()(map_parts(record, expanded))

    assert_close(outcome(record, run), outcome(record, scanned()), EXACT)


def test_a_memory_may_share_its_axes() -> None:
    """A learned first memory: one for all rows, or one M for all of K."""
    for name, shape in (("log_gate max", (1, 3, 1)), ("log_gate sum key", (2, 1, 5)), ("head", None), ("erase", None)):
        record = build(CASES[name], length=LENGTH)
        value = torch.randn(1, 3, 5, 1, dtype=torch.float64).requires_grad_()
        scale = None if shape is None else torch.randn(shape, dtype=torch.float64).requires_grad_()
        record = replace(record, memory=Memory(value=value, log_scale=scale))
        want = outcome(record, scanned("sequential"))
        for algorithm in runnable(record):
            assert_close(outcome(record, scanned(algorithm)), want, EXACT)


def test_log_decays_are_floored() -> None:
    """−1e6 acts as −88 and leaves no NaN, in values and in gradients."""
    for name in ("head", "key value before", "erase key", "log_gate max", "phase over value key"):
        record = build(CASES[name], length=LENGTH)

        def sunk(floor: float, part: str, tensor: Tensor) -> Tensor:
            if part not in ("head", "key", "value"):
                return tensor
            choice = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(3)) < 0.2
            return torch.where(choice, floor, tensor.detach()).requires_grad_()

        at, below = (
            map_parts(record, lambda part, axes, tensor, floor=floor: sunk(floor, part, tensor))
            for floor in (-88.0, -1e6)
        )
        want = outcome(at, scanned("sequential"))
        for algorithm in ("sequential", *runnable(below)):
            assert_close(outcome(below, scanned(algorithm)), want, EXACT)


def test_a_step_takes_one_token() -> None:
    with pytest.raises(RecordError, match=r"T = 1, got T = 3; use eos\.scan"):
        eos.step(build(CASES["head"], length=3))


def test_a_trace_needs_a_log_gate() -> None:
    with pytest.raises(RecordError, match="the transition has no log_gate"):
        eos.scan(build(CASES["head"], length=3), trace=True)


def test_a_tuple_of_reads_gives_a_tuple() -> None:
    record = build(CASES["head"], length=3)
    y, memory = eos.scan(record)
    assert y.shape == (2, 3, 3, 7)
    assert memory.value.shape == (2, 3, 5, 7)
    assert memory.log_scale is None
    many, _ = eos.scan(replace(record, shrink=(record.shrink,)))
    assert isinstance(many, tuple)
    assert torch.equal(many[0], y)
