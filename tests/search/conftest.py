"""A base run, its task and studies for the tests of the search."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eos.cli.recipes import load_run_recipe
from eos.compose.check import check
from eos.tasks.task import AbstractTask
from eos.training.run import make_task
from search.recipe import SearchRecipe
from search.space import Recipe, Space
from search.study import Quality, Study, StudyRecord, begin

#: A run of some steps that takes a tenth of a second.
SMALL = (
    "task=overwriting pairs=2 epoch=64 held_out=8 model=gla layers=1 width=16 heads=2 tied=false rows=4 steps=4 "
    "validate_every=2 device=cpu"
).split()


@pytest.fixture(scope="session")
def base() -> Recipe:
    return load_run_recipe(SMALL)


@pytest.fixture(scope="session")
def task(base: Recipe, tmp_path_factory: pytest.TempPathFactory) -> AbstractTask:
    made = make_task(base)
    made.prepare(tmp_path_factory.mktemp("data"))
    return made


@pytest.fixture
def space_of(base: Recipe, task: AbstractTask) -> Callable[..., Space]:
    def make(**search: Any) -> Space:
        return Space(check(SearchRecipe, search, source="the test"), base, task=task)

    return make


@pytest.fixture
def study_of(base: Recipe, tmp_path: Path) -> Callable[..., Study]:
    """A new study of a space, in a journal file."""

    def make(space: Space, *, url: str | None = None, name: str = "tested", trials: int = 0) -> Study:
        record = StudyRecord(
            search=space.search,
            base=base,
            space=space.description,
            quality=Quality(metric="accuracy", higher=True),
            folder=str(tmp_path / "runs"),
        )
        study = begin(url or str(tmp_path / "study.log"), name, record)
        study.ask_for(trials)
        return study

    return make
