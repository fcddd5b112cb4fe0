"""The tables of tiles: what is shipped, and a user's own, which wins where it was measured and nowhere else."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import eos
from eos.engine import planned
from eos.engine.plan import Plan, plan_structure
from eos.engine.structure import structure_of
from eos.engine.triton import table
from eos.engine.triton.support import ALGORITHMS
from eos.engine.triton.table import Measured, own_path, own_table, read, written
from eos.engine.triton.tiles import SHIPPED, SIZES, Scans, Served, Tiles, architecture_of
from eos.errors import TilesError
from tests.engine.triton.flags import Flags, record
from tests.records import cast

GPU = "A GPU of 2026"
TILES = Tiles(chunk=32, value=16, near=16, forward_warps=8, stages=3)


def row(algorithm: str = "chunked", *, size: int = 64, gpu: str = GPU, dtype: torch.dtype = torch.bfloat16) -> Measured:
    tiles = Scans(forward=16) if algorithm == "elementwise" else TILES
    served = Served.of(algorithm, key=size, value=size, dtype=dtype, architecture=architecture_of("cuda"))
    return Measured(served=served, gpu=gpu, measured="2026-01-31", tiles=tiles)


def planned_on_gpu(algorithm: str = "chunked", *, size: int = 64, dtype: torch.dtype = torch.bfloat16) -> Plan:
    made = cast(record(Flags(erase=algorithm == "delta"), length=2, key=size, value=size), dtype)
    structure = replace(structure_of(made), device="cuda", length=4096)
    return plan_structure(structure, backend="triton", algorithm=algorithm)


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """One with a GPU, whose user has a table in a folder of this test's, if any."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(table, "gpu_name", lambda: GPU)
    for cached in (own_table, plan_structure):
        cached.cache_clear()
    yield
    for cached in (own_table, plan_structure):
        cached.cache_clear()


@pytest.fixture
def own() -> Callable[[Any], Path]:
    """Writes what is given as the user's table."""

    def write(held: Any) -> Path:
        own_path().parent.mkdir(exist_ok=True)
        own_path().write_text(held if isinstance(held, str) else json.dumps(held), encoding="utf-8")
        return own_path()

    return write


def test_what_is_shipped_serves_every_kind_of_record_and_is_what_a_table_may_hold() -> None:
    assert {served.algorithm for served in SHIPPED} == set(ALGORITHMS)
    for key, value in ((1, 16), (16, 17), (65, 33), (256, 256), (16, 4096)):
        for algorithm in ALGORITHMS:
            served = Served.of(algorithm, key=key, value=value, dtype=torch.float16, architecture="sm_80")
            assert served in SHIPPED
            assert served.key >= min(key, 256)
            assert served.value >= min(value, 256)
    for tiles in SHIPPED.values():
        assert all(size in SIZES[name] for name, size in asdict(tiles).items())


def test_what_is_written_is_what_is_read(own: Callable[[Any], Path]) -> None:
    rows = [row(algorithm, size=size) for algorithm in ALGORITHMS for size in (16, 256)]
    assert list(read(own(written(rows))).values()) == rows
    assert read(own_path().parent / "none.json") == {}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_row_measured_here_wins_for_exactly_what_it_serves(own: Callable[[Any], Path], algorithm: str) -> None:
    mine = row(algorithm)
    own(written([mine, row(algorithm, size=128, gpu="Another"), row(algorithm, dtype=torch.float32, gpu="Another")]))
    found = planned_on_gpu(algorithm, size=40)
    assert found.tiles is not None
    assert found.tiles.tiles == mine.tiles
    assert found.chunk == (16 if algorithm == "elementwise" else 32)
    assert ", tiles: yours, measured 2026-01-31\n" in str(found)
    for other in (planned_on_gpu(algorithm, size=100), planned_on_gpu(algorithm, dtype=torch.float32)):
        assert other.tiles is not None
        assert other.tiles.tiles in SHIPPED.values()
        assert ", tiles: shipped\n" in str(other)


def test_a_decay_over_v_takes_tiles_that_do_not_spill() -> None:
    made = cast(record(Flags(key="every", value="every"), length=2, key=64, value=64), torch.bfloat16)
    plan = plan_structure(replace(structure_of(made), device="cuda", length=4096), algorithm="chunked")
    assert plan.tiles is not None
    assert isinstance(plan.tiles.tiles, Tiles)
    assert (plan.tiles.tiles.chunk, plan.tiles.tiles.value, plan.chunk) == (32, 16, 32)


def test_the_plans_tiles_are_those_that_run(own: Callable[[Any], Path]) -> None:
    own(written([row("delta")]))
    assert planned._algorithm(planned_on_gpu("delta")).tiles == TILES  # type: ignore[attr-defined]


def test_a_table_that_changes_does_not_change_the_plans_of_a_process(own: Callable[[Any], Path]) -> None:
    assert "tiles: shipped" in str(planned_on_gpu())
    own(written([row(), row(size=128)]))
    for size in (64, 128):
        assert "tiles: shipped" in str(planned_on_gpu(size=size))
    own_table.cache_clear()
    plan_structure.cache_clear()
    assert "tiles: yours" in str(planned_on_gpu())


def test_nothing_is_read_before_a_record_is_planned_for_a_gpu(own: Callable[[Any], Path]) -> None:
    broken = own("{")
    code = """
import torch, eos
from eos.engine.triton.table import own_table
x = torch.ones(1, 3, 2, 4)
record = eos.Recurrence(input=x, expand=x, shrink=x, transition=eos.Transition())
eos.scan(record)
assert "tiles" not in str(eos.plan(record))
assert own_table.cache_info().misses == 0
"""
    root = Path(__file__).parents[3]
    environment = os.environ | {"XDG_CONFIG_HOME": str(broken.parents[1]), "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    interpreted = cast(record(Flags(), length=2, key=4, value=4), torch.float32)
    assert "tiles: shipped" in str(eos.plan(interpreted, backend="triton"))
    with pytest.raises(TilesError):
        planned_on_gpu()


def test_a_relative_folder_of_configuration_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "here")
    assert own_path() == Path("~/.config/eos/tiles.json").expanduser()


def _changed(**changes: Any) -> Any:
    """A table of one row with some keys changed; ``tiles`` changes what is in it."""
    held = written([row()])
    for name, value in changes.items():
        if name == "tiles" and isinstance(value, dict):
            held["rows"][0]["tiles"] |= value
        else:
            held["rows"][0][name] = value
    return held


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ("{", r"cannot be read as JSON \(Expecting property name"),
        ([], 'is not an object with the one key "rows"'),
        ({"rows": [3]}, r"rows\[0\] is 3, not an object"),
        (_changed(extra=1), r"rows\[0\] lacks or does not know extra; its keys are gpu, algorithm, key,"),
        (_changed(tiles={"chunk": 48}), r"rows\[0\]\.tiles\.chunk is 48; allowed: 16, 32, 64\. Mend it, or delete it"),
        (_changed(tiles={"stages": True}), r"rows\[0\]\.tiles\.stages is True; allowed: 1, 2, 3"),
        (_changed(tiles={"warps": 4}), r"rows\[0\]\.tiles lacks or does not know warps; its keys are chunk, value"),
        (_changed(tiles=[]), r"rows\[0\]\.tiles is \[\], not an object"),
        (_changed(algorithm="elementwise"), r"rows\[0\]\.tiles lacks or does not know backward, backward_warps, chunk"),
        (_changed(algorithm="fft"), r"rows\[0\]\.algorithm is 'fft'; allowed: chunked, elementwise, delta"),
        (_changed(key=48), r"rows\[0\]\.key is 48; allowed: 16, 32, 64, 128, 256"),
        (_changed(bits=16.0), r"rows\[0\]\.bits is 16\.0; allowed: 16, 32"),
        (_changed(gpu=None), r"rows\[0\]\.gpu is None, not the name of a GPU"),
        (_changed(measured="today"), r"rows\[0\]\.measured is 'today', not a day such as 2026-01-31"),
        ({"rows": _changed()["rows"] * 2}, r"rows\[1\] serves what a row before it serves: chunked K=64 V=64 16 bits"),
    ],
)
def test_a_wrong_table_is_refused_with_its_file_and_key(own: Callable[[Any], Path], held: Any, said: str) -> None:
    path = own(held)
    with pytest.raises(TilesError, match=rf"{path}: .*{said}"):
        planned_on_gpu()
