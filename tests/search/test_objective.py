"""What a candidate is worth is what its runs are worth."""

import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eos.compose.check import check
from eos.tasks.task import AbstractTask
from search.objective import Outcome, evaluate, forget_weights
from search.recipe import SearchRecipe
from search.space import Recipe
from search.study import Quality

QUALITY = Quality(metric="accuracy", higher=True)
Evaluate = Callable[..., Outcome]


@pytest.fixture
def worth(base: Recipe, task: AbstractTask, tmp_path: Path) -> Evaluate:
    def worth(*, recipe: Recipe = base, quality: Quality = QUALITY, report: Any = None, **search: Any) -> Outcome:
        return evaluate(
            recipe,
            check(SearchRecipe, search, source="the test"),
            quality,
            task,
            tmp_path / "trial",
            report=report or (lambda step, value: False),
        )

    return worth


def result(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "result.json").read_text()))


def test_the_mean_over_seeds_at_the_best_rate_counts(worth: Evaluate, tmp_path: Path) -> None:
    outcome = worth(seeds=2, learning_rates=[1e-3, 1e-2], objectives=["quality", "parameters", "state", "flops"])
    assert outcome.status == "complete"
    by_rate: dict[float, list[float]] = {}
    for rate in (1e-3, 1e-2):
        for seed in (1, 2):
            found = result(tmp_path / "trial" / f"rate-{rate:g}" / f"seed-{seed}")
            by_rate.setdefault(rate, []).append(found["metrics"]["validation"]["accuracy"])
    best = max(by_rate, key=lambda rate: statistics.fmean(by_rate[rate]))
    assert outcome.values[0] == statistics.fmean(by_rate[best])
    assert outcome.values[1:] == [found["parameters"], found["state_bytes"], found["training_flops_per_token"]]
    assert [run["chosen"] for run in outcome.runs] == [run["learning_rate"] == best for run in outcome.runs]


def test_seeds_share_their_batches(worth: Evaluate, tmp_path: Path) -> None:
    worth(seeds=2)
    recipes = [(tmp_path / "trial" / f"seed-{seed}" / "recipe.yaml").read_text() for seed in (1, 2)]
    assert all("data_seed: 1" in recipe for recipe in recipes)


def test_a_metric_of_which_less_is_better_is_taken_at_its_least(worth: Evaluate, tmp_path: Path) -> None:
    quality = Quality(metric="nats_per_answer", higher=False)
    outcome = worth(quality=quality, learning_rates=[1e-5, 1e-2])
    values = [
        result(tmp_path / "trial" / f"rate-{rate:g}" / "seed-1")["metrics"]["validation"]["nats_per_answer"]
        for rate in (1e-5, 1e-2)
    ]
    assert outcome.values == [min(values)]


def test_a_candidate_may_be_given_up(worth: Evaluate, tmp_path: Path) -> None:
    told: list[int] = []

    def report(step: int, value: float) -> bool:
        told.append(step)
        return True

    outcome = worth(seeds=2, report=report)
    assert (outcome.status, told) == ("pruned", [2])
    assert result(tmp_path / "trial" / "seed-1")["status"] == "abandoned"
    assert not (tmp_path / "trial" / "seed-2").exists()


def test_the_last_validation_gives_nothing_up(worth: Evaluate) -> None:
    assert worth(report=lambda step, value: step == 4).status == "complete"


def test_a_run_that_is_not_finite_fails_its_candidate(worth: Evaluate, base: Recipe) -> None:
    wild = replace(base, training=replace(base.training, learning_rate=10.0, clip=None, steps=60, validate_every=None))
    wild = replace(wild, model=replace(wild.model, initial_std=1e30))
    outcome = worth(recipe=wild)
    assert outcome.status == "failed"
    assert "not finite" in outcome.reason


def test_a_stopped_candidate_goes_on_where_it_was(worth: Evaluate, tmp_path: Path) -> None:
    whole = worth(seeds=2)
    log = (tmp_path / "trial" / "seed-1" / "metrics.csv").read_text()
    assert worth(seeds=2) == whole
    assert (tmp_path / "trial" / "seed-1" / "metrics.csv").read_text() == log


def test_latency_is_measured(worth: Evaluate) -> None:
    outcome = worth(objectives=["quality", "latency"])
    assert 0 < outcome.values[1] < 1000


def test_weights_are_forgotten_and_results_stay(worth: Evaluate, tmp_path: Path) -> None:
    worth()
    run = tmp_path / "trial" / "seed-1"
    assert (run / "weights.safetensors").exists()
    forget_weights(tmp_path / "trial")
    assert not (run / "weights.safetensors").exists()
    assert not (run / "checkpoints").exists()
    assert {"recipe.yaml", "metrics.csv", "result.json", "run.json"} <= {path.name for path in run.iterdir()}
