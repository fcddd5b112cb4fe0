"""The elementwise kernels, interpreted, against the sequential form in float64: outputs, memory and every gradient."""

import pytest
import torch

from eos.engine.triton.elementwise import TritonElementwise
from eos.engine.triton.tiles import Scans
from tests.compare import assert_close, outcome
from tests.engine.runners import reference, runnable, windows
from tests.records import CASES, build, cast
from tests.tolerances import FLOAT32_SHORT

#: Two chunks of a record of five steps.
SMALL = TritonElementwise(Scans(forward=4, backward=4, value=8))
SERVED = [name for name in CASES if "elementwise" in runnable(build(CASES[name], length=2))]


def check(name: str, algorithm: TritonElementwise, *, length: int, window: int) -> None:
    exact, want = reference(name, length)
    got = outcome(cast(exact, torch.float32), windows(algorithm, window), rounded=torch.float32)
    assert_close(got, want, FLOAT32_SHORT)


@pytest.mark.one_in(14)
@pytest.mark.parametrize("name", SERVED)
def test_every_record_that_has_no_erase(name: str) -> None:
    check(name, SMALL, length=5, window=5)


def test_several_tiles_and_windows() -> None:
    check("rate key value", TritonElementwise(Scans(forward=2, backward=4, value=4)), length=4, window=3)
