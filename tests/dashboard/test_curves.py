"""Which curves a page has room for, and how finely."""

import gzip
from pathlib import Path

import pytest

from eos.dashboard.curves import fit, pack
from eos.dashboard.pack import Packer
from eos.dashboard.run import Run, read_run
from tests.dashboard.folders import write_run

TAGS = ("validation/nats_per_answer", "train/gradient_norm", "train/nats_per_answer", "test/x", "validation/accuracy")


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Two, with 1,000 values of each of five curves."""
    for seed in (1, 2):
        run = write_run(tmp_path / f"seed-{seed}", seed=seed)
        lines = [f"{step},{step}.0,{tag},{step * 0.5}" for step in range(1, 1001) for tag in TAGS]
        (run / "metrics.csv").write_text("\n".join(["step,seconds,metric,value", *lines]) + "\n")
    return [read_run(tmp_path / f"seed-{seed}") for seed in (1, 2)]


ONE = 2 * 4 * (2 * 300 + 3 * 149)


@pytest.mark.parametrize(
    ("room", "left_out", "points"),
    [
        (5 * ONE, [], 300),
        (5 * ONE - 1, ["train/gradient_norm"], 300),
        (2 * ONE, ["validation/nats_per_answer", "test/x", "train/gradient_norm"], 300),
        (ONE - 1, ["validation/nats_per_answer", "test/x", "train/gradient_norm"], 150),
    ],
)
def test_losses_come_first_then_the_key_metric(runs: list[Run], room: int, left_out: list[str], points: int) -> None:
    held = fit(runs, room=room)
    assert (held.left_out, held.points) == (left_out, points)
    packer = Packer()
    entries = list(pack([[0, 1]], runs, held, packer))
    assert {entry["tag"] for entry in entries} == set(TAGS) - set(left_out)
    assert max(entry["points"] for entry in entries) <= points
    assert (
        len(gzip.decompress(packer.packed())) - sum(4 * 4 * entry["points"] for entry in entries if "cell" in entry)
        <= room
    )
