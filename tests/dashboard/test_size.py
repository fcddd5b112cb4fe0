"""Five hundred runs of two thousand logged steps become a page in time, in memory and in size."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.dashboard.folders import write_run

RUNS, STEPS, SEEDS = 500, 2000, 5
TAGS = ("train/nats_per_answer", "train/learning_rate", "train/gradient_norm", "train/tokens_per_second")
#: The command; at the end it says what it held at most. What is told of a child counts its parent's memory, too.
COMMAND = """
import re, sys
from pathlib import Path
from eos.cli.main import main
status = main(sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
sys.exit(status)
"""
#: Bounds: seconds and bytes of the command, bytes of the page.
SECONDS, MEMORY, PAGE = 20.0, 1e9, 15e6


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of a hundred cells with five seeds each."""
    root = tmp_path_factory.mktemp("many")
    draw = np.random.default_rng(0)
    for number in range(RUNS):
        cell, seed = divmod(number, SEEDS)
        run = write_run(root / f"cell-{cell}" / f"seed-{seed}", f"learning_rate={1e-3 * (1 + cell)}", seed=seed)
        values = draw.lognormal(size=(STEPS, len(TAGS)))
        lines = [
            f"{step},{0.1 * step:.3f},{tag},{value!r}"
            for step, row in enumerate(values.tolist(), start=1)
            for tag, value in zip(TAGS, row, strict=True)
        ]
        (run / "metrics.csv").write_text("\n".join(["step,seconds,metric,value", *lines]) + "\n")
    return root


@pytest.mark.slow
@pytest.mark.alone
def test_five_hundred_runs_are_one_page_in_time(many: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", COMMAND, "report", str(many), "-o", str(tmp_path / "page.html")]
    began = time.monotonic()
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    took, peak = time.monotonic() - began, 1024 * int(said.splitlines()[-1])
    size = (tmp_path / "page.html").stat().st_size
    print(f"{RUNS} runs: {took:.1f} s, {peak / 1e6:.0f} MB, page {size / 1e6:.1f} MB")  # noqa: T201
    assert took <= SECONDS
    assert peak <= MEMORY
    assert size <= PAGE
    assert len(list((tmp_path / "page-data").glob("run-*.csv"))) == RUNS
