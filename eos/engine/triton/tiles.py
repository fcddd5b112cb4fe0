"""Tile sizes."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """How a chunked record is cut.

    Arguments:
        chunk: steps of a chunk, a power of two.
        value: entries of V that a forward program holds; all of K is in it.
        scores: entries of the decaying axis that a scores program takes at once.
        near, far: entries of a backward program's own axis, and of the other at once.
        forward_warps, scores_warps, backward_warps: warps of a program.
        forward_stages: chunks loaded ahead.
    """

    chunk: int = 64
    value: int = 64
    scores: int = 64
    near: int = 64
    far: int = 64
    forward_warps: int = 4
    scores_warps: int = 4
    backward_warps: int = 4
    forward_stages: int = 2
