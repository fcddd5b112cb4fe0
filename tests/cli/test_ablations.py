"""The plans of experiments that vary some keys."""

from collections.abc import Callable
from pathlib import Path

import pytest

from eos import registry
from eos.cli.recipes import load_ablation
from tests.cli.conftest import Outcome

ABLATIONS = [name for name in registry.recipes("experiment") if load_ablation(name).vary]

Run = Callable[..., Outcome]


@pytest.mark.one_in(len(ABLATIONS))
@pytest.mark.parametrize("name", ABLATIONS)
def test_a_plan_trains_nothing(name: str, eos: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = eos("sweep", f"experiment={name}", "rows=4", "seeds=2", "--plan")
    assert plan.status == 0, plan.err
    rows = dict(line.split(maxsplit=1) for line in plan.out.splitlines())
    assert rows.keys() >= load_ablation(name).vary.keys()
    assert " × 2 seeds = " in plan.out
    assert rows["time"].startswith("about ")
    assert not list(tmp_path.iterdir())
