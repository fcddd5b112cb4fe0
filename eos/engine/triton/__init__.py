"""The Triton backend: one family of kernels for every recurrence, and what launches them."""

from eos.engine.algorithm import AbstractAlgorithm
from eos.engine.structure import Structure


def algorithm_of(name: str, s: Structure) -> AbstractAlgorithm:
    """The kernels that run one algorithm on a record, with the tiles shipped for its device."""
    from eos.engine.triton.chunked import TritonChunked
    from eos.engine.triton.delta import TritonDelta
    from eos.engine.triton.elementwise import TritonElementwise
    from eos.engine.triton.tiles import Scans, tiles_of

    if name == "elementwise":
        return TritonElementwise(Scans())
    return TritonDelta(tiles_of(s, name)) if name == "delta" else TritonChunked(tiles_of(s))
