"""Chunked algorithm: matrix products inside chunks of C steps, and one memory carried from chunk to chunk.

Serves writes of rank one with a decay over K, over V, over both as a product, or none. Windows of mild decays, and all
with one decay a head, run as frames (eos.engine.framed), which need one set of products a chunk; decays over K or V of
any strength by doubling (eos.engine.doubling), one set a level. Both adjoints are hand-written. The gradient of a
log-decay needs no memory of every step:

    d log o_t = Σ_{r ≥ t} (s_r ∘ ds_r − e_r ∘ de_r) + Σ_v m ∘ dm at the chunk's end,

summed within the chunk only, so that its terms cancel among few numbers.
"""

from dataclasses import dataclass

from torch import Tensor

from eos.engine.algorithm import AbstractAlgorithm, Gradients
from eos.engine.doubling import Doubling
from eos.engine.framed import Frame
from eos.engine.lower import Lowered


@dataclass(frozen=True)
class Chunked(AbstractAlgorithm):
    """Chunks of ``size`` steps, a power of two."""

    size: int = 64

    def forward(self, x: Lowered, memory: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        return self._form(x).forward(memory)

    def backward(
        self, x: Lowered, memory: Tensor, dys: tuple[Tensor, ...], dmemory: Tensor
    ) -> tuple[Gradients, Tensor]:
        return self._form(x).backward(memory, dys, dmemory)

    def _form(self, x: Lowered) -> Frame | Doubling:
        return Frame.of(x, self.size) or Doubling(x, self.size)
