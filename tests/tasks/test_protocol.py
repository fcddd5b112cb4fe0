"""What every task says of itself: metric, chance, floor, source, and a place in the documentation."""

import pytest

from eos import registry
from eos.compose.check import check
from eos.compose.reader import read_recipe
from eos.tasks.task import AbstractTask
from tests.tasks.page import PAGE, page


@pytest.mark.parametrize("name", registry.tasks())
def test_a_task_states_what_it_asks_and_what_it_is_held_against(name: str) -> None:
    entry = registry.task(name)
    for field in ("summary", "equation", "metric", "chance", "floor", "source"):
        assert getattr(entry, field), f"{entry.path} does not say its {field}"
    assert registry.task_recipes()[name], f"no recipe in recipes/task names {name}"
    assert issubclass(entry.load(), AbstractTask)


@pytest.mark.parametrize("name", registry.recipes("task"))
def test_a_task_recipe_is_whole(name: str) -> None:
    path = registry.recipe("task", name)
    data = read_recipe(path)
    options = registry.task(data.pop("name")).load().Options
    check(options, data, source=str(path))
    assert path.read_text(encoding="utf-8").startswith("# "), "a recipe begins with what it is"


def test_the_table_of_tasks_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it again: python -m tests.tasks.page"
