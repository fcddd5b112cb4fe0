"""The chunked kernels, interpreted, against the sequential form in float64: outputs, memory and every gradient."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from eos.engine.sequential import sequential
from eos.engine.triton.segments import TritonChunked
from eos.engine.triton.tiles import Tiles
from tests.compare import assert_close, outcome, terms_of
from tests.engine.runners import reference, runnable, windows
from tests.engine.triton.flags import EVERY, Flags, check, pairwise
from tests.records import CASES, build, cast
from tests.tolerances import FLOAT32_SHORT

#: Several chunks and tiles of a short record.
SMALL = TritonChunked(Tiles(chunk=8, value=16, scores=16, near=16, far=16))
FEW = pairwise(EVERY)


@pytest.mark.parametrize("flags", FEW, ids=str)
def test_pairs_of_flags_equal_the_sequential_form(flags: Flags) -> None:
    check(flags, SMALL, length=21, key=5, value=18)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("flags", FEW, ids=str)
def test_segments_equal_the_sequential_form(flags: Flags) -> None:
    """Two segments of two chunks each, and a rest after them."""
    check(flags, replace(SMALL, segments=2), length=37, key=5, value=18)


@pytest.mark.parametrize("name", ["constant head", "constant key value", "key over all heads", "key shared over k"])
def test_segments_of_what_is_shared(name: str) -> None:
    exact, want = reference(name, 37)
    got = outcome(cast(exact, torch.float32), windows(replace(SMALL, segments=2), 1 << 20), rounded=torch.float32)
    assert_close(got, want, FLOAT32_SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("flags", EVERY, ids=str)
def test_all_flags_equal_the_sequential_form(flags: Flags) -> None:
    check(flags, SMALL, length=13, key=18, value=5)


@pytest.mark.parametrize(("length", "key", "value"), [(3, 1, 3), (7, 3, 17), (16, 17, 3)], ids=partial(str))
def test_odd_sizes(length: int, key: int, value: int) -> None:
    check(Flags(key="every", value="one", reset=True), SMALL, length=length, key=key, value=value)


def test_one_step() -> None:
    check(Flags(reads=2), SMALL, length=1, key=1, value=1)


@pytest.mark.parametrize("flags", [Flags(key="every"), Flags(key="one")], ids=str)
def test_the_sizes_of_a_gpu(flags: Flags) -> None:
    check(flags, TritonChunked(Tiles()), length=65, key=33, value=17)


@pytest.mark.one_in(16)
@pytest.mark.parametrize("name", [name for name in CASES if "chunked" in runnable(build(CASES[name], length=2))])
def test_every_record_that_chunks_serve(name: str) -> None:
    exact, want = reference(name, 17)
    got = outcome(cast(exact, torch.float32), windows(SMALL, 9), rounded=torch.float32)
    # what all steps share has a gradient summed over them, which may cancel
    assert_close(got, want, FLOAT32_SHORT, terms=terms_of(exact, sequential))
