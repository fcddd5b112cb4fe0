"""Which of a fixed number of rows a training step reads: each once an epoch, in an order of its own every time."""

import numpy as np
from numpy.typing import NDArray


class Epochs:
    """Rows of the steps of training; a batch may hold the last rows of an epoch and the first of the next.

    Arguments:
        size: rows of an epoch, ≥ 1.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        # The order made last, for the next batch wants it again.
        self._kept: tuple[tuple[int, int], NDArray[np.int64]] | None = None

    def rows(self, seed: int, step: int, rows: int) -> NDArray[np.int64]:
        """Numbers 0 ≤ n < size [rows]: a pure function of its arguments."""
        epochs, places = np.divmod(np.arange(step * rows, (step + 1) * rows), self._size)
        chosen = np.empty_like(places)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            chosen[here] = self._order(seed, int(epoch))[places[here]]
        return chosen

    def _order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        if self._kept is None or self._kept[0] != (seed, epoch):
            # Rows may be drawn by keys of small numbers.
            key = np.array([seed, (1 << 62) + epoch], np.uint64)
            generator = np.random.Generator(np.random.Philox(key=key))
            self._kept = ((seed, epoch), generator.permutation(self._size))
        return self._kept[1]
