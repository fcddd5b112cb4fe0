"""A ladder of runs on disk becomes laws, a report, and what a budget buys."""

import json
from pathlib import Path

import pytest

from eos.cli.main import main
from eos.dashboard.ladders import LADDER
from eos.errors import RunError
from eos.training.result import Result
from search.scale.law import Law
from search.scale.report import write_report
from search.scale.runs import Point, read_ladder
from search.scale.study import frontier, study

LAW = Law(floor=1.2, coefficients=(30.0, 40.0), exponents=(0.35, 0.3), residual=0.0)
SIZES = [(n, d) for n in (25e3, 1e5, 3e5, 1e6) for d in (5e4, 2e5, 1e6, 4e6)]


def write_run(folder: Path, parameters: float, tokens: float, loss: float | None, **changes: object) -> None:
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text("model: {}\n")
    values: dict[str, object] = {
        "status": "finished",
        "names": {"model": "gla"},
        "seed": 1,
        "tokens": int(tokens),
        "non_embedding_parameters": int(parameters),
        "training_flops_per_token": 7.0 * parameters,
        "metrics": {"validation": {"bits_per_byte": 1.0, "nats_per_token": loss}},
    }
    Result(**(values | changes)).write(folder / "result.json")  # type: ignore[arg-type]


@pytest.fixture
def ladder(tmp_path: Path) -> Path:
    for number, (parameters, tokens) in enumerate(SIZES):
        write_run(tmp_path / f"run-{number}", parameters, tokens, LAW(parameters, tokens))
    return tmp_path


def test_the_law_of_runs_on_disk_is_found_again(ladder: Path) -> None:
    (points,) = read_ladder(ladder).points.values()
    found = study(points, draws=20)
    assert found.both is not None
    assert found.both.exponents == pytest.approx(LAW.exponents, rel=1e-2)
    assert found.both.floor == pytest.approx(LAW.floor, rel=1e-2)
    assert found.each == pytest.approx(7.0)
    assert found.share is not None
    # N ∝ C^(b / (a + b))
    assert found.share.parameters == pytest.approx(0.3 / 0.65, rel=1e-2)
    # losses without noise: every draw tells the same law, to rounding
    assert found.share.range == pytest.approx((found.share.parameters, found.share.parameters), rel=1e-6)
    largest = found.budgets[0]
    assert largest.best.parameters * largest.best.tokens * found.each == pytest.approx(largest.compute)
    assert not found.missing


def test_the_frontier_is_what_nothing_of_as_little_compute_beats() -> None:
    def point(compute: float, loss: float) -> Point:
        return Point(model="m", parameters=1, tokens=1, compute=compute, loss=loss, folder=Path(), seconds=0.0)

    points = [point(1, 3.0), point(2, 3.5), point(3, 2.5), point(4, 2.5), point(5, 2.0)]
    assert [each.compute for each in frontier(points)] == [1, 3, 5]


def test_what_gives_no_point_is_named(ladder: Path) -> None:
    write_run(ladder / "failed", 1e5, 1e5, 2.0, status="failed", error="step 3: not finite")
    write_run(ladder / "diverged", 1e5, 1e5, None)
    write_run(ladder / "old", 1e5, 1e5, 2.0, non_embedding_parameters=None)
    (ladder / "begun").mkdir()
    (ladder / "begun" / "recipe.yaml").write_text("model: {}\n")
    found = read_ladder(ladder)
    assert len(found.points["gla"]) == len(SIZES)
    assert sorted(found.left_out) == [
        "begun: not finished",
        "diverged: no cross-entropy that is finite and above 0",
        "failed: step 3: not finite",
        "old: its result does not say parameters outside of embeddings: an earlier version wrote it",
    ]


def test_runs_on_other_texts_are_other_laws_and_a_bad_result_is_left_out(ladder: Path) -> None:
    for number in range(2):
        write_run(ladder / f"other-{number}", 1e5, 1e5, 2.0)
        (ladder / f"other-{number}" / "recipe.yaml").write_text("task: {name: text, source: my.txt, cache: c}\n")
    write_run(ladder / "bad", 1e5, 1e5, 2.0)
    (ladder / "bad" / "result.json").write_text("{")
    found = read_ladder(ladder)
    counts = {model: len(points) for model, points in found.points.items()}
    assert counts == {"gla task.name=null task.source=null": 16, "gla task.name=text task.source=my.txt": 2}
    assert len(found.left_out) == 1
    assert found.left_out[0].startswith("bad: ")


def test_two_budgets_tell_a_law_and_not_how_sure_it_is() -> None:
    points = [
        Point(model="m", parameters=n, tokens=n, compute=1e15 * n, loss=3 / n**0.1, folder=Path(), seconds=0.0)
        for n in (1, 10)
    ]
    found = study(points, draws=5)
    assert found.power is not None
    assert found.power.exponents[0] == pytest.approx(0.1, rel=1e-3)
    assert found.exponent is None


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no finished run that a law could be of: there are none"):
        read_ladder(tmp_path)


def test_too_few_runs_say_which_law_is_missing(tmp_path: Path) -> None:
    for number, (parameters, tokens) in enumerate(SIZES[:3]):
        write_run(tmp_path / f"run-{number}", parameters, tokens, LAW(parameters, tokens))
    (points,) = read_ladder(tmp_path).points.values()
    found = study(points, draws=5)
    assert found.both is None
    assert found.power is not None
    assert any("a law of 5 numbers needs at least as many runs, got 3" in reason for reason in found.missing)


def test_sizes_that_explain_nothing_make_no_law(tmp_path: Path) -> None:
    flat = Law(floor=1.2, coefficients=(1e-3, 40.0), exponents=(0.35, 0.3), residual=0.0)
    for number, (parameters, tokens) in enumerate(SIZES):
        write_run(tmp_path / f"run-{number}", parameters, tokens, flat(parameters, tokens))
    (points,) = read_ladder(tmp_path).points.values()
    found = study(points, draws=5)
    assert found.both is None
    assert found.share is None
    assert found.budgets == []
    assert any("these runs do not tell what either does" in reason for reason in found.missing)


def test_losses_that_break_down_make_no_power_law() -> None:
    points = [
        Point(model="m", parameters=n, tokens=n, compute=1e15 * n, loss=loss, folder=Path(), seconds=0.0)
        for n, loss in ((1, 3.0), (2, 1e-2), (4, 1e-3), (8, 1e-5))
    ]
    found = study(points, draws=5)
    assert found.power is None
    assert found.exponent is None
    assert any("power law of compute: these losses fall more steeply" in reason for reason in found.missing)


def test_the_report_holds_tables_a_figure_and_the_record(ladder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = write_report(read_ladder(ladder), ladder, draws=10)
    assert {"report.md", "laws.csv", "laws.tex", "budgets.csv", "runs.csv", "scale.svg", LADDER} <= set(names)
    assert all((ladder / name).stat().st_size for name in names)
    said = (ladder / "report.md").read_text()
    assert "gla: 16 runs" in said
    assert "the best N grows as C^0.46" in said
    record = json.loads((ladder / LADDER).read_text())["gla"]
    assert len(record["points"]) == 16
    assert record["points"][0]["folder"].startswith("run-")
    assert main(["scale", "report", str(ladder)]) == 0
    assert str(ladder / "report.md") in capsys.readouterr().out


@pytest.mark.slow
def test_a_ladder_with_a_run_that_failed_still_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["layers=1", "width=16", "task.length=32", "training.rows=8", "training.device=cpu", "training.sample=0"]
    words += [
        "training.evaluation_tokens=1024",
        "training.steps=null",
        "training.validation_tokens=1024",
        "training.tokens=2048,4096",
        "task.source=null,missing.txt",
    ]
    assert main(["scale", "model=gla", *words, "run=ladder"]) == 2
    said = capsys.readouterr()
    assert "2 of 4 failed" in said.err
    assert "ladder/report.md" in said.out
    assert "2 runs" in (tmp_path / "ladder/report.md").read_text()
