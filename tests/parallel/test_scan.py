"""A recurrence over four processes is the recurrence: every output and gradient, and what is sent for it."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import eos
from eos.config import Form
from eos.parallel import SequenceGroup, continued, over
from eos.record import Recurrence
from tests.compare import errors, outcome, scanned
from tests.parallel.processes import Crew
from tests.records import CASES, Case, build, cut, leaves
from tests.tolerances import EXACT

pytestmark = pytest.mark.xdist_group("four")

RANKS = 4
FORMS: tuple[Form, ...] = ("ring", "gather")


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


def compared(names: dict[Form, list[str]]) -> dict[str, dict[str, float]]:
    """What is wrong of every case in four parts, of which there are some with and some without a document's begin."""
    wrong = {}
    for number, (form, name) in enumerate((form, name) for form, those in names.items() for name in those):
        record = made(CASES[name], length=5 * RANKS)
        group = SequenceGroup(form=form)
        whole = in_parts(record, group)
        if number % RANKS == group.rank:  # all have it, and one of them compares
            found = errors(whole, outcome(record, scanned("sequential")))
            wrong[name] = {part: error for part, error in found.items() if not error <= EXACT}
    return {name: found for name, found in wrong.items() if found}


@pytest.mark.parametrize("turned", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_every_record_in_four_parts_is_the_whole(turned: bool, four: Crew) -> None:
    """Every other record in one form, the rest in the other; or the other way round."""
    names = dict(zip(FORMS[::-1] if turned else FORMS, (list(CASES)[::2], list(CASES)[1::2]), strict=True))
    assert four(compared, names) == [{}] * RANKS


ERASES = ("erase", "erase key", "erase phase key", "constant erase")
#: A record of every kind of decay, with the entries of its decay in its smallest shape, for B = 2, H = 3, K = 5, V = 7.
KINDS = {"nothing": 0, "head": 2 * 3, "constant key": 3 * 5, "value": 2 * 3 * 7, "key": 2 * 3 * 5, "rate": 2 * 3 * 35}


def in_single_precision() -> dict[tuple[Form, str], dict[str, float]]:
    """What is further than 1e-5 from the whole, of float32 records in four parts."""
    found = {}
    for form, name in itertools.product(FORMS, [*KINDS, *ERASES]):
        record = made(CASES[name], 16 * RANKS, torch.float32)
        group = SequenceGroup(form=form)
        wrong = errors(in_parts(record, group), outcome(record, scanned("sequential")))
        found[form, name] = {part: error for part, error in wrong.items() if not error <= 1e-5}
    return {key: wrong for key, wrong in found.items() if wrong}


def test_float32_parts_are_the_whole_to_five_digits(four: Crew) -> None:
    assert four(in_single_precision) == [{}] * RANKS


def bytes_sent(lengths: Sequence[int]) -> dict[tuple[Form, int, str], dict[str, int]]:
    """By form, length, kind of decay and direction; by the processes' own count."""
    found = {}
    for form, length, name in itertools.product(FORMS, lengths, [*KINDS, "erase key"]):
        group = SequenceGroup(form=form)
        in_parts(made(CASES[name], length, torch.float32), group)
        found[form, length, name] = {way: count for (what, way), count in group.sent.items() if what == "memory"}
    return found


@pytest.mark.parametrize("lengths", [(8, 256), pytest.param((1024, 65536), marks=pytest.mark.slow)])
def test_what_is_sent_does_not_depend_on_the_length(lengths: Sequence[int], four: Crew) -> None:
    memory = 4 * 2 * 3 * 5 * 7
    for rank, found in enumerate(four(bytes_sent, lengths)):
        for (form, length, name), sent in found.items():
            own = dict(_wanted(form, memory))[name]
            ahead = own if form == "gather" or rank < RANKS - 1 else 0
            back = memory if form == "gather" or rank > 0 else 0
            assert (sent.get("forward", 0), sent.get("backward", 0)) == (ahead, back), (form, length, name, rank)


def _wanted(form: Form, memory: int) -> Iterator[tuple[str, int]]:
    for name, entries in KINDS.items():
        yield name, memory + (4 * entries if form == "gather" else 0)
    yield "erase key", memory + (4 * 2 * 3 * 5 * 5 if form == "gather" else 0)


def under_autocast() -> dict[tuple[Form, str], float]:
    """How far a float32 memory that came under autocast is from the same without."""
    found = {}
    for form, name in itertools.product(FORMS, ("erase", "erase phase key", "constant erase", "key")):
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
        found[form, name] = (memories[0] - memories[1]).abs().max().item()
    return found


def test_memories_keep_their_digits_under_autocast(four: Crew) -> None:
    for found in four(under_autocast):
        assert max(found.values()) < 1e-6, found
