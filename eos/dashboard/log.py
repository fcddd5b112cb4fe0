"""Reads a metrics.csv fast, and as far as it is whole: 8,000 rows a run, 500 runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_FIELDS = 4
#: A step is a whole number of 64 bits.
_MOST = 2**63


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One metric over a run, in the order of its steps.

    Arguments:
        steps: int64 [n].
        seconds: of training, float64 [n].
        values: float64 [n], not finite where the run's were not.
    """

    steps: NDArray[np.int64]
    seconds: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Log:
    """The curves of a run by metric, and how many lines could not be read."""

    curves: Mapping[str, Curve] = field(default_factory=dict)
    broken: int = 0


def read_log(path: Path) -> Log:
    """The curves in ``path``; none where there is no such file. A last line that is still being written is left out.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Log()
    _, _, data = data[: data.rfind(b"\n") + 1].partition(b"\n")
    fields = data.replace(b"\n", b",").split(b",")[:-1]
    broken = 0
    try:
        steps, seconds, values = _numbers(fields)
    except (ValueError, OverflowError):
        # Some line is damaged: those that are whole are taken one by one.
        lines = [line.split(b",") for line in data.splitlines()]
        whole = [line for line in lines if _is_whole(line)]
        broken = len(lines) - len(whole)
        fields = [part for line in whole for part in line]
        steps, seconds, values = _numbers(fields)
    if not len(steps):
        return Log(broken=broken)
    names, which = np.unique(np.array(fields[2::_FIELDS]), return_inverse=True)
    curves = {}
    for index, name in enumerate(names):
        held = which == index
        curves[name.decode("utf-8", "replace")] = Curve(steps=steps[held], seconds=seconds[held], values=values[held])
    return Log(curves=curves, broken=broken)


def _numbers(fields: list[bytes]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Steps, seconds and values.

    Raises:
        ValueError: a field is no number, or there are too many or too few.
        OverflowError: a step has too many digits.
    """
    if len(fields) % _FIELDS:
        raise ValueError(f"{len(fields)} fields are not lines of {_FIELDS}")
    steps, seconds, values = (np.array(fields[place::_FIELDS], dtype=bytes) for place in (0, 1, 3))
    return steps.astype(np.int64), seconds.astype(np.float64), values.astype(np.float64)


def _is_whole(line: list[bytes]) -> bool:
    try:
        step, _, _ = int(line[0]), float(line[1]), float(line[3])
    except (IndexError, ValueError):
        return False
    return len(line) == _FIELDS and abs(step) < _MOST
