"""How big a piece of a record a program takes: a shipped table, by architecture, widths and digits."""

from dataclasses import dataclass, replace

import torch

from eos.engine.structure import Structure


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


#: By architecture, whether numbers have 16 bits, and the widest K or V that a row serves. Found by compiling, for
#: registers and shared memory (docs/kernel.md has the figures); not yet timed on any of them.
SHIPPED: dict[tuple[str, bool], dict[int, Tiles]] = {
    ("sm_90", True): {64: Tiles(), 128: Tiles(value=32), 256: Tiles(value=16)},
    ("sm_90", False): {64: Tiles(chunk=32, value=32), 128: Tiles(chunk=32, value=16), 256: Tiles(chunk=32, value=16)},
    ("sm_80", True): {64: Tiles(value=32), 128: Tiles(value=32), 256: Tiles(chunk=32, value=16)},
    ("sm_80", False): {64: Tiles(chunk=32, value=32), 128: Tiles(chunk=32, value=16), 256: Tiles(chunk=32, value=16)},
    ("gfx942", True): {64: Tiles(value=32), 128: Tiles(value=32), 256: Tiles(chunk=32, value=16)},
    ("gfx942", False): {64: Tiles(chunk=32, value=32), 128: Tiles(chunk=32, value=16), 256: Tiles(chunk=32, value=16)},
}


def tiles_for(architecture: str, widest: int, dtype: torch.dtype, algorithm: str = "chunked") -> Tiles:
    """The row of the table that serves a record.

    Arguments:
        architecture: as :func:`architecture_of` names it.
        widest: the greater of K and V.
        dtype: of the activations.
        algorithm: chunked or delta.
    """
    rows = SHIPPED[architecture, dtype.itemsize == 2]
    tiles = next(tiles for most, tiles in rows.items() if widest <= most)
    # a second write and a row more take the registers of a wider tile, and the shared memory of a chunk loaded ahead
    return replace(tiles, near=16, stages=1) if algorithm == "delta" else tiles


def tiles_of(s: Structure, algorithm: str = "chunked") -> Tiles:
    """The tiles of a record on this machine's GPU."""
    dtype = getattr(torch, s.activations.removeprefix("torch."))
    return tiles_for(architecture_of(s.device), max(s.key, s.value), dtype, algorithm)


def architecture_of(device: str) -> str:
    """The row of the table for this machine's GPU; without one, of the newest that is listed."""
    if torch.version.hip is not None:
        return "gfx942"
    older = device == "cuda" and torch.cuda.is_available() and torch.cuda.get_device_capability() < (9, 0)
    return "sm_80" if older else "sm_90"
