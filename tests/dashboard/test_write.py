"""The page as a file, and the full data beside it."""

import csv
from pathlib import Path

import pytest

from eos.cli.main import main
from eos.dashboard.gather import Reader
from eos.dashboard.write import write_page
from tests.dashboard.folders import write_run


def test_the_full_data_stands_beside_the_page_and_takes_nothing_away(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_run(tmp_path / "runs" / f"seed-{seed}", seed=seed)
    page = tmp_path / "page.html"
    own = tmp_path / "page-data" / "notes.txt"
    own.parent.mkdir()
    own.write_text("mine")
    (own.parent / "run-7.csv").write_text("of an earlier page")
    written = write_page(Reader([tmp_path / "runs"], command="eos report").gather(), page)
    assert written.counts == "2 runs: 2 ok"
    assert own.read_text() == "mine"
    assert sorted(path.name for path in own.parent.glob("run-*")) == ["run-0.csv", "run-1.csv"]
    rows = list(csv.DictReader((own.parent / "runs.csv").open(encoding="utf-8")))
    assert [(row["seed"], row["test/accuracy"], row["curves"]) for row in rows] == [
        ("1", "0.5", "run-0.csv"),
        ("2", "0.5", "run-1.csv"),
    ]
    log = tmp_path / "runs" / "seed-2" / "metrics.csv"
    assert (own.parent / "run-1.csv").read_bytes() == log.read_bytes()


def test_the_command_says_what_it_wrote_and_refuses_what_is_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "runs" / "a")
    page = tmp_path / "here" / "page.html"
    assert main(["report", str(tmp_path / "runs"), "-o", str(page), "--no-data"]) == 0
    assert [path.name for path in page.parent.iterdir()] == ["page.html"]
    assert "1 run: 1 ok" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "missing"), "-o", str(page)]) == 2
    assert "missing is no folder" in capsys.readouterr().err
