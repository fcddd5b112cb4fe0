"""The kernels compiled for GPUs that need not be there, held to recorded registers, spills and shared memory."""

import csv
import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
#: Bytes of shared memory that a program may have; twice the last word, with 1,024 of the system's each, fit in an SM.
SHARED = {"sm_80": 166_912, "sm_90": 232_448, "gfx942": 65_536}
TWICE = 115_712


@lru_cache(maxsize=1)
def recorded() -> dict[tuple[str, str, int, str], list[dict[str, str]]]:
    """The limits of every case, a row a launch."""
    cases: dict[tuple[str, str, int, str], list[dict[str, str]]] = {}
    with (HERE / "limits.csv").open() as file:
        for row in csv.DictReader(file):
            cases.setdefault((row["target"], row["case"], int(row["size"]), row["dtype"]), []).append(row)
    return cases


@pytest.mark.one_in(24)
@pytest.mark.parametrize("case", sorted(recorded()), ids=lambda case: " ".join(map(str, case)))
def test_kernels_stay_within_their_limits(case: tuple[str, str, int, str], tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(HERE.parents[2])}
    command = [sys.executable, str(HERE / "compiled.py"), json.dumps([case])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    got = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["kernel"] for row in got] == [row["kernel"] for row in recorded()[case]]
    for row, limit in zip(got, recorded()[case], strict=True):
        for figure in ("registers", "spilled", "shared"):
            assert row[figure] <= int(limit[figure]), (row, limit)
        assert row["shared"] <= SHARED[case[0]], row
        assert row["serialized"] == (limit["serialized"] == "True"), row


def test_what_runs_forward_on_hopper_spills_nothing_and_fits_twice() -> None:
    """In 16 bits, K = V up to 128: a pass forward, and the sweeps of a pass back that carry memories.

    Without a decay one program an SM has all the shared memory it asks for, and loads further ahead.
    """
    seen = 0
    for (target, case, size, dtype), rows in recorded().items():
        if target == "sm_90" and dtype == "bfloat16" and size <= 128:
            for row in rows:
                if row["kernel"] in ("chunked_forward", "chunked_scores", "elementwise_forward"):
                    seen += 1
                    assert int(row["spilled"]) == 0, row
                    assert int(row["shared"]) <= TWICE or case == "chunked none", row
    assert seen >= 60
