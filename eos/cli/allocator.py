"""How the C library keeps the memory that tensors free."""

import ctypes
import os

#: Parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Bytes: what newer versions of glibc take, and the most that those before 2.35 do.
_THRESHOLDS = (1 << 30, 32 << 20)


def keep_freed_memory() -> None:
    """Let freed blocks below 1 GiB (32 MiB under an older glibc) stay with the process, for the next tensor like them.

    By default glibc hands tensors of some megabytes back to the kernel whenever they are freed, and every new one is
    paged in and zeroed again: a third of the time of a forward pass over T = 16384. Does nothing under another C
    library, or where the environment sets MALLOC_ variables of its own.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc
        return
    # The threshold of mmap first: setting the other alone would fix it at 128 KiB, and map every tensor anew.
    if any(mallopt(_MMAP_THRESHOLD, threshold) for threshold in _THRESHOLDS):
        mallopt(_TRIM_THRESHOLD, _THRESHOLDS[0])
