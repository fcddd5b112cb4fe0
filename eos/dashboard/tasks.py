"""The tasks of some cells: what counts in each, which way, and what chance reaches."""

import json
from collections.abc import Sequence
from typing import Any

from eos.dashboard.cells import Cell, differing
from eos.dashboard.run import Run, metrics
from eos.tasks.task import more_is_better

#: What the names of metrics in 0 … 1 hold.
_FRACTION = "accuracy"


def describe_tasks(
    cells: Sequence[Cell], members: Sequence[Sequence[int]], runs: Sequence[Run]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Every task by its id, and the id of each cell's: its name, and what differs where options do."""
    groups: dict[str, dict[str, list[int]]] = {}
    for index, cell in enumerate(cells):
        key = json.dumps([_options(cell), cell.recipe.get("task.name")], sort_keys=True)
        groups.setdefault(cell.task, {}).setdefault(key, []).append(index)
    tasks: dict[str, dict[str, Any]] = {}
    ids = [""] * len(cells)
    for name, kinds in groups.items():
        varied = differing(_options(cells[held[0]]) for held in kinds.values())
        for number, held in enumerate(kinds.values(), start=1):
            told = " ".join(f"{key}={_options(cells[held[0]]).get(key)}" for key in varied)
            label = name if len(kinds) == 1 else f"{name} {told}" if len(told) <= 40 else f"{name} ({number})"
            for index in held:
                ids[index] = label
            tasks[label] = _task(cells[held[0]], [runs[run] for index in held for run in members[index]])
    return tasks, ids


def _options(cell: Cell) -> dict[str, Any]:
    return {key.removeprefix("task."): value for key, value in cell.recipe.items() if key.startswith("task.")}


def _task(cell: Cell, runs: Sequence[Run]) -> dict[str, Any]:
    names = dict.fromkeys(name for run in runs for name in metrics(run)[0])
    standard: dict[str, Any] = next(
        (run.result["standard"] for run in runs if isinstance(run.result.get("standard"), dict)), {}
    )
    told = {name: {"higher": _higher(name, standard), "fraction": _FRACTION in name} for name in names}
    main = str(standard.get("metric", ""))
    metric = next((name for name in (f"test/{main}", f"validation/{main}", *names) if name in names), None)
    return {
        "name": cell.task,
        "options": _options(cell),
        "summary": None,
        "metric": metric,
        "metrics": told,
        "chance": standard.get("chance"),
        "floor": standard.get("floor"),
        "trivial": standard.get("trivial"),
    }


def _higher(name: str, standard: dict[str, Any]) -> bool:
    metric = name.partition("/")[2]
    return bool(standard.get("higher", True)) if metric == standard.get("metric") else more_is_better(metric)
