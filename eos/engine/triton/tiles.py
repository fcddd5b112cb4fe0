"""How big a piece of a record a program takes: what is shipped for each kind of record and architecture."""

from dataclasses import dataclass, replace
from itertools import product

import torch

from eos.engine.triton.support import WIDEST


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """How a chunked record is cut.

    Arguments:
        chunk: steps of a chunk, a power of two.
        value: entries of V that a forward program holds; all of K is in it.
        scores: entries of the decaying axis that a scores program takes at once.
        near, far: entries of a backward program's own axis, and of the other at once.
        forward_warps, scores_warps, backward_warps: warps of a program.
        stages: chunks that a forward program loads ahead, itself included.
    """

    chunk: int = 64
    value: int = 64
    scores: int = 32
    near: int = 32
    far: int = 64
    forward_warps: int = 4
    scores_warps: int = 4
    backward_warps: int = 4
    stages: int = 2


@dataclass(frozen=True, kw_only=True)
class Scans:
    """How an elementwise record is cut: steps of a chunk, forward and backward, as many as registers hold.

    Arguments:
        forward, backward: steps of a chunk, powers of two.
        value: entries of V that a program holds, with one row of K at a time.
    """

    forward: int = 32
    backward: int = 16
    value: int = 32


Row = Tiles | Scans
#: What each field may be in a table, and so what a search tries.
SIZES: dict[str, tuple[int, ...]] = {
    "chunk": (16, 32, 64),
    "value": (16, 32, 64, 128),
    "scores": (16, 32, 64),
    "near": (16, 32, 64),
    "far": (16, 32, 64, 128),
    "forward_warps": (4, 8),
    "scores_warps": (4, 8),
    "backward_warps": (4, 8),
    "stages": (1, 2, 3),
    "forward": (8, 16, 32, 64),
    "backward": (8, 16, 32),
}
#: Sizes of K and V that rows tell apart, up to each; the narrowest is what a tensor core takes at least.
BUCKETS = (16, 32, 64, 128, WIDEST)


@dataclass(frozen=True, kw_only=True)
class Served:
    """Which records a row serves; their length is no part of it.

    Arguments:
        algorithm: chunked, delta or elementwise.
        key, value: the least of :data:`BUCKETS` that K and V fit into; above all of them, the widest.
        bits: of an activation, 16 or 32.
        architecture: as :func:`architecture_of` names it.
    """

    algorithm: str
    key: int
    value: int
    bits: int
    architecture: str

    @classmethod
    def of(cls, algorithm: str, *, key: int, value: int, dtype: torch.dtype, architecture: str) -> "Served":
        """For records of these sizes, whose activations have this dtype."""
        k, v = (next((most for most in BUCKETS if size <= most), WIDEST) for size in (key, value))
        bits = 16 if dtype.itemsize == 2 else 32
        return cls(algorithm=algorithm, key=k, value=v, bits=bits, architecture=architecture)

    def __str__(self) -> str:
        return f"{self.algorithm} K={self.key} V={self.value} {self.bits} bits"


_OLDER = {64: Tiles(value=32), 128: Tiles(value=32), 256: Tiles(chunk=32, value=16)}
_WIDE = Tiles(chunk=16, value=32, scores=16, near=16, far=32, forward_warps=8)
_FLOAT32 = {64: replace(_WIDE, forward_warps=4), 128: _WIDE, 256: _WIDE}
#: Of chunked records, by architecture, bits, and the widest K or V that a row serves. Found by compiling, for registers
#: and shared memory (docs/kernel.md has the figures); not yet timed on any of them.
_CHUNKED: dict[tuple[str, int], dict[int, Tiles]] = {
    ("sm_90", 16): {64: Tiles(), 128: Tiles(value=32), 256: Tiles(value=16)},
    ("sm_90", 32): _FLOAT32,
    ("sm_80", 16): _OLDER,
    ("sm_80", 32): {64: _FLOAT32[64], 128: replace(_WIDE, value=16), 256: replace(_WIDE, value=16)},
    ("gfx942", 16): _OLDER,
    ("gfx942", 32): _FLOAT32,
}
ARCHITECTURES = tuple(dict.fromkeys(architecture for architecture, _ in _CHUNKED))


def _shipped(algorithm: str, tiles: Tiles) -> Row:
    """The row of an algorithm where chunked records have these tiles."""
    if algorithm == "elementwise":
        return Scans()
    # a second write and a row more take the registers of a wider tile, and the shared memory of a chunk loaded ahead
    return replace(tiles, near=16, stages=1) if algorithm == "delta" else tiles


#: The row of every kind of record.
SHIPPED: dict[Served, Row] = {
    Served(algorithm=algorithm, key=key, value=value, bits=bits, architecture=architecture): _shipped(
        algorithm, next(tiles for widest, tiles in rows.items() if max(key, value) <= widest)
    )
    for (architecture, bits), rows in _CHUNKED.items()
    for algorithm, key, value in product(("chunked", "delta", "elementwise"), BUCKETS, BUCKETS)
}


def for_decays_over_value(row: Row) -> Row:
    """A row for records whose V decays entry by entry.

    Their forward kernel meets rows and columns level by level inside its loop, which spills in larger tiles.
    """
    return replace(row, chunk=min(row.chunk, 32), value=min(row.value, 16)) if isinstance(row, Tiles) else row


def architecture_of(device: str) -> str:
    """The architecture in the table for this machine's GPU; without one, the newest that is listed."""
    if torch.version.hip is not None:
        return "gfx942"
    older = device == "cuda" and torch.cuda.is_available() and torch.cuda.get_device_capability() < (9, 0)
    return "sm_80" if older else "sm_90"
