"""What an algorithm is to the engine: a pure function of a lowered window, and its adjoint."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from eos.engine.lower import Lowered


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """The gradients of a window's tensors, in their shapes; None where the tensor is absent or takes none."""

    input: Tensor | None
    expand: Tensor | None
    reads: tuple[Tensor | None, ...]
    over_key: Tensor | None = None
    over_value: Tensor | None = None
    over_both: Tensor | None = None
    erase: tuple[Tensor | None, Tensor | None] = (None, None)
    rate: tuple[Tensor | None, Tensor | None] = (None, None)
    biases: tuple[Tensor | None, Tensor | None, Tensor | None] = (None, None, None)

    def flat(self) -> list[Tensor | None]:
        """In the order of :func:`flat`."""
        decays = [self.over_key, self.over_value, self.over_both]
        return [self.input, self.expand, *self.reads, *decays, *self.erase, *self.rate, *self.biases]


def flat(x: Lowered) -> list[Tensor | None]:
    """Every tensor of a window that may take a gradient, in one fixed order."""
    pairs = [*(x.erase or (None, None)), *(x.rate or (None, None))]
    biases = [x.inside.key, x.inside.value, x.inside.step]
    return [x.input, x.expand, *x.reads, x.over_key, x.over_value, x.over_both, *pairs, *biases]


class AbstractAlgorithm(ABC):
    """Runs one lowered window. An implementation may hand-write the adjoint; else autograd recomputes the window.

    ``takes_activations``: i, e and s come in the dtype of the activations, not of the memory, and log-decays below the
    floor are the algorithm's own to lift.
    """

    takes_activations = False

    @abstractmethod
    def forward(self, x: Lowered, memory: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """The reads, each [B,S,H,V], and the memory after the window, from the memory [B,H,K,V] before it."""

    def backward(
        self, x: Lowered, memory: Tensor, dys: tuple[Tensor, ...], dmemory: Tensor
    ) -> tuple[Gradients, Tensor]:
        """The gradients of the window's tensors that require one, and of the memory before it."""
        memory = memory.detach().requires_grad_()
        with torch.enable_grad():
            ys, after = self.forward(x, memory)
        leaves = [tensor for tensor in flat(x) if tensor is not None and tensor.requires_grad]
        grads = torch.autograd.grad(
            (*ys, after), [memory, *leaves], (*dys, dmemory), allow_unused=True, materialize_grads=True
        )
        found = iter(grads[1:])
        held = [next(found) if tensor is not None and tensor.requires_grad else None for tensor in flat(x)]
        reads = len(x.reads)
        gradients = Gradients(
            input=held[0],
            expand=held[1],
            reads=tuple(held[2 : 2 + reads]),
            over_key=held[2 + reads],
            over_value=held[3 + reads],
            over_both=held[4 + reads],
            erase=(held[5 + reads], held[6 + reads]),
            rate=(held[7 + reads], held[8 + reads]),
        )
        return gradients, grads[0]
