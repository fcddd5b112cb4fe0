"""The Triton backend: one family of kernels for every recurrence, and what launches them."""

from eos.engine.algorithm import AbstractAlgorithm
from eos.engine.triton.tiles import Row, Scans


def algorithm_of(name: str, tiles: Row, segments: int = 1) -> AbstractAlgorithm:
    """The kernels that run one algorithm, with these tiles; those of chunks with T cut into segments."""
    from eos.engine.triton.delta import TritonDelta
    from eos.engine.triton.elementwise import TritonElementwise
    from eos.engine.triton.segments import TritonChunked

    if isinstance(tiles, Scans):
        return TritonElementwise(tiles)
    return (TritonDelta if name == "delta" else TritonChunked)(tiles, segments)
