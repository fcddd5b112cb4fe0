"""The sentences of the page, made by V8 from a few cells: each says what is true of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from tests.dashboard.made import made
from tests.dashboard.test_stats import Page

Stages = tuple[int, int, int]
CHOSEN = dict.fromkeys(("task", "budget", "metric", "base", "filter"), "") | {"hide": [], "pin": []}
SCRIPTS = ("format.js", "stats.js", "effects.js", "data.js", "dom.js", "view.js", "latex.js", "export.js", "answer.js")


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(*SCRIPTS)


def _records(cells: Mapping[Stages, Sequence[float]], started: Sequence[str | None] = ()) -> dict[str, Any]:
    """Cells by their levels of expand, oscillation and shrink, each with its accuracy by seed."""
    data = made(1)[0]
    cell, run = data["cells"][0], data["runs"][0]
    data["cells"], data["runs"] = [], []
    for number, ((e, o, s), values) in enumerate(cells.items()):
        contexts = {"expand": f"{o} {s}", "oscillation": f"{e} {s}", "shrink": f"{e} {o}", "couple": None}
        levels = {"expand": e, "oscillation": o, "shrink": s, "couple": None}
        own = {"id": number, "key": f"{number:08x}", "name": f"cell {number}", "levels": levels, "contexts": contexts}
        data["cells"].append({**cell, **own})
        for seed, value in enumerate(values):
            when = {"seed": seed, "status": "ok", "started": (started or [None] * len(cells))[number]}
            data["runs"].append({**run, **when, "cell": number, "metrics": {"test/accuracy": value}})
    return data


def _answer(page: Page, data: dict[str, Any], wanted: str = "answerText(currentView())", **chosen: Any) -> Any:
    return page(
        f"(globalThis.state = chosen, takeData(data), {wanted})",
        data=data,
        chosen={**CHOSEN, "trials": False, "join": False, "worst": False, **chosen},
    )


def _near(mean: float, seed: int, seeds: int = 5) -> list[float]:
    return list(np.random.default_rng(seed).normal(mean, 0.002, seeds))


def test_what_does_not_vary_is_not_called_too_few_seeds(page: Page) -> None:
    """Values over 64ths have exact differences."""
    base = [40 / 64, 41 / 64, 43 / 64]
    cells = {(0, 0, 0): base, (1, 0, 0): [v + 1 / 64 for v in base], (2, 0, 0): [v - 2 / 64 for v in base]}
    told = _answer(page, _records(cells))
    assert told == (
        "Nothing can be tested yet: 3 seeds a cell. 2 comparisons do not vary over seeds, so they have no test."
    )
    told = _answer(page, _records({**cells, (3, 0, 0): [0.5]}))
    assert "2 comparisons do not vary over seeds" in told
    assert "1 comparison has too few seeds: a test needs two or more in common with the baseline." in told


def test_one_stage_alone_is_not_called_the_one_stage(page: Page) -> None:
    swept = {(0, 0, 0): _near(0.9, 1), (0, 1, 0): _near(0.8, 2)}
    assert _answer(page, _records(swept)).startswith("Oscillation: its effect can be told from 0. key_gate → head")
    both = {**swept, (1, 0, 0): _near(0.9, 3), (1, 1, 0): _near(0.8, 4)}
    rows = "stageEffects(currentView()).rows.map((row) => row.stage)"
    assert set(_answer(page, _records(both), rows)) == {"expand", "oscillation"}
    assert _answer(page, _records(both)).startswith("Oscillation is the one stage whose effect can be told from 0.")


def test_few_contexts_are_told_when_no_level_stands_out(page: Page) -> None:
    cells = {(e, o, 0): _near(0.9 - 0.05 * (e != o), 9 + e + 3 * o) for e in range(2) for o in range(2)}
    told = _answer(page, _records(cells))
    assert "No stage's effect can be told from 0 over its contexts, but 2 cells of 3 differ" in told
    assert "2 of 2 levels were run in two contexts or fewer, which tells little." in told


def test_too_few_is_said_only_where_nothing_passed(page: Page) -> None:
    """Two seeds ask for |t| beyond 15, which differences of nearly one size still reach."""
    near = {(0, 0, 0): [0.9, 0.91], (0, 1, 0): [0.8, 0.8101]}
    wanted = "[stageEffects(currentView()).tooFew, cellDifferences(currentView()).tooFew]"
    noisy = {(0, 0, 0): [0.9, 0.95], (0, 1, 0): [0.8, 0.91]}
    assert page("tooFewToTell([{ p: 0.001, df: 1 }, { p: 0.5, df: 1 }])")
    assert _answer(page, _records(noisy | {(0, 2, 0): [0.7, 0.72]}), wanted) == [True, True]
    assert _answer(page, _records(near | {(0, 2, 0): [0.7, 0.72]}), wanted) == [False, False]


@pytest.mark.parametrize(
    ("started", "base"),
    [
        (["2026-11-30T03", "2026-11-30T02", "2026-11-30T04"], "cell 1"),
        ([None, "2026-11-30T02", "2026-11-30T01"], "cell 2"),
        ([None, None, None], "cell 0"),
    ],
)
def test_the_first_level_of_a_sweep_is_the_baseline(page: Page, started: list[str | None], base: str) -> None:
    cells = {(e, 0, 0): _near(0.9, e) for e in range(3)}
    assert _answer(page, _records(cells, started), "currentView().base.name") == base


def test_the_command_stands_last_in_a_caption(page: Page) -> None:
    told = _answer(
        page,
        _records({(0, 0, 0): [0.5]}),
        "toLatex({ columns: [], rows: [], caption: `Means. ${store.data.command}`, best: { row: 1, alike: [] } })",
    )
    bold = r"Bold: the best; $\dagger$: not distinguishable from the best (p $\ge$ 0.05)."
    assert rf"\caption{{Means. {bold} eos report runs -o page.html}}" in told
