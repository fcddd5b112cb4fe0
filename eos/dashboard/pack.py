"""Many curves in one block of bytes that compresses well, and where each of them stands in it."""

import gzip
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eos.dashboard.thin import Band, Thinned


class Packer:
    """Gathers curves: steps as differences (uint32), all else as float32, little-endian."""

    def __init__(self) -> None:
        self._words: list[bytes] = []
        self._length = 0

    def thinned(self, curve: Thinned) -> int:
        """The offset of a run's curve: steps, values, then steps, means and seconds of its buckets."""
        return self._add(
            _differences(curve.steps),
            _floats(curve.values),
            _differences(curve.mean_steps),
            _floats(curve.means),
            _floats(curve.mean_seconds),
        )

    def band(self, band: Band) -> int:
        """The offset of a cell's curve: steps, mean, low, high."""
        return self._add(_differences(band.steps), _floats(band.mean), _floats(band.low), _floats(band.high))

    def packed(self) -> bytes:
        """All of them: byte 0 of every word, then byte 1 of every word …, and gzip without a time."""
        words = np.frombuffer(b"".join(self._words), dtype=np.uint8).reshape(-1, 4)
        return gzip.compress(words.T.tobytes(), compresslevel=6, mtime=0)

    def _add(self, *parts: bytes) -> int:
        offset = self._length
        self._words += parts
        self._length += sum(map(len, parts))
        return offset


def _differences(steps: NDArray[np.int64]) -> bytes:
    return np.diff(steps, prepend=0).astype("<u4").tobytes()


def _floats(values: Sequence[float] | NDArray[np.float64]) -> bytes:
    with np.errstate(over="ignore"):
        return np.asarray(values).astype("<f4").tobytes()
