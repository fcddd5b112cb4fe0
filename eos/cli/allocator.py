"""How the C library keeps the memory that tensors free."""

import ctypes
import os

#: Parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_AT_LEAST = 1 << 30


def keep_freed_memory() -> None:
    """Let freed blocks below 1 GiB stay with the process, for the next tensor of their size.

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
    for parameter in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
        mallopt(parameter, _AT_LEAST)
