"""The log of a run: metrics.csv, and the same numbers as TensorBoard events.

metrics.csv has one row a number: ``step,seconds,metric,value``. It is the one source: when a run goes on, it is cut
back to what the checkpoint knew, and the events are written anew from it, so that no step stands there twice.
"""

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eos.errors import RunError
from eos.training.events import Events, forget_events
from eos.training.files import disk_full_named

HEADER = "step,seconds,metric,value\n"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number of the log: ``metric`` is ``part/name``, as in ``train/loss``; seconds are of training."""

    step: int
    seconds: float
    metric: str
    value: float


class MetricsLog:
    """Opens the log of a run, cut back to its first ``length`` bytes.

    Arguments:
        path: metrics.csv; the events stand in the same folder.
        length: what a checkpoint recorded of :attr:`length`; 0 begins anew.
        seconds: training time at that point.

    Attributes:
        events: TensorBoard's view, to which all that stands in the log is added.
        length: bytes of the log.
    """

    def __init__(self, path: Path, *, length: int = 0, seconds: float = 0.0) -> None:
        self._path = path
        self.length = length
        with disk_full_named(path):
            self._file = path.open("r+b" if length else "w+b", buffering=0)
            if self._file.seek(0, io.SEEK_END) < length:
                raise RunError(f"{path} is shorter than its checkpoint knew ({length} bytes): the run cannot go on")
            self._file.truncate(length)
            self._file.seek(length)
            forget_events(path.parent)
            self.events = Events(path.parent, seconds=seconds)
            if not length:
                self._append(HEADER)
            for row in read_metrics(path):
                self._add_event(row)

    def write(self, *, step: int, seconds: float, values: dict[str, float]) -> None:
        """Append one row for each of ``values``."""
        rows = [Row(step=step, seconds=seconds, metric=metric, value=value) for metric, value in values.items()]
        with disk_full_named(self._path):
            self._append("".join(f"{step},{seconds:.3f},{row.metric},{row.value!r}\n" for row in rows))
            for row in rows:
                self._add_event(row)

    def synchronise(self) -> None:
        """Make durable what a checkpoint is about to refer to."""
        with disk_full_named(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Hand everything to the operating system."""
        self._file.close()
        with disk_full_named(self._path):
            self.events.close()

    def _append(self, text: str) -> None:
        left = memoryview(text.encode("utf-8"))
        self.length += len(left)
        while left:
            left = left[self._file.write(left) :]

    def _add_event(self, row: Row) -> None:
        self.events.scalar(row.metric, row.value, step=row.step, seconds=row.seconds)


def read_metrics(path: Path) -> Iterator[Row]:
    """The rows of a metrics.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield Row(
                step=int(row["step"]), seconds=float(row["seconds"]), metric=row["metric"], value=float(row["value"])
            )
