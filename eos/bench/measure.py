"""Timing several things side by side, and the peak memory of one thing by itself."""

import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest import mock

import torch

from eos.errors import EOSError

_STATUS, _REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


#: a thing that takes less than this share of the slowest is run this many times a turn
_SHORT, _REPEATS = 1 / 8, 5


def side_by_side(things: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """The median seconds of each, measured in turns so that all see the same machine."""
    return {name: statistics.median(seconds) for name, seconds in in_turns(things, rounds=rounds).items()}


def in_turns(things: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """The seconds of each run of each thing, one round first to warm up.

    A few short runs would all fall into one disturbance that a long one beside them averages out, so what is much
    shorter than the slowest is run several times a turn.
    """
    warm = {name: _seconds(run) for name, run in things.items()}
    slowest = max(warm.values())
    times: dict[str, list[float]] = {name: [] for name in things}
    for _ in range(rounds):
        for name, run in things.items():
            times[name] += [_seconds(run) for _ in range(_REPEATS if warm[name] < slowest * _SHORT else 1)]
    return times


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak_bytes(run: Callable[..., object], *arguments: object) -> int:
    """How much the resident memory of a fresh process grows while ``run(*arguments)`` runs, at its peak.

    Under glibc every tensor is mapped by itself, so that what is freed no longer counts, whatever stands beside it.
    ``run`` is a function of a module; what it returns first, when called with ``prepare=True``, is done before
    counting starts: imports, and a tiny run that warms up the allocator.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_grown, args=(sender, run, arguments))
    with mock.patch.dict(os.environ, {"MALLOC_MMAP_THRESHOLD_": str(128 << 10)}):
        process.start()
    sender.close()
    try:
        grown = receiver.recv()
    except EOFError as error:
        raise EOSError("the process that measures memory ended before it reported; is there enough memory?") from error
    finally:
        process.join()
    return int(grown)


def _grown(sender: "multiprocessing.connection.Connection", run: Callable[..., object], arguments: object) -> None:
    torch.set_num_threads(2)
    assert isinstance(arguments, tuple)
    run(*arguments, prepare=True)
    before = _peak_from_now()
    run(*arguments, prepare=False)
    sender.send(_peak() - before)
    sender.close()


def _peak_from_now() -> int:
    """Forget the peak so far, where the kernel can: that of imports would hide a smaller one."""
    if _REFERENCES.exists():
        _REFERENCES.write_text("5")
    return _peak()


def _peak() -> int:
    """Of this process alone; rusage counts what the process that started it had, too."""
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
