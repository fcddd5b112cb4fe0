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


def sample(
    kind: str,
    length: int,
    *,
    seed: int = 0,
    reads: int = 1,
    sizes: tuple[int, int, int, int] | None = None,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Sample:
    """A record of this kind, with decays sigmoid(N(2, 1)).

    Arguments:
        kind: one of :data:`KINDS`, or "none", without a decay.
        reads: how many reads there are.
        sizes: B, H, K and V; without, 2, 4, 64 and 64 (elementwise: 16 and 256).
        dtype: of the activations; log-decays, rates and steps have float32.
    """
    generator = torch.Generator(device).manual_seed(seed)
    key, value = (ELEMENTWISE_KEY, ELEMENTWISE_VALUE) if kind == "elementwise" else (KEY, VALUE)
    batch, heads, key, value = sizes or (BATCH, HEADS, key, value)
    leaves: list[Tensor] = []

    def leaf(tensor: Tensor) -> Tensor:
        leaves.append(tensor.requires_grad_())
        return tensor

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    def log_decay(*shape: int) -> Tensor:
        return functional.logsigmoid(normal(*shape) + 2.0)

    read = tuple(leaf(normal(batch, length, heads, key).to(dtype)) for _ in range(reads))
    write = leaf((normal(batch, length, heads, key) / key**0.5).to(dtype))
    i = leaf(normal(batch, length, heads, value).to(dtype))
    if kind == "none":
        transition = Transition()
    elif kind == "head":
        transition = Transition(head=leaf(log_decay(batch, length, heads)))
    elif kind == "key":
        transition = Transition(key=leaf(log_decay(batch, length, heads, key)))
    elif kind == "delta":
        b = functional.normalize(normal(batch, length, heads, key), dim=-1)
        beta = uniform(batch, length, heads, 1)
        erase = (leaf((-beta * b).to(dtype)), leaf(b.to(dtype)))
        transition = Transition(head=leaf(log_decay(batch, length, heads)), erase=erase)
    elif kind == "elementwise":
        rate = leaf(-uniform(heads, key, value))
        transition = Transition(rate=rate, step=leaf(uniform(batch, length, heads, 1, value)))
    else:
        raise ValueError(f"kind must be one of {(*KINDS, 'none')}, got {kind!r}")
    record = Recurrence(input=i, expand=write, shrink=read if reads > 1 else read[0], transition=transition)
    return Sample(record, leaves, normal(batch, length, heads, value).to(dtype))
