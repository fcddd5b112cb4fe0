"""How tensors and numbers are handed to the kernels."""

from dataclasses import dataclass
from typing import Any

import torch
import triton.language as tl
from torch import Tensor
from triton import knobs

from eos.engine.lower import Lowered
from eos.engine.triton.kernels.access import Role
from eos.engine.triton.kernels.scans import Entries


@dataclass(frozen=True)
class Place:
    """A tensor [B,T,H,X] with the role that kernels see and its batch stride in that role's units."""

    tensor: Tensor
    role: Role
    batch: int


@dataclass(frozen=True)
class Arithmetic:
    """How products are made.

    Arguments:
        dtype: of their operands.
        precision: what a product of float32 may lose.
        exact: the precision of a float32 product that may lose nothing.
        split: whether exact sums are made in pieces.
    """

    dtype: Any
    precision: str
    exact: str
    split: bool

    def options(self) -> dict[str, Any]:
        return {"DOT": self.dtype, "PRECISION": self.precision}


def place(x: Tensor) -> Place:
    """Where a tensor lies; shared axes have stride 0."""
    x = x.detach()
    batch, time, head, feature = strides(x)
    each = unit(batch, time)
    return Place(tensor=x, role=Role(x, time, head, feature, each), batch=batch // each)


def entries(x: Tensor) -> Entries:
    """Where a tensor [B,T,H,K], [B,T,H,V] or [B,T,H,K,V] lies; a kernel reads K or V of the first two."""
    x = x.detach()
    batch, time, head, *rest = strides(x)
    key, value = rest if x.dim() == 5 else (rest[0], rest[0])
    return Entries(x, time, head, key, value, unit(batch, time))


def rate_entries(rate: Tensor) -> Entries:
    """Of [H,K,V], which has no time."""
    head, key, value = strides(rate) if rate.dim() == 3 else (0, 0, 0)
    return Entries(rate.detach(), 0, head, key, value, 1)


def batch_stride(x: Tensor) -> int:
    """The stride over batch, in the units of :func:`entries`."""
    batch, time, *_ = strides(x)
    return batch // unit(batch, time)


def strides(x: Tensor) -> list[int]:
    """The strides of a tensor, 0 where it is shared."""
    return [0 if size == 1 else stride for size, stride in zip(x.shape, x.stride(), strict=True)]


def unit(batch: int, time: int) -> int:
    """What a batch stride is counted in: 16 entries where it is a multiple of them at any T, else one."""
    return 16 if time % 16 == 0 and batch % 16 == 0 else 1


def heads_in_a_row(reads: tuple[Tensor, ...]) -> Tensor:
    """Several [B,T,H,X] on one axis of heads."""
    return reads[0] if len(reads) == 1 else torch.cat(reads, 2)


def arithmetic(x: Lowered) -> Arithmetic:
    """Products in the dtype of the activations; float32 in three products of half the digits, no digit lost."""
    if knobs.runtime.interpret:  # which multiplies no bfloat16
        return Arithmetic(dtype=tl.float32, precision="ieee", exact="ieee", split=False)
    dtype = {torch.bfloat16: tl.bfloat16, torch.float16: tl.float16, torch.float32: tl.float32}[x.input.dtype]
    exact = "ieee" if torch.version.hip is not None else "tf32x3"
    return Arithmetic(dtype=dtype, precision=exact if dtype == tl.float32 else "tf32", exact=exact, split=True)
