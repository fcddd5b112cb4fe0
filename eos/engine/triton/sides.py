"""What the kernels of chunks are handed: what stands on the two axes of a memory, and who launches them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eos.engine.algorithm import Gradients
from eos.engine.triton.role import Place, place


class AbstractLaunch(ABC):
    """Launches the kernels on one window: as :class:`eos.engine.algorithm.AbstractAlgorithm`, of its own window."""

    @abstractmethod
    def forward(self, memory: Tensor) -> tuple[tuple[Tensor, ...], Tensor]: ...

    @abstractmethod
    def backward(self, memory: Tensor, dys: tuple[Tensor, ...], dmemory: Tensor) -> tuple[Gradients, Tensor]: ...


@dataclass(frozen=True)
class Side:
    """What stands on one axis of the memory: rows of every read, columns, the decay with its kind, and the stride.

    ``bias`` [H, X] and ``tau`` are there where the decay is a pre-activation; ``gate`` where its complement gates
    columns; and silus of rows and columns.
    """

    rows: Place
    columns: Place
    decay: Place
    kind: int
    size: int
    stride: int
    bias: Tensor | None = None
    tau: float = 1.0
    gate: bool = False
    rows_silu: bool = False
    columns_silu: bool = False

    def link(self) -> dict[str, Any]:
        """How the kernels make the decay, and what it gates."""
        return {"LINK": self.bias is not None, "TAU": self.tau, "GATE": self.gate}


@dataclass(frozen=True)
class Decayed:
    """What :func:`chunked_scores` makes of a side: as the memory between chunks sees it, and inside chunks.

    ``kind`` is that of the side to who meets it: 2, whatever the decay is, where scores are made and all comes decayed.
    """

    rows: Place
    columns: Place
    scores: Tensor
    last_scores: Tensor
    intervals: Tensor
    totals: Tensor
    kind: int


@dataclass(frozen=True)
class Erased:
    """The second write of an erase, w = ``solved`` m + ``inputs`` into ``columns``, and the reads' products with them.

    ``out`` is where w is stored.
    """

    columns: Place
    solved: Place
    inputs: Place
    scores: Tensor
    out: Place


def side_of(rows: Tensor, columns: Tensor, decay: Tensor | None, *, stride: int) -> Side:
    """What stands on one axis, ``stride`` apart in the memory."""
    return Side(
        rows=place(rows),
        columns=place(columns),
        decay=place(columns if decay is None else decay),
        kind=0 if decay is None else 1 if decay.shape[-1] == 1 else 2,
        size=columns.shape[-1],
        stride=stride,
    )


def bias_gradient(gradient: Tensor | None, bias: Tensor | None) -> Tensor | None:
    """The gradient of a bias [1|H, …] from that of the pre-activation [B,T,H,…] it is added to."""
    if gradient is None or bias is None or not bias.requires_grad:
        return None
    return gradient.sum((0, 1), dtype=torch.float32).sum_to_size(bias.shape)


def power_of_two(size: int) -> int:
    """The smallest power of two that is not below ``size``, and what a tensor core takes at least."""
    return max(16, 1 << (size - 1).bit_length())
