"""The Python time that a scan adds to its algorithm."""

from collections.abc import Callable, Iterator
from functools import partial
from unittest import mock

from eos import engine
from eos.bench.check import Check
from eos.bench.measure import side_by_side
from eos.bench.records import KINDS, sample
from eos.engine import run
from eos.engine.planned import run_planned

CALLS = 1000


def checks() -> Iterator[Check]:
    """The time of a scan whose algorithm returns at once: the checks, the plan from its cache, the wrapping."""
    for kind in KINDS:
        record = sample(kind, 64).record
        done = run_planned(record, engine.plan(record), trace=False)
        with mock.patch.object(run, "run_planned", new=_returning(done)):
            seconds = side_by_side({kind: partial(engine.scan, record)}, rounds=CALLS)[kind]
        yield Check(
            name=f"{kind}: Python time added by eos.scan",
            value=seconds * 1e6,
            bound=100.0,
            unit="µs",
            side="at most",
        )


def _returning(value: object) -> Callable[..., object]:
    def at_once(*_: object, **__: object) -> object:
        return value

    return at_once
