"""The records that the engine is measured on: one of each kind, with random contents."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from eos.record import Recurrence, Transition

KINDS = ("head", "key", "delta", "elementwise")
#: Sizes of the published figures.
BATCH, HEADS, KEY, VALUE = 2, 4, 64, 64
ELEMENTWISE_KEY, ELEMENTWISE_VALUE = 16, 256


@dataclass(frozen=True)
class Sample:
    """A record, the tensors in it that take gradients, and the direction to differentiate in."""

    record: Recurrence
    leaves: list[Tensor]
    direction: Tensor


def sample(kind: str, length: int, *, seed: int = 0) -> Sample:
    """A record of this kind, B=2 H=4 K=V=64 (elementwise: K=16 V=256), with decays sigmoid(N(2, 1))."""
    generator = torch.Generator().manual_seed(seed)
    key, value = (ELEMENTWISE_KEY, ELEMENTWISE_VALUE) if kind == "elementwise" else (KEY, VALUE)
    leaves: list[Tensor] = []

    def leaf(tensor: Tensor) -> Tensor:
        leaves.append(tensor.requires_grad_())
        return tensor

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def log_decay(*shape: int) -> Tensor:
        return functional.logsigmoid(normal(*shape) + 2.0)

    read, write = leaf(normal(BATCH, length, HEADS, key)), leaf(normal(BATCH, length, HEADS, key) / key**0.5)
    i = leaf(normal(BATCH, length, HEADS, value))
    if kind == "head":
        transition = Transition(head=leaf(log_decay(BATCH, length, HEADS)))
    elif kind == "key":
        transition = Transition(key=leaf(log_decay(BATCH, length, HEADS, key)))
    elif kind == "delta":
        b = functional.normalize(normal(BATCH, length, HEADS, key), dim=-1)
        beta = torch.rand(BATCH, length, HEADS, 1, generator=generator)
        erase = (leaf(-beta * b), leaf(b))
        transition = Transition(head=leaf(log_decay(BATCH, length, HEADS)), erase=erase)
    elif kind == "elementwise":
        rate = leaf(-torch.rand(HEADS, key, value, generator=generator))
        transition = Transition(rate=rate, step=leaf(torch.rand(BATCH, length, HEADS, 1, value, generator=generator)))
    else:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
    record = Recurrence(input=i, expand=write, shrink=read, transition=transition)
    return Sample(record, leaves, normal(BATCH, length, HEADS, value))
