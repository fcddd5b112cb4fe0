"""What a report says of a study: known effects are found, others are not, and what cannot be told is said."""

import csv
import itertools
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState, create_trial
from scipy import stats

from eos.cli.main import main
from eos.tasks.task import AbstractTask
from search.place import point
from search.report.budget import best, front
from search.report.cell_figure import _grid, _size
from search.report.contexts import differences
from search.report.effect_tables import differences_table, effects_table, explained_table
from search.report.effects import Effect, fit
from search.report.figures import _effects, _room
from search.report.importances import FEWEST, importances
from search.report.interactions import Cell as Combination
from search.report.interactions import Interaction, interactions
from search.report.interval import holm, mean_interval, student
from search.report.learned import answer, counts, learn, notes
from search.report.linear import factor
from search.report.observed import ABSENT, Panel, choices, observe, panel
from search.report.pair_tables import interactions_table
from search.report.table import latex, markdown, number
from search.report.trial_tables import best_table, trials_table
from search.report.write import write_report
from search.space import Space
from search.storage import StudyError
from search.study import Quality, Study, StudyRecord, begin

Spaces = Callable[..., Space]
Studies = Callable[..., Study]
Values = Callable[[Mapping[str, Any], int], float]
STAGES = {"expand": ["linear", "elu", "ones"], "oscillation": ["none", "key_gate"], "shrink": ["linear", "elu"]}
EVERY = [dict(zip(STAGES, labels, strict=True)) for labels in itertools.product(*STAGES.values())]
TABLES = (effects_table, explained_table, differences_table, interactions_table, best_table, trials_table)
WORTH = {"linear": -0.1, "elu": 0.0, "ones": 0.1, "none": -0.2, "key_gate": 0.2}


@pytest.fixture
def space(space_of: Spaces) -> Space:
    return space_of(**STAGES, options="none")


def run(seed: int, validation: float | None, **more: Any) -> dict[str, Any]:
    costs = {"parameters": 1000, "state_bytes": 64, "training_flops_per_token": 1e4}
    return (
        {"seed": seed, "learning_rate": 0.1, "validation": validation, "test": validation, "chosen": True}
        | costs
        | more
    )


def add(study: Study, space: Space, params: Mapping[str, Any], runs: list[dict[str, Any]], **more: Any) -> None:
    """A complete trial with these runs."""
    told: dict[str, Any] = {"state": TrialState.COMPLETE} | more
    if "values" not in told:
        told["values"] = [float(np.mean([each["validation"] for each in runs]))]
    distributions = {name: space.dimensions[name] for name in params}
    attributes: dict[str, Any] = {"runs": runs, "choices": " ".join(f"{k}={v}" for k, v in params.items())}
    attributes |= told.pop("user_attrs", {})
    trial = create_trial(params=dict(params), distributions=distributions, user_attrs=attributes, **told)
    study.optuna.add_trial(trial)


def additive(params: Mapping[str, Any], seed: int) -> float:
    return 0.5 + WORTH[params["expand"]] + WORTH[params["oscillation"]]


def filled(
    study: Study, space: Space, value: Values, *, seeds: Sequence[int] = (1, 2, 3), noise: float = 0.01
) -> Study:
    """Every combination of stages once."""
    generator = np.random.default_rng(0)
    for params in EVERY:
        add(study, space, params, [run(s, value(params, s) + noise * generator.normal()) for s in seeds])
    return study


def effects_of(study: Study) -> dict[tuple[str, str], Effect]:
    return {(each.factor, each.level): each for each in fit(panel(observe(study))).effects}


def drawn(generator: np.random.Generator, trials: int, **levels: int) -> list[Any]:
    return [
        factor(name, [str(code) for code in generator.integers(count, size=trials)]) for name, count in levels.items()
    ]


def panel_of(factors: Sequence[Any], values: Any, *, numbers: Any = None) -> Panel:
    rows = len(values)
    return Panel(
        factors=list(factors),
        numbers=np.zeros((rows, 0)) if numbers is None else numbers,
        covariates=[] if numbers is None else ["learning_rate"],
        values=values,
        seeds=tuple(range(values.shape[1])),
        left_out=0,
    )


def test_main_effects_are_recovered_from_an_unbalanced_design() -> None:
    generator = np.random.default_rng(1)
    one, other = drawn(generator, 60, a=4, b=3)
    worth, more = np.array([-0.3, -0.1, 0.1, 0.3]), np.array([-0.2, 0.0, 0.2])
    # Where b is high, the rate is too: what it does must not be counted as b's.
    rate = np.array(other.codes) - 1.0 + 0.3 * generator.normal(size=60)
    clean = worth[list(one.codes)] + more[list(other.codes)] + 0.5 * rate
    for noise, near in ((0.0, 1e-9), (0.05, 0.05)):
        values = clean[:, None] + noise * generator.normal(size=(60, 4))
        found = fit(panel_of([one, other], values, numbers=rate[:, None])).effects
        assert [each.value for each in found] == pytest.approx([*worth, *more], abs=near)
    assert all(each.clear for each in found if abs(each.value or 0) >= 0.2)
    for each in found:
        assert each.over_seeds is not None
        assert each.over_trials is not None
        assert each.p == max(each.over_seeds.p, each.over_trials.p)


@pytest.mark.parametrize(("trials", "seeds"), [(30, 4), (30, 1)], ids=["over seeds", "over trials"])
def test_the_interval_of_no_effect_covers_zero_as_often_as_it_says(trials: int, seeds: int) -> None:
    generator = np.random.default_rng(2)
    covered = []
    for _ in range(400):
        factors = drawn(generator, trials, a=3, b=2)
        effect = fit(panel_of(factors, generator.normal(size=(trials, seeds)))).effects[0]
        assert effect.interval is (effect.over_seeds if seeds > 1 else effect.over_trials)
        assert effect.interval is not None
        covered.append(effect.interval.covers_zero)
    # Two standard deviations of 400 draws are 2.2 points.
    assert np.mean(covered) == pytest.approx(0.95, abs=0.022)


def test_of_many_levels_without_effect_few_are_called_clear() -> None:
    generator = np.random.default_rng(3)
    wrong = 0
    for _ in range(100):
        factors = drawn(generator, 60, a=6, b=4)
        wrong += any(each.clear for each in fit(panel_of(factors, generator.normal(size=(60, 1)))).effects)
    assert wrong <= 12


def test_intervals_and_tests_are_those_of_scipy() -> None:
    generator = np.random.default_rng(4)
    values = generator.normal(0.3, size=5)
    interval, known = mean_interval(values.tolist()), stats.ttest_1samp(values, 0.0)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(tuple(known.confidence_interval(0.95)))
    assert interval.p == pytest.approx(known.pvalue)
    (single,) = drawn(generator, 40, a=3)
    y = generator.normal(size=40)
    test = fit(panel_of([single], y[:, None])).explained[0].test
    groups = [y[np.array(single.codes) == code] for code in range(3)]
    assert (test.f, test.p) == pytest.approx(tuple(stats.f_oneway(*groups)))


def test_holm_multiplies_the_smallest_most_and_keeps_the_order() -> None:
    assert holm([0.01, None, 0.04, 0.03, 0.9]) == pytest.approx([0.04, None, 0.09, 0.09, 0.9])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_two_levels_are_one_comparison() -> None:
    generator = np.random.default_rng(5)
    found = fit(panel_of(drawn(generator, 30, a=2, b=3), generator.normal(size=(30, 1))))
    assert found.comparisons == 1 + 3


def test_levels_that_always_stand_together_are_not_told_apart() -> None:
    labels = ["p", "q", "r", "p", "q", "r", "p", "q"]
    one = factor("a", labels)
    other = factor("b", ["x" if label == "r" else "y" if number % 2 else "z" for number, label in enumerate(labels)])
    values = np.random.default_rng(6).normal(size=(8, 2))
    found = {(each.factor, each.level): each for each in fit(panel_of([one, other], values)).effects}
    assert found["a", "r"].value is None
    assert found["a", "r"].note == "not told apart from b"
    assert found["a", "p"].value == pytest.approx(-(found["a", "q"].value or 0.0))
    assert found["b", "x"].value is None


def test_effects_of_a_study_are_signed_so_that_more_is_better(space: Space, base: Any, tmp_path: Path) -> None:
    for higher in (True, False):
        record = StudyRecord(
            search=space.search,
            base=base,
            space=space.description,
            quality=Quality(metric="accuracy" if higher else "nats", higher=higher),
            folder=str(tmp_path),
        )
        study = begin(str(tmp_path / f"{higher}.log"), "signed", record)
        sign = 1 if higher else -1
        filled(study, space, lambda params, seed, sign=sign: sign * additive(params, seed))  # type: ignore[misc]
        found = effects_of(study)
        assert found["oscillation", "key_gate"].value == pytest.approx(0.2, abs=0.02)
        assert found["expand", "linear"].value == pytest.approx(-0.1, abs=0.02)
        assert found["oscillation", "key_gate"].clear
        assert not found["shrink", "elu"].clear
        learned = learn(observe(study), tmp_path, refuses=None)
        assert learned.best[0].winner.params["expand"] == "ones"
        assert re.match(r"Clearest: oscillation=\w+ [+−]0\.\d+ \[[+−].*12 trials, 3 seeds, p ", answer(learned))
        assert ("highest" if higher else "lowest") in answer(learned)


def test_differences_are_of_trials_that_differ_in_one_choice(space: Space, study_of: Studies) -> None:
    study = filled(study_of(space), space, additive)
    found = {(each.factor, each.level, each.other): each for each in differences(observe(study))}
    gap = found["oscillation", "key_gate", "none"]
    assert (gap.contexts, gap.pairs) == (6, 18)
    assert gap.value == pytest.approx(0.4, abs=0.02)
    assert gap.interval is not None
    assert gap.interval.low < 0.4 < gap.interval.high
    assert (found["expand", "elu", "linear"].contexts, len(found)) == (4, 3 + 1 + 1)


def test_one_context_has_the_interval_of_its_seeds(space: Space, study_of: Studies) -> None:
    study = study_of(space)
    one, other = [0.5, 0.7, 0.6], [0.4, 0.5, 0.55]
    add(study, space, EVERY[0], [run(seed, value) for seed, value in enumerate(one)])
    add(study, space, EVERY[0] | {"shrink": "elu"}, [run(seed, value) for seed, value in enumerate(other)])
    add(study, space, EVERY[-1], [run(0, 0.9)])
    (found,) = differences(observe(study))
    assert (found.level, found.other, found.note) == ("elu", "linear", "one context")
    known = stats.ttest_rel(other, one)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(known.confidence_interval(0.95)))
    assert found.p_holm == pytest.approx(known.pvalue)


def test_an_interaction_is_found_and_only_that(space: Space, study_of: Studies) -> None:
    def value(params: Mapping[str, Any], seed: int) -> float:
        return additive(params, seed) + 0.3 * (params["expand"] == "elu" and params["oscillation"] == "none")

    study = filled(study_of(space), space, value)
    observed = observe(study)
    found = interactions(observed, panel(observed), space.refuses)
    first, *others = found
    assert {first.first, first.second} == {"expand", "oscillation"}
    assert first.test is not None
    assert first.test.degrees == (2, 5)
    assert first.test.gain is not None
    assert first.test.gain > 0.05
    assert first.p_holm is not None
    assert first.p_holm < 1e-4
    assert all(each.p_holm is not None and each.p_holm > 0.05 for each in others)
    cell = next(each for each in first.cells if (each.first, each.second) == ("elu", "none"))
    assert (cell.trials, cell.mean) == (2, pytest.approx(0.6, abs=0.02))


def test_combinations_that_are_refused_and_those_that_were_not_seen(space_of: Spaces, study_of: Studies) -> None:
    space = space_of(
        expand=["linear", "channel"], oscillation=["none", "generalized_delta"], shrink="fixed", options="none"
    )
    study = study_of(space)
    add(study, space, {"expand": "linear", "oscillation": "none"}, [run(1, 0.5)])
    observed = observe(study)
    (pair,) = interactions(observed, panel(observed), space.refuses)
    assert pair.test is None
    states = {(each.first, each.second): (each.trials, bool(each.refused)) for each in pair.cells}
    assert states == {
        ("channel", "generalized_delta"): (0, True),
        ("channel", "none"): (0, False),
        ("linear", "generalized_delta"): (0, False),
        ("linear", "none"): (1, False),
    }


def test_what_some_third_stage_makes_possible_is_not_refused(space_of: Spaces) -> None:
    stages: dict[str, Any] = {
        "oscillation": ["none", "generalized_delta"],
        "shrink": ["linear", "elu"],
        "options": "none",
    }
    pair = {"oscillation": "generalized_delta", "shrink": "elu"}
    assert space_of(expand=["channel", "linear"], **stages).refuses(pair) is None
    assert "generalized_delta" in (space_of(expand=["channel"], **stages).refuses(pair) or "")


def test_choices_of_a_layer_are_its_own(space_of: Spaces, study_of: Studies) -> None:
    fixed = {"shrink": "fixed", "options": "none", "each_layer": True}
    space = space_of(expand=["linear", "channel"], oscillation=["none", "generalized_delta"], **fixed)
    study = study_of(space)
    for expand, oscillation in (("linear", "none"), ("linear", "generalized_delta"), ("channel", "none")):
        add(study, space, {"layer0.expand": expand, "layer0.oscillation": oscillation}, [run(1, 0.5)])
    observed = observe(study)
    assert choices(observed.record) == ["layer0.expand", "layer0.oscillation"]
    (pair,) = interactions(observed, panel(observed), space.refuses)
    assert [each.first for each in pair.cells if each.refused] == ["channel"]


def test_a_choice_that_a_trial_has_not_made_is_a_level(space: Space, study_of: Studies) -> None:
    study = filled(study_of(space), space, additive)
    add(study, space, {"expand": "elu", "oscillation": "none"}, [run(s, 0.3 + 0.01 * s) for s in (1, 2, 3)])
    found = effects_of(study)
    assert found["shrink", ABSENT].trials == 1
    assert found["shrink", ABSENT].value == pytest.approx(0.0, abs=0.05)


def test_importances_are_judged_among_the_trials_that_have_a_parameter(space_of: Spaces, study_of: Studies) -> None:
    space = space_of(
        expand=["linear", "ones"], oscillation=["none", "key_gate"], shrink="fixed", options=["bias", "real"]
    )
    study = study_of(space)
    generator = np.random.default_rng(7)
    for turn in range(24):
        expand, oscillation = ("linear", "ones")[turn % 3 == 0], ("none", "key_gate")[turn % 2]
        params: dict[str, Any] = {"expand": expand, "oscillation": oscillation}
        params |= {"expand.ones.real": turn % 4 == 0} if expand == "ones" else {"expand.linear.bias": turn % 4 == 1}
        value = 0.5 * (oscillation == "none") + 0.3 * bool(params.get("expand.linear.bias"))
        add(study, space, params, [run(1, value + 0.01 * generator.normal())])
    found = {each.name: each for each in importances(observe(study))}
    assert next(iter(found)) == "oscillation"
    shares = found["oscillation"]
    for share in (shares.fanova, shares.ped_anova):
        assert share is not None
        assert share.value > 0.5
        assert share.low <= share.value <= share.high
    assert (found["expand.linear.bias"].trials, found["expand.linear.bias"].everywhere) == (16, False)
    assert found["expand.linear.bias"].fanova is not None
    assert (found["expand.ones.real"].fanova, found["expand.ones.real"].note) == (
        None,
        f"too few trials: 8 of at least {FEWEST}",
    )


def test_the_best_of_each_cost_has_its_interval_and_its_test_value(space_of: Spaces, study_of: Studies) -> None:
    space = space_of(**STAGES, options="none", objectives=["quality", "state"], sampler="random")
    study = study_of(space)
    for turn, params in enumerate(EVERY):
        state = 10 ** (1 + turn % 3) + turn
        quality = 0.5 + 0.1 * (turn % 3) + 0.001 * turn
        runs = [run(s, quality + 0.01 * s, test=0.4 + 0.01 * s, state_bytes=state) for s in (1, 2, 3)]
        add(study, space, params, runs, values=[quality + 0.02, float(state)])
    observed = observe(study)
    found = best(observed)
    assert [(each.cost, each.winner.number, each.trials) for each in found] == [
        ("", 11, 12),
        ("state", 9, 4),
        ("state", 10, 4),
        ("state", 11, 4),
    ]
    interval, known = found[0].interval, stats.ttest_1samp([0.721, 0.731, 0.741], 0.0).confidence_interval(0.95)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(tuple(known))
    assert found[0].test == pytest.approx(0.42)
    assert [each.number for each in front(observed, "state")] == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]


def test_one_seed_has_no_interval_and_says_so(space: Space, study_of: Studies, tmp_path: Path) -> None:
    study = filled(study_of(space), space, additive, seeds=[1])
    learned = learn(observe(study), tmp_path, refuses=None)
    assert learned.fit.seeds == 1
    assert learned.best[0].interval is None
    assert "one seed, so no interval" in answer(learned)


def test_what_is_pruned_failed_or_not_finite_is_counted_and_left_out(
    space: Space, study_of: Studies, tmp_path: Path
) -> None:
    study = filled(study_of(space), space, additive)
    add(study, space, EVERY[0], [run(1, 0.1)], state=TrialState.PRUNED, values=None, intermediate_values={2: 0.1})
    reason = {"reason": "out of\nmemory"}
    add(study, space, EVERY[1], [], state=TrialState.FAIL, values=None, user_attrs=reason)
    add(study, space, EVERY[2], [run(1, None), run(2, math.nan)], values=[math.inf])
    report = write_report(study, tmp_path, into=tmp_path / "report")
    assert report.counts == "15 trials: 12 complete, 1 not finite, 1 pruned, 1 failed"
    page = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "Failed trials are left out: 1 × out of memory." in page
    rows = read(tmp_path / "report" / "effects.csv")
    counted = {(row["choice"], row["level"]): (row["trials"], row["pruned"], row["failed"]) for row in rows}
    assert counted["expand", "linear"] == ("4", "1", "1")


def test_a_study_without_a_complete_trial_is_refused_in_a_line(space: Space, study_of: Studies) -> None:
    study = study_of(space)
    with pytest.raises(StudyError, match="no complete trial to learn from: no trials at all"):
        observe(study)
    add(study, space, EVERY[0], [], state=TrialState.FAIL, values=None, user_attrs={"reason": "not finite"})
    study.ask_for(3)
    with pytest.raises(
        StudyError, match=r"1 failed, 2 running or waiting; the most frequent reason: not finite"
    ) as error:
        observe(study)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("trials", [1, 12])
def test_a_study_of_few_trials_or_of_one_value_claims_nothing(
    space: Space, study_of: Studies, tmp_path: Path, trials: int
) -> None:
    study = study_of(space)
    for params in EVERY[-trials:]:
        add(study, space, params, [run(1, 0.5), run(2, 0.5)])
    report = write_report(study, tmp_path, into=tmp_path / "report")
    assert "Clearest" not in report.answer
    if trials == 1:
        assert "nothing to compare it with" in report.answer
    for row in read(tmp_path / "report" / "effects.csv"):
        assert row["p_holm"] == ""
        assert row["note"]


def test_seeds_that_few_trials_have_are_left_out(space: Space, study_of: Studies) -> None:
    study = filled(study_of(space), space, additive, seeds=[1, 2])
    add(study, space, EVERY[0], [run(7, 0.9)])
    used = panel(observe(study))
    assert (used.seeds, used.values.shape, used.left_out) == ((1, 2), (12, 2), 1)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def assert_compiles(text: str) -> None:
    """LaTeX whose brackets, environments, columns and special signs are in order."""
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    bare = re.sub(r"\\[\\&%$#_{}]", "", "\n".join(lines))
    depth = 0
    for sign in bare:
        depth += (sign == "{") - (sign == "}")
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    outside = re.sub(r"\$[^$]*\$", "", bare)
    assert not re.search(r"[%#_^~]", outside)
    assert re.findall(r"\\begin\{(\w+)", bare) == re.findall(r"\\end\{(\w+)", bare)[::-1]
    (columns,) = re.findall(r"\\begin\{tabular\}\{((?:l|p\{0\.4\\linewidth\})+)\}", text)
    count = len(re.sub(r"\{.*?\}", "", columns))
    rows = [line for line in lines if line.endswith(r"\\")]
    assert rows
    for row in rows:
        assert len(re.findall(r"(?<!\\)&", row)) == count - 1
        assert not row.lstrip().startswith("[")


HOSTILE = "<b>a|b</b> [x](y) `c` *d* _e_ $f$ {g} \\h & 50% #1 ~ ^ \"i\" 'j'"


@pytest.fixture
def hostile(space: Space, base: Any, tmp_path: Path) -> Study:
    record = StudyRecord(
        search=space.search,
        base=base,
        space=space.description,
        quality=Quality(metric="accuracy", higher=True),
        folder=str(tmp_path),
    )
    study = begin(str(tmp_path / "study.log"), HOSTILE, record)
    generator = np.random.default_rng(8)
    for turn, params in enumerate(EVERY):
        runs = [run(s, 0.5 + 0.1 * generator.normal(), parameters=1000 * (turn + 1)) for s in (1, 2, 3)]
        add(study, space, params, runs, user_attrs={"choices": f"={HOSTILE}\n2"})
    add(study, space, EVERY[1], [], state=TrialState.FAIL, values=None, user_attrs={"reason": HOSTILE})
    return study


def test_every_file_is_well_formed_whatever_names_stand_in_it_and_the_same_again(
    hostile: Study, tmp_path: Path
) -> None:
    report = write_report(hostile, tmp_path)
    assert report.folder == tmp_path / "report"
    assert sorted(path.name for path in report.folder.iterdir()) == sorted(report.files)
    before = {name: (report.folder / name).read_bytes() for name in report.files}
    assert write_report(hostile, tmp_path).files == report.files
    assert {name: (report.folder / name).read_bytes() for name in report.files} == before
    page = (report.folder / "report.md").read_text(encoding="utf-8")
    assert "](y)" not in page
    assert "<b>" not in page.replace("\\<", "")
    for line in page.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) >= 3
    for name in re.findall(r"\]\(([\w.]+)\)", page):
        assert (report.folder / name).is_file()
    for path in report.folder.glob("*.csv"):
        rows = read(path)
        for header in rows[0] if rows else []:
            assert f"`{header}`: " in page
        assert not any(cell.startswith("=") for row in rows for cell in row.values())
    for path in report.folder.glob("*.tex"):
        assert_compiles(path.read_text(encoding="utf-8"))
        assert path.read_text(encoding="utf-8").isascii()
    for path in report.folder.glob("*.svg"):
        assert ET.parse(path).getroot().tag.endswith("svg")
        assert "<script" not in path.read_text(encoding="utf-8")
    for path in report.folder.glob("*.pdf"):
        assert path.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (0.91234, 0.0113, "0.912"),
        (-0.04, 0.3, "−0.04"),
        (-0.0001, 0.3, "0.00"),
        (1234.5, 12.0, "1234"),
        (0.5, None, "0.5"),
        (math.nan, None, "–"),
        (None, None, "–"),
    ],
)
def test_a_number_has_the_digits_that_its_interval_supports(value: float | None, half: float | None, text: str) -> None:
    assert number(value, half) == text


def test_signs_of_latex_and_markdown_are_escaped() -> None:
    assert latex("a_b & [c] −1") == r"a\_b \& {[}c{]} $-$1"
    assert markdown("head_decay | *x* _y_") == r"head_decay \| \*x\* \_y\_"


def test_the_command_prints_the_answer_the_effects_and_where_the_files_are(
    space: Space, study_of: Studies, task: AbstractTask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(study_of(space), space, additive)
    point(tmp_path, str(tmp_path / "study.log"), "tested")
    assert main(["search", "report", str(tmp_path), "--into", str(tmp_path / "elsewhere")]) == 0
    said = capsys.readouterr().out
    assert "study tested: 12 trials: 12 complete" in said
    assert "Clearest: oscillation=" in said
    assert re.search(r"oscillation +key_gate +6 +\+0\.2", said)
    assert str(tmp_path / "elsewhere" / "report.md") in said
    assert "Refused combinations are not marked" in (tmp_path / "elsewhere" / "report.md").read_text(encoding="utf-8")
    written = re.findall(r"(\w+)\.(?:\{(.*?)\}|(csv))", said.rpartition("beside")[2].replace("\n", ""))
    named = {f"{stem}.{kind}" for stem, kinds, kind in written for kind in (kinds.split(",") if kinds else [kind])}
    assert {*named, "report.md"} == {path.name for path in (tmp_path / "elsewhere").iterdir()}
    assert main(["search", "report", "nowhere"]) == 2


def test_an_objective_has_ranges_or_a_reason_why_not(space_of: Spaces, study_of: Studies, tmp_path: Path) -> None:
    objectives = ["quality", "parameters", "flops"]
    space = space_of(**STAGES, options="none", objectives=objectives, sampler="random")
    study = study_of(space)
    for turn, params in enumerate(EVERY):
        runs = [run(1, 0.5, state_bytes=100 + turn, parameters=1000 + turn, training_flops_per_token=5e4)]
        add(study, space, params, runs, values=[0.5 + 0.01 * turn, 1000.0 + turn, 5e4])
    learned = learn(observe(study), tmp_path, refuses=None)
    assert {each.cost for each in learned.best} == {"", "parameters"}
    said = best_table(learned).caption
    assert "All have 50,000 training FLOPs a token, so there are no ranges of it." in said
    assert "There are no ranges of 100 to 111 bytes of state, which differ by no more than 20%." in said


def test_what_is_counted_once_and_what_is_not_there_is_said_so(space: Space, study_of: Studies, tmp_path: Path) -> None:
    study = study_of(space)
    for params in EVERY[:2]:
        add(study, space, params, [run(1, 0.5 + WORTH[params["shrink"]])])
    add(study, space, EVERY[3], [run(1, 0.9)], state=TrialState.FAIL, values=None, user_attrs={"reason": "ended."})
    learned = learn(observe(study), tmp_path, refuses=None, refusals="the data is not there …")
    assert " (no interval)." in answer(learned)
    assert "Refused combinations are not marked: the data is not there …" in notes(learned)
    assert counts(observe(study)).startswith("3 trials: ")
    pages = [answer(learned), *notes(learned), *(make(learned).caption for make in TABLES)]
    for text in pages:
        assert not re.search(
            r"\b(0 \w+s\b(?! of freedom)|1 (\w+ )?(trials|degrees|comparisons|pairs)|[+−][\d.]+ –)", text
        ), text
        assert not re.search(r"\.\.|…\.", text), text


def test_levels_without_a_trial_are_not_drawn_where_there_are_many() -> None:
    names = [f"level_{number}" for number in range(22)]
    cells = [
        Combination(first=one, second=two, trials=int(one == two), mean=0.5 if one == two else None, deviation=None)
        for one in names[:7]
        for two in [*names[:4], *names[7:]]
    ]
    grid = _grid(Interaction(first="expand", second="oscillation", test=None, p_holm=None, cells=cells))
    assert grid.rows == grid.columns == names[:4]
    assert grid.title.endswith("not drawn: 3 of expand, 15 of oscillation)")
    assert _size({("a", "b"): "3.459 (12)"}, 0.2) < _size({("a", "b"): "3.459"}, 0.2) < _size({("a", "b"): "3"}, 2.0)


def test_of_two_intervals_neither_hides_the_other(space: Space, study_of: Studies, tmp_path: Path) -> None:
    figure = _effects(learn(observe(filled(study_of(space), space, additive)), tmp_path, refuses=None))
    assert figure is not None
    for axis in figure.axes:
        bars = [line for line in axis.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"][1:]
        places = [round(float(bar.get_ydata()[0]), 6) for bar in bars]
        assert len(set(places)) == len(places) == 2 * len(axis.get_yticks())


def test_no_interval_of_a_figure_leaves_its_axis() -> None:
    wide, narrow = student(0.5, 9.0, 1, scale=1.0), student(0.6, 0.01, 9, scale=1.0)
    low, high = _room([0.5, 0.6], [wide, narrow, None])
    assert (low, high) == pytest.approx((0.4, 0.7)), "a wide one squeezes no value"
    low, high = _room([0.5, 0.6], [narrow])
    assert narrow is not None
    assert low < 0.5 < narrow.high <= high
