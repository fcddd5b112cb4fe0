"""Timing on a GPU by its own events, the rates that floors are made of, and what a figure was measured on."""

import re
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

#: The median seconds of each thing, run in turns.
Measure = Callable[[Mapping[str, Callable[[], object]]], dict[str, float]]
WARM_UP, ROUNDS = 5, 30
#: Bytes written between two runs, more than any second-level cache holds; so many times that the GPU is some
#: milliseconds behind the host when a run begins, and the time that Python takes to launch is not measured.
FLUSHED_BYTES, FLUSHES = 1 << 30, 16
#: Bytes copied for the bandwidth, rows of the square matrices multiplied for the rate.
COPIED_BYTES, ROWS = 1 << 30, 8192
PACKAGES = ("torch", "triton", "fla-core", "mamba-ssm")
_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, kw_only=True)
class GpuClock:
    """Medians by events, things in turns, caches emptied before each run, the first runs left out.

    Arguments:
        event: makes an event with ``record`` and ``elapsed_time`` in milliseconds.
        flush: fills the caches with something else.
        synchronize: waits for the GPU.
    """

    event: Callable[[], Any]
    flush: Callable[[], object]
    synchronize: Callable[[], object]

    def __call__(self, things: Mapping[str, Callable[[], object]]) -> dict[str, float]:
        """The median seconds of each."""
        for run in things.values():
            for _ in range(WARM_UP):
                run()
        marks: dict[str, list[tuple[Any, Any]]] = {name: [] for name in things}
        for _ in range(ROUNDS):
            for name, run in things.items():
                start, end = self.event(), self.event()
                self.flush()
                start.record()
                run()
                end.record()
                marks[name].append((start, end))
        self.synchronize()
        return {
            name: statistics.median(start.elapsed_time(end) for start, end in pairs) / 1e3
            for name, pairs in marks.items()
        }


def gpu_clock() -> GpuClock:
    """The clock of the current GPU."""
    room = torch.empty(FLUSHED_BYTES, dtype=torch.uint8, device="cuda")

    def flush() -> None:
        for _ in range(FLUSHES):
            room.zero_()

    return GpuClock(event=lambda: torch.cuda.Event(enable_timing=True), flush=flush, synchronize=torch.cuda.synchronize)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What a device does at best: bytes a second of a copy, read and written, and operations of a matrix product."""

    copy: float
    matrix: float

    def floor(self, *, moved: float, operations: float) -> float:
        """Seconds at least for so many bytes and operations."""
        return max(moved / self.copy, operations / self.matrix)


def measure_rates(measure: Measure, *, device: str) -> Rates:
    """Both rates, of a copy and a bfloat16 product of random numbers too large for caches."""
    source = torch.randn(COPIED_BYTES // 2, device=device, dtype=torch.bfloat16)
    target = torch.empty_like(source)
    left, right = (torch.randn(ROWS, ROWS, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = torch.empty_like(left)
    seconds = measure({"copy": lambda: target.copy_(source), "matrix": lambda: torch.mm(left, right, out=product)})
    return Rates(copy=2 * source.nbytes / seconds["copy"], matrix=2 * ROWS**3 / seconds["matrix"])


def machine(device: str) -> dict[str, str]:
    """Names and versions of what figures depend on."""
    found = {"device": "none, nothing is measured"}
    if device == "cuda":
        text = _DRIVER.read_text() if _DRIVER.exists() else ""
        found = {"device": torch.cuda.get_device_name(), "driver": driver(text), "cuda": str(torch.version.cuda)}
    return found | {name: _version(name) for name in PACKAGES}


def driver(text: str) -> str:
    """The version in what the driver says of itself."""
    match = re.search(r"\b\d+\.\d+(\.\d+)?\b", text)
    return match[0] if match else "unknown"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
