"""What every token mixer is to a model: one signature, one cache."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class AbstractCache(ABC):
    """What one mixer remembers between two calls of decoding; a call that gets it reads it and moves it on."""

    @abstractmethod
    def tensors(self) -> Iterator[Tensor]:
        """Everything it holds."""

    @property
    def constant(self) -> bool:
        """Whether a token changes what its tensors hold and nothing else: not their sizes, nor a count of tokens."""
        return False

    @property
    def bytes(self) -> int:
        """How much memory it takes now."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors())

    def reorder(self, rows: Int[Tensor, " B"]) -> None:
        """Row b goes on from what row rows[b] has seen; as many rows as there are."""
        for tensor in self.tensors():
            take_rows(tensor, rows)


def take_rows(tensor: Tensor, rows: Int[Tensor, " B"]) -> None:
    """Put row rows[b] where row b was; what all rows share stays."""
    if len(tensor) == len(rows):
        tensor.copy_(tensor[rows])


class AbstractMixer(nn.Module, ABC):
    """Mixes tokens: y_t depends on its own document alone, and where its direction is forward on x_0 … x_t of it."""

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "B T D"], *, reset: Bool[Tensor, "B T"] | None = None, cache: AbstractCache | None = None
    ) -> Float[Tensor, "B T D"]:
        """Mix x.

        Arguments:
            x: the layer's input.
            reset: true where a new document begins.
            cache: from :meth:`cache`; x then continues what earlier calls saw. T may be 1 or more.
        """

    @abstractmethod
    def cache(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> AbstractCache:
        """An empty cache for decoding ``batch`` rows."""
