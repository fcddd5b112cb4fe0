"""The kernels of records with an erase, interpreted, against the sequential form in float64."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from eos.engine.sequential import sequential
from eos.engine.triton.delta import TritonDelta
from eos.engine.triton.tiles import Tiles
from tests.compare import assert_close, outcome, terms_of
from tests.engine.runners import reference, runnable, windows
from tests.engine.triton.flags import ERASING, Flags, check, pairwise
from tests.records import CASES, build, cast
from tests.tolerances import FLOAT32_SHORT

#: Several chunks and tiles of a short record.
SMALL = TritonDelta(Tiles(chunk=8, value=16, scores=16, near=16, far=16))


@pytest.mark.parametrize("flags", pairwise(ERASING), ids=str)
def test_segments_equal_the_sequential_form(flags: Flags) -> None:
    """Three segments of one chunk each, and a rest after them."""
    check(flags, replace(SMALL, segments=3), length=29, key=5, value=18)


def test_segments_of_what_is_shared() -> None:
    exact, want = reference("constant erase", 29)
    got = outcome(cast(exact, torch.float32), windows(replace(SMALL, segments=3), 1 << 20), rounded=torch.float32)
    assert_close(got, want, FLOAT32_SHORT, terms=terms_of(exact, sequential))


@pytest.mark.parametrize("flags", pairwise(ERASING), ids=str)
def test_pairs_of_flags_equal_the_sequential_form(flags: Flags) -> None:
    check(flags, SMALL, length=13, key=5, value=18)


@pytest.mark.slow
@pytest.mark.parametrize("flags", ERASING, ids=str)
def test_all_flags_equal_the_sequential_form(flags: Flags) -> None:
    check(flags, SMALL, length=13, key=18, value=5)


@pytest.mark.parametrize(("length", "key", "value"), [(1, 1, 1), (3, 1, 3), (16, 17, 3)], ids=partial(str))
def test_odd_sizes(length: int, key: int, value: int) -> None:
    check(Flags(key="every", reset=True, erase=True), SMALL, length=length, key=key, value=value)


def test_the_sizes_of_a_gpu() -> None:
    check(Flags(key="one", erase=True), TritonDelta(Tiles()), length=65, key=33, value=17)


@pytest.mark.one_in(8)
@pytest.mark.parametrize("name", [name for name in CASES if "delta" in runnable(build(CASES[name], length=2))])
def test_every_record_that_delta_serves(name: str) -> None:
    exact, want = reference(name, 21)
    got = outcome(cast(exact, torch.float32), windows(SMALL, 11), rounded=torch.float32)
    assert_close(got, want, FLOAT32_SHORT)
