"""A recurrence over four processes is the recurrence: every output and gradient, and what is sent for it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import eos
from eos.parallel import Form, SequenceGroup, continued, over
from eos.record import Recurrence
from tests.compare import errors, outcome, scanned
from tests.parallel.processes import together
from tests.records import CASES, Case, build, cut, leaves
from tests.tolerances import EXACT

RANKS = 4
#: Every other record in one form, the rest in the other; and the other way round.
HALVES = [
    ("ring", 0),
    ("gather", 1),
    pytest.param("ring", 1, marks=pytest.mark.slow),
    pytest.param("gather", 0, marks=pytest.mark.slow),
]


def made(case: Case, length: int, dtype: torch.dtype = torch.float64) -> Recurrence:
    """A case's record from an empty memory."""
    return build(replace(case, memory=False), length=length, dtype=dtype)


def in_parts(record: Recurrence, group: SequenceGroup) -> dict[str, Tensor]:
    """As :func:`tests.compare.outcome`, of which every rank does a part."""
    size, rank = record.sizes["T"] // group.size, group.rank
    traced, last = record.transition.log_gate is not None, rank == group.size - 1
    part = cut(record, rank * size, (rank + 1) * size, None)
    with over(group):
        y, memory, *trace = eos.scan(continued(part), trace=traced)
    found = {f"y[{j}]": each for j, each in enumerate(y if isinstance(y, tuple) else (y,))}
    found |= {"memory": memory.value, "log_scale": memory.log_scale, "trace": trace[0] if trace else None}
    outputs = {name: tensor for name, tensor in found.items() if tensor is not None}
    generator = torch.Generator().manual_seed(1)
    pairs: list[tuple[Tensor, Tensor]] = []
    for name, output in outputs.items():
        over_time = name not in ("memory", "log_scale")
        shape = [output.shape[0], output.shape[1] * group.size, *output.shape[2:]] if over_time else output.shape
        random = torch.randn(shape, generator=generator, dtype=torch.float64).to(output)
        if over_time:
            pairs.append((output, random[:, rank * size : (rank + 1) * size]))
        elif last:
            pairs.append((output, random))
    wanted = leaves(record)
    grads = torch.autograd.grad(
        [output for output, _ in pairs],
        list(wanted.values()),
        [direction for _, direction in pairs],
        allow_unused=True,
        materialize_grads=True,
    )
    whole = {}
    for name, output in outputs.items():
        every = [torch.empty_like(output) for _ in range(group.size)]
        dist.all_gather(every, output.detach().contiguous())
        whole[name] = every[-1] if name in ("memory", "log_scale") else torch.cat(every, 1)
    for name, grad in zip(wanted, grads, strict=True):
        dist.all_reduce(grad := grad.contiguous())
        whole[f"gradient of {name}"] = grad
    return whole


def compared(form: Form, names: list[str]) -> dict[str, dict[str, float]]:
    """What is wrong of every case in four parts, of which there are some with and some without a document's begin."""
    wrong = {}
    for name in names:
        record = made(CASES[name], length=5 * RANKS)
        group = SequenceGroup(form=form)
        found = errors(in_parts(record, group), outcome(record, scanned("sequential")))
        wrong[name] = {part: error for part, error in found.items() if not error <= EXACT}
    return {name: found for name, found in wrong.items() if found}


@pytest.mark.parametrize(("form", "first"), HALVES)
def test_every_record_in_four_parts_is_the_whole(form: Form, first: int) -> None:
    assert together(RANKS, compared, form, list(CASES)[first::2]) == [{}] * RANKS


#: A record of every kind of decay, with the entries of its decay in its smallest shape, for B = 2, H = 3, K = 5, V = 7.
KINDS = {"nothing": 0, "head": 2 * 3, "constant key": 3 * 5, "value": 2 * 3 * 7, "key": 2 * 3 * 5, "rate": 2 * 3 * 35}


def bytes_sent(form: Form, length: int) -> dict[str, dict[str, int]]:
    """By kind of decay and direction; by the processes' own count."""
    found = {}
    for name in [*KINDS, "erase key"]:
        group = SequenceGroup(form=form)
        in_parts(made(CASES[name], length, torch.float32), group)
        found[name] = {way: count for (what, way), count in group.sent.items() if what == "memory"}
    return found


@pytest.mark.parametrize("form", ["ring", "gather"])
def test_what_is_sent_does_not_depend_on_the_length(form: Form) -> None:
    short, long = (together(RANKS, bytes_sent, form, length) for length in (2 * RANKS, 64 * RANKS))
    assert short == long
    memory = 4 * 2 * 3 * 5 * 7
    for name, own in _wanted(form, memory):
        sends = {rank: found[name] for rank, found in enumerate(short)}
        for rank, found in sends.items():
            ahead = own if form == "gather" or rank < RANKS - 1 else 0
            back = memory if form == "gather" or rank > 0 else 0
            assert (found.get("forward", 0), found.get("backward", 0)) == (ahead, back), (name, rank)


def _wanted(form: Form, memory: int) -> Iterator[tuple[str, int]]:
    for name, entries in KINDS.items():
        yield name, memory + (4 * entries if form == "gather" else 0)
    yield "erase key", memory + (4 * 2 * 3 * 5 * 5 if form == "gather" else 0)


def under_autocast(form: Form) -> dict[str, float]:
    """How far a float32 memory that came under autocast is from the same without."""
    found = {}
    for name in ("erase", "erase phase key", "constant erase", "key"):
        record = made(CASES[name], 5 * RANKS, torch.float32)
        group = SequenceGroup(form=form)
        part = cut(record, 5 * group.rank, 5 * group.rank + 5, None)
        memories = []
        for enabled in (False, True):
            with over(group), torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                memory = continued(part).memory
            assert memory is not None
            memory.value.square().sum().backward()
            memories.append(memory.value.detach())
        found[name] = (memories[0] - memories[1]).abs().max().item()
    return found


@pytest.mark.parametrize("form", ["ring", "gather"])
def test_memories_keep_their_digits_under_autocast(form: Form) -> None:
    for found in together(RANKS, under_autocast, form):
        assert max(found.values()) < 1e-6, found
