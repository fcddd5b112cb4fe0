"""Sweeps: every combination, the best of each, and scores of suites."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from eos import registry
from eos.cli.recipes import load_run_recipe
from eos.cli.sweep import plan, several, split
from eos.errors import EOSError, RecipeError, RunError
from eos.tasks.task import Standard
from eos.training.result import Result
from eos.training.sweep import Sweep, begin, outcome, read_sweep, scores


def finish(path: Path, validation: float | None, test: float | None, *, higher: bool = True) -> None:
    """A run that has finished with these."""
    standard = Standard(metric="accuracy", higher=higher, chance=0.1, floor=0.2, trivial="a guess")
    metrics = {"validation": {"accuracy": validation}, "test": {"accuracy": test}}
    path.mkdir(parents=True)
    Result(status="finished", names={}, seed=1, metrics=metrics, standard=asdict(standard)).write(path / "result.json")


def sweep(**changes: object) -> Sweep:
    chosen: dict[str, object] = {"axes": {"model": ["gla", "llama"], "rate": ["1", "2"]}, "by": "model"}
    return Sweep(overrides=["steps=3"], **{**chosen, **changes})  # type: ignore[arg-type]


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
    for cell in plan(split(typed)).cells():
        recipe = load_run_recipe(cell.overrides)
        assert (recipe.training.steps, recipe.training.learning_rate, recipe.task.options.epoch) == (7, 5e-2, 10)
    widths = {load_run_recipe(cell.overrides).model.width for cell in plan(split((*typed, "width=16,32"))).cells()}
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
    assert read_sweep(tmp_path / "sweep") == begun
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
        plan(split(tuple(arguments)))


def test_every_combination_of_every_suite_composes() -> None:
    for name in registry.recipes("suite"):
        for cell in plan(split((f"suite={name}", "model=gla"))).cells():
            assert load_run_recipe(cell.overrides).names["model"] == "gla"
