"""A row of ``eos bench scan``: as checks, as JSON and as lines of a Markdown table."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from eos.bench.check import Check
from eos.bench.gpu_clock import Rates

NOT_MEASURED = "not measured"
COLUMNS = (
    "record",
    "B, T, H, K, V",
    "dtype",
    "pass",
    "predicted, ms",
    "ms",
    "TB/s",
    "TFLOP/s",
    "over the floor",
    "peer",
    "its ms",
    "its ms over ours",
)


@dataclass(frozen=True, kw_only=True)
class Against:
    """How a peer did in a row.

    Arguments:
        peer: its name.
        goal: peer's time over ours, at least, or None.
        seconds: its median time, or None.
        ratio: its time over ours; None where it was not measured or computes something else.
        difference: the largest relative difference of its y and gradients, ‖ours − its‖ / ‖its‖; None for a peer
            that is another function.
        note: why a figure is missing.
    """

    peer: str
    goal: float | None
    seconds: float | None = None
    ratio: float | None = None
    difference: float | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One record, forward or forward and backward.

    Arguments:
        name: the record's, its dtype and the pass; stable from run to run.
        plan: algorithm and backend that the engine chooses on a GPU.
        moved, operations: bytes and floating-point operations at least.
        predicted: seconds by the cost model; backward counts as two forward passes.
        seconds: the median time, or None.
        floor: seconds that bytes and operations take at the measured rates, or None.
        goal: ``seconds`` over ``floor``, at most, or None.
        failure: why it could not run, or None.
    """

    name: str
    kind: str
    sizes: tuple[int, int, int, int, int]
    backward: bool
    dtype: str
    plan: str
    moved: int
    operations: int
    predicted: float
    goal: float | None
    peers: tuple[Against, ...]
    seconds: float | None = None
    floor: float | None = None
    failure: str | None = None

    @property
    def missed(self) -> int:
        """How many goals were measured and missed; a row that could not run is one."""
        return sum(not check.met for check in self.checks()) + (self.failure is not None)

    def checks(self) -> Iterator[Check]:
        """Its time, that over the floor, and every peer's over it; where nothing was timed, one that says so."""
        expected = f"predicted {self.predicted * 1e3:.3g} ms, {self.moved:.3g} bytes, {self.operations:.3g} flop"
        if self.seconds is None:
            goals = [] if self.goal is None else [f"the floor (at most {self.goal:g}×)"]
            goals += [it.peer + ("" if it.goal is None else f" (at least {it.goal:g}×)") for it in self.peers]
            why = "" if self.failure is None else f"{self.failure}; "
            yield Check(name=self.name, value=None, detail=f"{why}{expected}; against {', '.join(goals)}")
            return
        speeds = f"{self.moved / self.seconds:.3g} bytes/s, {self.operations / self.seconds:.3g} flop/s"
        yield Check(name=self.name, value=self.seconds * 1e3, unit=" ms", detail=f"{speeds}; {expected}")
        if self.floor is not None:
            detail = f"floor {self.floor * 1e3:.3g} ms"
            name, ratio = f"{self.name}: over the floor", self.seconds / self.floor
            yield Check(name=name, value=ratio, bound=self.goal, side="at most", detail=detail)
        for it in self.peers:
            said = [] if it.seconds is None else [f"{it.seconds * 1e3:.3g} ms"]
            said += [] if it.difference is None else [f"difference {it.difference:.1e}"]
            detail = ", ".join([*said, *([it.note] if it.note else [])])
            yield Check(name=f"{self.name}: {it.peer} / eos", value=it.ratio, bound=it.goal, detail=detail)


def write_json(path: Path, machine: Mapping[str, str], rates: Rates | None, rows: Sequence[Row]) -> None:
    """Everything known, in seconds, bytes and operations; what was not measured is null."""
    held = {
        "machine": machine,
        "rates": None if rates is None else asdict(rates),
        "rows": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(held, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def heading(machine: Mapping[str, str], rates: Rates | None) -> str:
    """What the figures were measured on, and the rates that floors are made of."""
    versions = ", ".join(value if name == "device" else f"{name} {value}" for name, value in machine.items())
    if rates is None:
        return versions
    return f"{versions}; copy {rates.copy / 1e12:.3g} TB/s, bfloat16 products {rates.matrix / 1e12:.4g} TFLOP/s"


def markdown(rows: Sequence[Row]) -> str:
    """A line a row and peer; goals stand in brackets."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *(cells for row in rows for cells in _cells(row))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(row: Row) -> Iterator[list[str]]:
    sizes = ", ".join(map(str, row.sizes))
    own = [row.kind, sizes, row.dtype, "forward + backward" if row.backward else "forward"]
    own.append(f"{row.predicted * 1e3:.3g}")
    if row.seconds is None:
        own += [row.failure or NOT_MEASURED, "", ""]
    else:
        own += [f"{row.seconds * 1e3:.3g}", *(f"{x / row.seconds / 1e12:.3g}" for x in (row.moved, row.operations))]
    over = None if row.seconds is None or row.floor is None else row.seconds / row.floor
    own.append(_figure(over, "≤", row.goal))
    for it in row.peers:
        yield [*own, it.peer, _time(it), _figure(it.ratio, "≥", it.goal)]
        own = [""] * len(own)


def _time(it: Against) -> str:
    said = [f"difference {it.difference:.1e}"] if it.difference is not None else []
    said += [it.note] if it.note else []
    return ", ".join(([f"{it.seconds * 1e3:.3g}"] if it.seconds is not None else []) + said)


def _figure(value: float | None, sign: str, goal: float | None) -> str:
    return " ".join(([] if value is None else [f"{value:.3g}"]) + ([] if goal is None else [f"({sign} {goal:g})"]))
