"""Run recipes: three parts checked together, and a run folder's copy that reads back as itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eos import registry
from eos.compose.reader import read_recipe
from eos.compose.run import RunRecipe, check_run, read_run_recipe, save_run_recipe
from eos.config import option, options
from eos.errors import RecipeError

Add = Callable[[str, str], Path]


@options
class Training:
    steps: int | None = option(None, "how long", low=1)
    rate: float = option(1e-3, "how fast", above=0)


def compose(*overrides: str, **parts: Any) -> RunRecipe[Training]:
    data = {
        "model": read_recipe(registry.recipe("model", "tnl")),
        "task": {"name": "text", "length": 9},
        "training": {},
    }
    names = {"model": "tnl", "task": "text", "training": "quick"}
    sources = {part: Path(part) for part in data}
    return check_run(data | parts, overrides, training=Training, names=names, sources=sources)


def test_overrides_reach_every_part() -> None:
    run = compose("layers=2", "length=17", "rate=3", "mixers.main.expand=elu")
    assert (run.model.layers, run.task.options.length, run.training.rate) == (2, 17, 3)
    assert run.task.name == "text"


def test_a_saved_recipe_reads_back_as_itself(tmp_path: Path) -> None:
    run = compose("layout={0.5: first, 1.0: main}", "mixers.extra={kind: softmax, window: 4}", "task.source='1e-3'")
    save_run_recipe(run, tmp_path / "recipe.yaml")
    assert read_run_recipe(tmp_path / "recipe.yaml", training=Training) == run
    assert read_recipe(tmp_path / "recipe.yaml")["model"]["mixers"]["main"]["expand"]["name"] == "linear"


def test_a_saved_recipe_holds_every_default(tmp_path: Path) -> None:
    save_run_recipe(compose(), tmp_path / "recipe.yaml")
    data = read_recipe(tmp_path / "recipe.yaml")
    assert data["training"] == {"steps": None, "rate": 1e-3}
    assert data["names"] == {"model": "tnl", "task": "text", "training": "quick"}
    assert data["model"]["tied"] is True


@pytest.mark.parametrize(
    ("overrides", "parts", "message"),
    [
        (["rate=0"], {}, r"training with rate=0: rate must be greater than 0, got 0"),
        ([], {"training": {"rte": 1}}, r"training: unknown key 'rte'\. Did you mean 'rate'"),
        ([], {"task": {"name": "txt"}}, r"task: unknown task 'txt'\. Did you mean 'text'"),
        ([], {"task": {"length": 9}}, "task: name is missing"),
        ([], {"task": {"name": "text", "length": "long"}}, 'task: length must be a whole number, got "long"'),
        (["steps=none"], {}, 'steps must be a whole number, got "none"'),
    ],
)
def test_a_fault_is_named_by_part(overrides: list[str], parts: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        compose(*overrides, **parts)


@pytest.mark.parametrize("text", ["names: {}\nmodel: {}", "names: {}\nmodel: {}\ntask: 3\ntraining: {}", "a: 1"])
def test_a_file_that_is_no_run_recipe_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"recipe\.yaml must hold names, model, task, training"):
        read_run_recipe(path, training=Training)
