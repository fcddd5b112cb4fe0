"""Combinations of what a record may hold, as the chunked kernels are compiled for them."""

from dataclasses import dataclass, fields, replace
from itertools import combinations, product
from typing import Any

import torch

from eos.engine.algorithm import AbstractAlgorithm
from eos.engine.sequential import sequential
from eos.record import Memory, Read, Recurrence, Transition
from tests.compare import assert_close, outcome
from tests.engine.runners import windows
from tests.records import cast
from tests.tolerances import FLOAT32_SHORT

BATCH, HEADS = 1, 2


@dataclass(frozen=True, kw_only=True)
class Flags:
    """One of them; a decay of K or V is none, one number a head, or one of every entry.

    Of edges (tests.engine.triton.test_edges): which decays are made of pre-activations, whose complement gates what is
    written, and which of e and s go through a silu.
    """

    key: str = "none"
    value: str = "none"
    read: Read = "after"
    reset: bool = False
    reads: int = 1
    memory: bool = True
    erase: bool = False
    made: str = ""
    gate: str = ""
    silu: str = ""

    def __str__(self) -> str:
        return " ".join(f"{held.name}={getattr(self, held.name)}" for held in fields(self) if getattr(self, held.name))


CHOICES: dict[str, tuple[Any, ...]] = {
    "key": ("none", "one", "every"),
    "value": ("none", "one", "every"),
    "read": ("after", "before"),
    "reset": (False, True),
    "reads": (1, 2),
    "memory": (False, True),
}
EVERY = [Flags(**dict(zip(CHOICES, chosen, strict=True))) for chosen in product(*CHOICES.values())]
#: The same with an erase, which goes with no decay over V.
ERASING = [replace(flags, erase=True) for flags in EVERY if flags.value == "none"]
EDGES: dict[str, tuple[str, ...]] = {
    "made": ("", "key", "value", "key value"),
    "gate": ("", "key", "value"),
    "silu": ("", "e", "s", "e s"),
}
#: The same with edges, which are of decays of every entry.
EDGED = [
    flags
    for plain, chosen in product(EVERY, product(*EDGES.values()))
    for flags in [replace(plain, **dict(zip(EDGES, chosen, strict=True)))]
    if not plain.memory
    and any(chosen)
    and all(getattr(plain, name) == "every" for name in (*flags.made.split(), *flags.gate.split()))
    and (plain.key == "every" or not flags.silu)
]


def pairwise(every: list[Flags]) -> list[Flags]:
    """Few of them, in which every pair of choices of two flags is met that any has; greedily."""

    def pairs(flags: Flags) -> set[tuple[Any, ...]]:
        return {(a, getattr(flags, a), b, getattr(flags, b)) for a, b in combinations((*CHOICES, *EDGES), 2)}

    missing = set().union(*(pairs(flags) for flags in every))
    found = []
    while missing:
        best = max(every, key=lambda flags: len(pairs(flags) & missing))
        found.append(best)
        missing -= pairs(best)
    return found


def record(flags: Flags, *, length: int, key: int, value: int, batch: int = BATCH, heads: int = HEADS) -> Recurrence:
    """A record of them in float64, whose log-decays are drawn from nearly none to −88."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    def decay(kind: str, entries: int) -> torch.Tensor | None:
        if kind == "none":
            return None
        drawn = torch.randint(4, (batch, length, heads, 1 if kind == "one" else entries), generator=generator)
        return torch.tensor([-1e-4, -0.5, -3.0, -80.0], dtype=torch.float64)[drawn].requires_grad_()

    erase = None
    if flags.erase:  # of a direction of length one, which keeps the memory small
        b = torch.nn.functional.normalize(normal(batch, length, heads, key).detach(), dim=-1).requires_grad_()
        erase = ((-b * torch.rand(batch, length, heads, 1, generator=generator)).detach().requires_grad_(), b)
    reset = None
    if flags.reset:
        reset = torch.rand(batch, length, generator=generator) < 0.15
        reset[:, length // 2] = True
    return Recurrence(
        input=normal(batch, length, heads, value),
        expand=normal(batch, length, heads, key),
        shrink=tuple(normal(batch, length, heads, key) for _ in range(flags.reads)),
        transition=Transition(key=decay(flags.key, key), value=decay(flags.value, value), erase=erase),
        memory=Memory(value=normal(batch, heads, key, value)) if flags.memory else None,
        read=flags.read,
        reset=reset,
    )


def check(flags: Flags, algorithm: AbstractAlgorithm, **sizes: int) -> None:
    """What an algorithm makes of a record of them in float32 stays near float64: outputs, memory, every gradient."""
    exact = record(flags, **sizes)
    got = outcome(cast(exact, torch.float32), windows(algorithm, 1 << 20), rounded=torch.float32)
    assert_close(got, outcome(exact, sequential, rounded=torch.float32), FLOAT32_SHORT)
