"""The constant 0/1 matrices that sum log-decays over intervals of a chunk: one load, where a kernel would compare."""

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=64)
def masks(chunk: int, befores: tuple[bool, ...], device: torch.device) -> Tensor:
    """[levels + 4, C, C] in float16 for each of ``befores``, one after another: which log-decays t each row sums.

    0 … levels − 1   between a row and the seam of its block of 2^(level + 1) steps
    levels           from the chunk's start to the row, or to the step before it where reads are ``before``
    levels + 1       after the row, to the chunk's end
    levels + 2       from the row on
    levels + 3       from the row on, as reads see it: after the row where they are ``before``
    """
    return torch.cat([_table(chunk, before, device) for before in befores])


def _table(chunk: int, before: bool, device: torch.device) -> Tensor:
    t = torch.arange(chunk, device=device)
    row = t[:, None]
    seen = t <= row - int(before)
    found = []
    for level in range(chunk.bit_length() - 1):
        half = 1 << level
        start = row // half * half
        right, left = seen & (t >= start), (t > row) & (t < start + half)
        found.append(torch.where(row // half % 2 == 1, right, left))
    found += [seen, t > row, t >= row, t - int(before) >= row]
    return torch.stack(found).half()
