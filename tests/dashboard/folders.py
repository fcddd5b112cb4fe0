"""Writes run folders as runs of any version, state and damage leave them, without training."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from eos.cli.recipes import load_run_recipe
from eos.compose.run import RunRecipe, save_run_recipe
from eos.training.config import TrainingOptions

SMALL = ["task=overwriting", "layers=1", "width=16", "heads=2", "tied=false", "rows=4", "steps=40", "device=cpu"]
STANDARD = {"metric": "accuracy", "higher": True, "chance": 0.02, "floor": 0.1, "trivial": "a guess"}
DIGEST = "ab12cd34"


@cache
def _recipe(model: str, overrides: tuple[str, ...]) -> RunRecipe[TrainingOptions]:
    return load_run_recipe([f"model={model}", *SMALL, *overrides])


def write_run(
    path: Path,
    *overrides: str,
    model: str = "gla",
    seed: int = 1,
    accuracy: float | None = 0.5,
    status: str = "finished",
    error: str | None = None,
    metrics: Mapping[str, Any] | None = None,
    values: Sequence[float] = (3.0, 2.0, 1.5, 1.25),
    digest: str = DIGEST,
    version: str = "0.1.0",
    commit: str = "c0ffee",
) -> Path:
    """A run's folder; ``accuracy`` is None, and ``status`` running, where there is to be no result."""
    path.mkdir(parents=True)
    recipe = _recipe(model, overrides)
    save_run_recipe(replace(recipe, training=replace(recipe.training, seed=seed)), path / "recipe.yaml")
    start = {
        "time": "2026-01-01T00:00:00+00:00",
        "command": ["eos", "train"],
        "versions": {"eos-playground": version},
        "commit": commit,
    }
    (path / "run.json").write_text(json.dumps({"seed": seed, "starts": [start]}))
    (path / "task.json").write_text(json.dumps({"digest": digest}))
    lines = [
        f"{10 * (place + 1)},{place + 1}.000,train/nats_per_answer,{value!r}" for place, value in enumerate(values)
    ]
    lines.append(f"{10 * len(values)},{len(values)}.000,validation/accuracy,{accuracy or 0.0!r}")
    (path / "metrics.csv").write_text("\n".join(["step,seconds,metric,value", *lines]) + "\n")
    if status != "running":
        result = {
            "status": status,
            "names": recipe.names,
            "seed": seed,
            "metrics": {"test": {"accuracy": accuracy, **(metrics or {})}} if status == "finished" else {},
            "standard": STANDARD,
            "steps": 40,
            "tokens": 4000,
            "parameters": 1234,
            "state_bytes": 512,
            "wall_seconds": 12.5,
            "error": error,
        }
        (path / "result.json").write_text(json.dumps(result))
    return path
