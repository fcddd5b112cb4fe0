"""What every token mixer is to a model: one signature, one cache."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class AbstractCache(ABC):
    """What one mixer remembers between two calls of decoding; a call that gets it reads it and moves it on."""

    @abstractmethod
    def tensors(self) -> Iterator[Tensor]:
        """Everything it holds."""

    @property
    def bytes(self) -> int:
        """How much memory it takes now."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors())


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
