"""Sweeps: every combination, the best of each, and scores of suites."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from eos import registry
from eos.cli.recipes import load_run_recipe
from eos.cli.sweep import locate
from eos.cli.sweep_request import asked, several, split
from eos.errors import CompositionError, EOSError, RecipeError, RunError
from eos.tasks.task import Standard
from eos.training.result import Result
from eos.training.sweep import Point, Sweep, begin, read_sweep
from eos.training.sweep_run import states, to_do
from eos.training.sweep_scores import outcome, scores


def finish(path: Path, validation: float | None, test: float | None, *, higher: bool = True) -> None:
    """A run that has finished with these."""
    standard = Standard(metric="accuracy", higher=higher, chance=0.1, floor=0.2, trivial="a guess")
    metrics = {"validation": {"accuracy": validation}, "test": {"accuracy": test}}
    path.mkdir(parents=True)
    Result(status="finished", names={}, seed=1, metrics=metrics, standard=asdict(standard)).write(path / "result.json")


def sweep(**changes: object) -> Sweep:
    chosen: dict[str, object] = {"axes": {"model": ["gla", "llama"], "rate": ["1", "2"]}, "by": ["model"]}
    return Sweep(overrides=["steps=3"], **{**chosen, **changes})  # type: ignore[arg-type]


def sweep_of(*arguments: str) -> Sweep:
    return asked(split(arguments))[0]


def test_every_combination_is_there_once() -> None:
    cells = sweep(settings={"recall": {"long": ["length=9"], "short": []}}).cells()
    assert len({cell.folder for cell in cells}) == len(cells) == 8
    assert cells[0].folder == "recall/long/model=gla,rate=1"
    assert cells[0].overrides == ["steps=3", "length=9", "model=gla", "rate=1"]
    assert cells[0].name == "recall long model=gla rate=1"
    with pytest.raises(RecipeError, match="two combinations share the folder"):
        sweep(axes={"model": ["gla", "gla"]}).cells()


def test_the_best_is_chosen_on_the_validation_part(tmp_path: Path) -> None:
    finish(tmp_path / "model=gla,rate=1", 0.5, 0.9)
    finish(tmp_path / "model=gla,rate=2", 0.6, 0.4)
    finish(tmp_path / "model=llama,rate=1", None, None)
    gla, llama = scores(sweep(), tmp_path)
    assert gla.best[""][""].choices == {"rate": "2"}
    assert (gla.best[""][""].test.mean, gla.score) == (0.4, 0.4)
    assert (llama.best, llama.score) == ({}, None)
    assert scores(sweep(select="test"), tmp_path)[0].score == 0.9


def test_the_best_of_what_should_be_small_is_the_smallest(tmp_path: Path) -> None:
    finish(tmp_path / "model=gla,rate=1", 0.5, 0.9, higher=False)
    finish(tmp_path / "model=gla,rate=2", 0.6, 0.4, higher=False)
    assert scores(sweep(), tmp_path)[0].score == 0.9


def test_a_suite_is_the_mean_over_tasks_of_the_mean_over_settings(tmp_path: Path) -> None:
    settings: dict[str, dict[str, list[str]]] = {"recall": {"a": [], "b": []}, "copy": {"a": []}}
    suite = sweep(axes={"model": ["gla"]}, settings=settings)
    for place, value in (("recall/a", 0.2), ("recall/b", 0.4), ("copy/a", 0.9)):
        assert scores(suite, tmp_path)[0].score is None
        finish(tmp_path / place / "model=gla", value, value)
    (score,) = scores(suite, tmp_path)
    assert score.tasks == pytest.approx({"recall": 0.3, "copy": 0.9})
    assert score.score == pytest.approx(0.6)


def test_what_is_not_finite_is_no_part_of_a_score(tmp_path: Path) -> None:
    suite = sweep(axes={"model": ["gla"]}, settings={"recall": {"a": [], "b": []}})
    finish(tmp_path / "recall" / "a" / "model=gla", 0.2, None)
    finish(tmp_path / "recall" / "b" / "model=gla", 0.4, 0.4)
    (score,) = scores(suite, tmp_path)
    assert (score.tasks, score.score) == ({}, None)


def test_what_is_typed_changes_what_a_suite_says() -> None:
    typed = ("suite=mad_small", "model=gla", "training.learning_rate=5e-2", "task.epoch=10", "training.steps=7")
    for cell in sweep_of(*typed).cells():
        recipe = load_run_recipe(cell.overrides)
        assert (recipe.training.steps, recipe.training.learning_rate, recipe.task.options.epoch) == (7, 5e-2, 10)
    widths = {load_run_recipe(cell.overrides).model.width for cell in sweep_of(*typed, "width=16,32").cells()}
    assert widths == {16, 32}


def test_a_group_counts_when_all_its_seeds_have_finished(tmp_path: Path) -> None:
    group = tmp_path / "group"
    for seed, value in ((1, 0.5), (2, 0.7)):
        finish(group / f"seed-{seed}", value, value)
    (group / "group.json").write_text(json.dumps({"status": "running", "seeds": [1, 2]}))
    assert outcome(group).test is None
    (group / "group.json").write_text(json.dumps({"status": "finished", "seeds": [1, 2]}))
    found = outcome(group).test
    assert found is not None
    assert found.mean == pytest.approx(0.6)
    assert outcome(tmp_path / "nowhere").status == "failed"


def test_a_sweep_is_read_as_it_was_begun(tmp_path: Path) -> None:
    begun = sweep(seeds=[1, 2], settings={"recall": {"a": ["length=9"]}})
    begin(begun, tmp_path / "sweep")
    read, points = read_sweep(tmp_path / "sweep")
    assert read == begun
    assert {point.status for point in points.values()} == {"waiting"}
    with pytest.raises(RunError, match="exists already"):
        begin(begun, tmp_path / "sweep")
    with pytest.raises(RunError, match=r"holds no sweep of runs"):
        read_sweep(tmp_path)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b", ["a", "b"]),
        ("1e-3", ["1e-3"]),
        ("[{a: 1, b: 2}],[3, 4]", ["[{a: 1, b: 2}]", "[3, 4]"]),
        ('"a,b",c', ['"a,b"', "c"]),
    ],
)
def test_commas_inside_brackets_part_nothing(text: str, parts: list[str]) -> None:
    assert several(text) == parts


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["model=gla"], "nothing varies"),
        (["model=gla,llama", "model=gla,hgrn2"], "model is given twice"),
        (["model=gla,llama", "by=layers"], "by=layers is no key with several values; those are model"),
        (["model=gla,llama", "seeds=0"], "seeds must be a whole number"),
        (["model=gla,lama"], "model=lama: unknown model recipe 'lama'"),
        (["model=gla,llama", "expand=elu"], "model=llama: .*expand"),
        (["model=gla", "layers=1,x"], "layers=x: .*layers must be"),
        (["suite=madd", "model=gla"], "unknown suite recipe 'madd'"),
    ],
)
def test_what_cannot_be_built_is_said_before_anything_is_trained(arguments: list[str], said: str) -> None:
    with pytest.raises(EOSError, match=said):
        sweep_of(*arguments)


def test_every_combination_of_every_suite_composes() -> None:
    for name in registry.recipes("suite"):
        _, recipes = asked(split((f"suite={name}", "model=gla")))
        assert {recipe.names["model"] for recipe in recipes.values()} == {"gla"}


LEFT_OUT = ("model=gla", "oscillation=key_gate,delta", "expand=linear,{name: learned, over: key_value}", "layers=1")


def test_what_makes_no_sense_is_left_out_and_written_down(tmp_path: Path) -> None:
    found, recipes = asked(split((*LEFT_OUT, "task=mqar_small")))
    refused = "oscillation=delta,expand=name_learned_over_key_value"
    assert [cell.folder for cell in found.combinations() if cell not in found.cells()] == [refused]
    assert recipes.keys() == {cell.folder for cell in found.cells()}
    assert "erase" in found.refused[refused]
    begin(found, tmp_path / "sweep")
    points = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["points"]
    assert {name: point["status"] for name, point in points.items()} == dict.fromkeys(recipes, "waiting") | {
        refused: "refused"
    }
    assert points[refused]["reason"] == found.refused[refused]
    assert points[refused]["choices"] == {"oscillation": "delta", "expand": "{name: learned, over: key_value}"}


def test_what_was_left_out_and_is_mended_is_trained_by_the_same_line(tmp_path: Path) -> None:
    line = (*LEFT_OUT, "task=mqar_small", f"run={tmp_path / 'sweep'}")
    found, _ = asked(split(line))
    early = found.cells()[0].folder
    begin(replace(found, refused={**found.refused, early: "ValueError: my own mistake"}), tmp_path / "sweep")
    _, again, recipes, _ = locate(split(line), "sweep")
    assert again == found
    assert early in recipes


def test_a_sweep_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(CompositionError, match=r"no combination is left: layers=1: .*erase.*; layers=2: .*erase"):
        asked(split(("model=gla", "oscillation=delta", "expand={name: learned, over: key_value}", "layers=1,2")))


def test_keys_joined_by_a_plus_take_the_same_value() -> None:
    found, recipes = asked(split(("model=gla", "expand.activation+shrink.activation=relu,silu")))
    mixers = [recipe.model.mixers["main"] for recipe in recipes.values()]
    assert [(mixer.expand.options["activation"], mixer.shrink.options["activation"]) for mixer in mixers] == [  # type: ignore[union-attr]
        ("relu", "relu"),
        ("silu", "silu"),
    ]
    assert found.cells()[0].name == "expand.activation+shrink.activation=relu"


def test_several_keys_are_compared_together(tmp_path: Path) -> None:
    for folder, value in (("model=gla,rate=1", 0.5), ("model=gla,rate=2", 0.6), ("model=llama,rate=2", 0.7)):
        finish(tmp_path / folder, value, value)
    found = scores(sweep(by=["model", "rate"]), tmp_path)
    assert [score.value for score in found][:2] == ["model=gla rate=1", "model=gla rate=2"]
    assert [score.score for score in found] == [0.5, 0.6, None, 0.7]


def test_a_long_combination_has_a_folder_that_a_disk_takes() -> None:
    cells = sweep(axes={"oscillation": [f"{'key_gate+' * 40}{last}" for last in ("delta", "none")]}).cells()
    assert len({cell.folder for cell in cells}) == 2
    assert max(len(cell.folder) for cell in cells) <= 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vary: {layers: []}", "layers of vary has no values"),
        ("vary: {layers: [1, 2]}\nby: width", "by names width, which is not in vary: layers"),
        ("vary: {layers: [1, 2]}\nseeds: 0", "seeds must be at least one"),
        ("vary: {layers: [1, 2]}\nseeds: [3, 3]", "distinct"),
        ("vary: 3", "vary must be a mapping"),
        ("varied: {layers: [1, 2]}", "unknown key 'varied'"),
    ],
)
def test_an_experiment_that_varies_nothing_sound_is_refused(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_folders", ())
    (tmp_path / "recipes" / "experiment").mkdir(parents=True)
    (tmp_path / "recipes" / "experiment" / "mine.yaml").write_text(text)
    registry.use_plugins(tmp_path)
    with pytest.raises(RecipeError, match=said):
        load_run_recipe(["experiment=mine"])


def test_how_far_a_combination_is_follows_from_its_folder_first(tmp_path: Path) -> None:
    found = sweep(axes={"rate": list("1234567")}, by=["rate"])
    finish(tmp_path / "rate=1", 0.5, 0.5)
    for rate in "23":
        (tmp_path / f"rate={rate}").mkdir()
        Result(status="failed", names={}, seed=1).write(tmp_path / f"rate={rate}" / "result.json")
    (tmp_path / "rate=4").mkdir()
    finish(tmp_path / "rate=7", 0.5, 0.5)
    (tmp_path / "rate=7" / "result.json").write_text("{")
    recorded = {
        "rate=1": Point(status="running", seconds=3.0),
        "rate=2": Point(status="failed"),
        "rate=3": Point(status="stopped"),
        "rate=4": Point(status="running"),
        "rate=5": Point(status="failed"),
    }
    points = states(found, tmp_path, recorded)
    assert [point.status for point in points.values()] == [
        "finished",
        "failed",
        "stopped",  # by a signal, before it went on from its failure
        "stopped",  # killed
        "failed",  # before it had a folder
        "waiting",
        "stopped",  # damaged
    ]
    assert points["rate=1"].seconds == 3.0
    assert to_do(points, retry=False) == ["rate=3", "rate=4", "rate=6", "rate=7"]
    assert to_do(points, retry=True) == ["rate=2", "rate=3", "rate=4", "rate=5", "rate=6", "rate=7"]
