"""How long a sweep takes, before anything of it has finished and after."""

from pathlib import Path

import pytest

from eos.cli.recipes import load_run_recipe
from eos.cli.sweep_plan import about
from eos.training.sweep import Point
from eos.training.sweep_time import START, Prediction, predict

SMALL = "experiment=overwriting pairs=2 width=16 rows=4 device=cpu".split()
DONE = Point(status="finished", seconds=30.0)


def left(prediction: Prediction, waiting: str, *, jobs: int = 1, **changes: dict[str, object]) -> float:
    points = {folder: Point(status="waiting") for folder in "abcd"} | changes.get("points", {})  # type: ignore[operator]
    seconds = prediction.left(points, waiting=waiting, running=changes.get("running", {}), jobs=jobs)  # type: ignore[arg-type]
    assert seconds is not None
    return seconds


def test_what_has_finished_scales_what_is_left() -> None:
    even = Prediction(seconds=dict.fromkeys("abcd", 10.0))
    assert left(even, "abcd") == 40
    assert left(even, "abcd", jobs=2) == 20
    assert left(even, "abc", jobs=2) == 20, "the third begins when one of two has ended"
    assert left(even, "bcd", points={"a": DONE}) == 90, "three times as slow as predicted"
    assert left(even, "cd", points={"a": DONE}, running={"b": 12.0}) == 60 + 18
    assert left(even, "", running={"b": 100.0}) == 0, "longer than predicted"


def test_what_cannot_be_predicted_is_told_by_what_has_finished() -> None:
    none = Prediction(unknown="no text")
    waiting = {folder: Point(status="waiting") for folder in "ab"}
    assert none.left(waiting, waiting="ab", running={}, jobs=1) is None
    assert none.left({**waiting, "a": DONE}, waiting="b", running={}, jobs=1) == 30


def test_a_longer_run_is_predicted_longer() -> None:
    recipes = {
        "once": load_run_recipe([*SMALL, "steps=1000"]),
        "twice": load_run_recipe([*SMALL, "steps=2000"]),
        "wide": load_run_recipe([*SMALL, "steps=1000", "width=256"]),
        "timed": load_run_recipe([*SMALL, "steps=null", "minutes=3"]),
    }
    seconds = {name: whole - START for name, whole in predict(recipes, seeds=1, threads=1).seconds.items()}
    assert 0 < seconds["once"] < seconds["wide"]
    assert seconds["twice"] == pytest.approx(2 * seconds["once"])
    assert seconds["timed"] == 180


def test_no_step_is_measured_that_takes_more_memory_than_a_plan_should(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []

    def step(case: object, *, rows: int) -> float:
        measured.append(rows)
        return 1.0

    monkeypatch.setattr("eos.training.sweep_time._Case.measured", step)
    large = load_run_recipe(["experiment=scale_family", "size=70m", "device=cpu"])
    assert predict({"large": large}, seeds=1, threads=1).seconds["large"] > 1e6
    assert measured == []
    predict({"small": load_run_recipe(SMALL)}, seeds=1, threads=1)
    assert measured == [4]


def test_seeds_are_runs_one_after_the_other() -> None:
    recipe = {"timed": load_run_recipe([*SMALL, "steps=null", "minutes=3"])}
    assert predict(recipe, seeds=3, threads=1).seconds == {"timed": START + 540}


def test_data_that_are_missing_leave_the_time_unknown(tmp_path: Path) -> None:
    recipe = load_run_recipe(["task=text", f"task.source={tmp_path / 'nowhere.txt'}", "device=cpu"])
    prediction = predict({"a": recipe}, seeds=1, threads=1)
    assert prediction.seconds == {}
    assert prediction.unknown is not None
    assert "nowhere.txt" in prediction.unknown


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (2, "about 5 s"),
        (42, "about 40 s"),
        (170, "about 3 min"),
        (5900, "about 98 min"),
        (7300, "about 2 h"),
        (9700, "about 2 h 40 min"),
        (200000, "about 55 h"),
    ],
)
def test_a_time_is_told_no_finer_than_it_is_known(seconds: float, said: str) -> None:
    assert about(seconds) == said
