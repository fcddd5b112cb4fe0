import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from eos.cli.recipes import load_run_recipe
from eos.training.run import Recipe

Describe = Callable[..., Recipe]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small lose time to a second thread; and to the last bit, sums depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text that a tiny model learns something of in a few steps."""
    draw = random.Random(0)
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(" ".join(draw.choice(["expand", "oscillation", "shrink", "memory"]) for _ in range(3000)))
    return path


@pytest.fixture
def describe(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Describe:
    """A recipe of a tiny model on that text, changed by overrides."""

    def describe(*overrides: str) -> Recipe:
        cache = tmp_path_factory.getbasetemp() / "cache"
        small = ["layers=2", "width=16", "length=24", "rows=4", "steps=12", "learning_rate=0.02"]
        often = ["log_every=3", "validate_every=4", "checkpoint_every=5", "validation_tokens=500", "sample=8"]
        return load_run_recipe([*small, *often, "device=cpu", f"task.source={text}", f"task.cache={cache}", *overrides])

    return describe
