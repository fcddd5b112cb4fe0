"""How tensors and numbers are handed to the kernels."""

from dataclasses import dataclass
from typing import Any

import torch
import triton.language as tl
from torch import Tensor
from triton import knobs

from eos.engine.lower import Lowered
from eos.engine.triton.kernels.chunked import Role


@dataclass(frozen=True)
class Place:
    """A tensor [B,T,H,X] with the role that kernels see and its batch stride."""

    tensor: Tensor
    role: Role
    batch: int


@dataclass(frozen=True)
class Arithmetic:
    """How products are made: in which dtype, with what a float32 product may lose, and how 0/1 sums are split."""

    dtype: Any
    precision: str
    pieces: int

    def options(self) -> dict[str, Any]:
        return {"DOT": self.dtype, "PRECISION": self.precision, "PIECES": self.pieces}


def place(x: Tensor) -> Place:
    """Shared axes have stride 0."""
    x = x.detach()
    batch, time, head, feature = (0 if size == 1 else stride for size, stride in zip(x.shape, x.stride(), strict=True))
    return Place(tensor=x, role=Role(x, time, head, feature), batch=batch)


def heads_in_a_row(reads: tuple[Tensor, ...]) -> Tensor:
    """Several [B,T,H,X] on one axis of heads."""
    return reads[0] if len(reads) == 1 else torch.cat(reads, 2)


def arithmetic(x: Lowered) -> Arithmetic:
    """Products in the dtype of the activations; float32 in three products of half the digits, no digit lost."""
    if knobs.runtime.interpret:  # which multiplies no bfloat16
        return Arithmetic(dtype=tl.float32, precision="ieee", pieces=0)
    dtype = {torch.bfloat16: tl.bfloat16, torch.float16: tl.float16, torch.float32: tl.float32}[x.input.dtype]
    return Arithmetic(dtype=dtype, precision="tf32x3" if dtype == tl.float32 else "tf32", pieces=3)
