"""The page as a file, and the full data beside it."""

import csv
import os
import shutil
from pathlib import Path

import pytest

from eos.cli.main import main
from eos.dashboard.gather import Reader
from eos.dashboard.write import write_page
from eos.errors import RunError
from tests.dashboard.folders import write_run


def test_the_full_data_stands_beside_the_page_and_takes_nothing_away(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_run(tmp_path / "runs" / f"seed-{seed}", seed=seed)
    page = tmp_path / "page.html"
    own = tmp_path / "page-data" / "notes.txt"
    own.parent.mkdir()
    own.write_text("mine")
    for seed in (3, 4):
        write_run(tmp_path / "runs" / f"seed-{seed}", seed=seed)
    written = write_page(Reader([tmp_path / "runs"], command="eos report").gather(), page)
    assert written.counts == "4 runs: 4 ok"
    for seed in (3, 4):
        shutil.rmtree(tmp_path / "runs" / f"seed-{seed}")
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


@pytest.mark.parametrize("name", ["run-1.csv", "runs.csv"])
def test_what_somebody_else_put_there_is_not_written_over(tmp_path: Path, name: str) -> None:
    write_run(tmp_path / "runs" / "a")
    precious = tmp_path / "page-data" / name
    precious.parent.mkdir()
    precious.write_text("precious")
    found = Reader([tmp_path / "runs"], command="eos report").gather()
    with pytest.raises(RunError, match=rf"{name} is not of an earlier page"):
        write_page(found, tmp_path / "page.html")
    assert precious.read_text() == "precious"
    assert not (tmp_path / "page.html").exists()
    write_page(found, tmp_path / "page.html", data=False)


def test_a_file_in_the_place_of_the_data_is_told(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "a")
    (tmp_path / "page-data").write_text("a file")
    with pytest.raises(RunError, match="is no folder; choose another -o, or --no-data"):
        write_page(Reader([tmp_path / "runs"], command="eos report").gather(), tmp_path / "page.html")


def test_a_folder_whose_name_is_no_text_is_written(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    write_run(tmp_path / "runs" / os.fsdecode(b"\xff\xfe"))
    written = write_page(Reader([tmp_path / "runs"], command="eos report").gather(), tmp_path / "page.html")
    assert written.counts == "1 run: 1 ok"


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
