"""Folders of runs and studies as the data of the page: see docs/dashboard.md for what stands in it."""

import datetime as dt
import operator
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eos.dashboard.cells import STAGES, Cell, cell_of, differing, name_cells
from eos.dashboard.curves import fit, pack
from eos.dashboard.find import find
from eos.dashboard.ladders import Ladder, Ladders
from eos.dashboard.levels import Levels
from eos.dashboard.log import Curve
from eos.dashboard.memory import memory_pictures
from eos.dashboard.pack import Packer
from eos.dashboard.recall import recall_maps
from eos.dashboard.run import Run, UnreadableRun, finite, metrics, read_run, state_of
from eos.dashboard.studies import Reading, Studies
from eos.dashboard.tasks import describe_tasks
from eos.training.files import json_numbers

#: Of the page's data; a page refuses another.
SCHEMA = 1

Plain = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What a page shows.

    Arguments:
        data: as JSON has it.
        curves: of its curves, packed.
        runs: in the order of the page's.
    """

    data: Plain
    curves: bytes
    runs: list[Run] = field(repr=False)


class Reader:
    """Reads folders, and reads of what it has read before only what has changed since.

    Arguments:
        roots: folders with runs and studies in or below them.
        storages: URLs of studies whose folder is not among them.
        command: what makes the same page again.
    """

    def __init__(self, roots: Sequence[Path], *, storages: Sequence[str] = (), command: str) -> None:
        self._roots = roots
        self._storages = storages
        self._command = command
        self._read: dict[Path, tuple[object, Run]] = {}
        self._studies = Studies()
        self._ladders = Ladders()
        #: What the last page was made of, and that page: while nothing changes nothing is made anew.
        self._last: tuple[list[object], list[object], Gathered] | None = None

    def gather(
        self,
        *,
        each: Callable[[int, int], None] = lambda done, of: None,
        links: Sequence[Mapping[str, str]] = (),
    ) -> Gathered:
        """Read all runs and studies.

        Arguments:
            each: told how many runs are read, and how many there are.
            links: pages beside this one, each with name and url.

        Raises:
            DataError: a root is no folder.
        """
        found = find(self._roots)
        readings = self._studies.read([*map(str, found.studies), *self._storages])
        ladders = self._ladders.read(found.ladders)
        problems = [{"path": each.place, "error": each.error} for each in readings if each.study is None]
        problems += [{"path": str(each.folder), "error": each.error} for each in ladders if each.models is None]
        problems += [{"path": str(path), "error": reason} for path, reason in found.closed.items()]
        runs: list[Run] = []
        for done, path in enumerate(found.runs):
            each(done, len(found.runs))
            try:
                runs.append(self._run(path))
            except (UnreadableRun, OSError) as error:
                problems.append({"path": str(path), "error": str(error)})
            except Exception as error:  # noqa: BLE001 - however one run is damaged, the others are shown
                problems.append({"path": str(path), "error": f"it cannot be read ({type(error).__name__}: {error})"})
        each(len(found.runs), len(found.runs))
        parts, beside = [*runs, *readings, *ladders], [problems, list(links)]
        if self._last is None or not _same(self._last[0], parts) or self._last[1] != beside:
            self._last = (parts, beside, self._gathered(runs, readings, ladders, problems, links))
        return self._last[2]

    def _gathered(
        self,
        runs: list[Run],
        readings: Sequence[Reading],
        ladders: Sequence[Ladder],
        problems: list[Plain],
        links: Sequence[Mapping[str, str]],
    ) -> Gathered:
        runs = sorted(runs, key=lambda run: (str(run.path.parent), _seed(run) or 0, run.path.name))
        trials = {path: (each.study["name"], number) for each in readings if each.study for path, number in each.runs}
        cells, members = _cells(runs, trials)
        places = {run.path.resolve(): index for index, run in enumerate(runs)}
        packer, held = Packer(), fit(runs)
        data = {
            "schema": SCHEMA,
            "eos": version("eos-playground"),
            "made": dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "command": self._command,
            "searched": [str(root) for root in self._roots],
            "links": [dict(link) for link in links],
            **_described(cells, members, runs),
            "unreadable": problems,
            "trouble": None,
            "curves": list(pack(members, runs, held, packer)),
            "curves_left_out": {"tags": held.left_out, "points": held.points},
            "recall": list(_maps(cells, members, runs)),
            "memory": [picture for held in members for picture in memory_pictures(held[0], runs[held[0]].learned)],
            "ladders": [each.plain for each in ladders if each.models is not None],
            "studies": [shown for each in readings if (shown := each.shown(places)) is not None],
        }
        return Gathered(data=json_numbers(data), curves=packer.packed(), runs=runs)

    def _run(self, path: Path) -> Run:
        state = state_of(path)
        held = self._read.get(path)
        if held is not None and held[0] == state:
            return held[1]
        run = read_run(path)
        self._read[path] = (state, run)
        return run


def _same(before: Sequence[object], now: Sequence[object]) -> bool:
    return len(before) == len(now) and all(map(operator.is_, before, now))


def _maps(cells: Sequence[Cell], members: Sequence[list[int]], runs: Sequence[Run]) -> Iterator[Plain]:
    for index, held in enumerate(members):
        yield from recall_maps(index, [metrics(runs[run])[0] for run in held], _key_size(cells[index].recipe))


def _cells(runs: Sequence[Run], trials: Mapping[Path, tuple[str, int]]) -> tuple[list[Cell], list[list[int]]]:
    """The cells, those of no search first, in the order of their names; and the runs of each."""
    held: dict[str, tuple[Cell, list[int]]] = {}
    for index, run in enumerate(runs):
        cell = cell_of(run, trials.get(run.path.resolve()))
        held.setdefault(cell.identity, (cell, []))[1].append(index)

    def place(pair: tuple[Cell, list[int]]) -> tuple[bool, str, str, int]:
        cell, members = pair
        return cell.trial is not None, cell.task, cell.model, members[0]

    ordered = sorted(held.values(), key=place)
    return [cell for cell, _ in ordered], [members for _, members in ordered]


def _described(cells: Sequence[Cell], members: Sequence[list[int]], runs: Sequence[Run]) -> Plain:
    recipes = [cell.recipe for cell in cells]
    varied = set(differing(recipes))
    shared = set.intersection(*map(set, recipes)) - varied if recipes else set()
    common = {key: value for key, value in (recipes[0] if recipes else {}).items() if key in shared}
    tasks, task_of = describe_tasks(cells, members, runs)
    levels = Levels()
    plain = [
        {
            "id": index,
            "key": cell.identity[:8],
            "name": name,
            "task": task_of[index],
            "model": cell.model,
            "recipe": {key: value for key, value in cell.recipe.items() if key not in common},
            "budget": cell.budget,
            "data": cell.data or None,
            "version": cell.version,
            "precision": str(cell.recipe.get("training.precision", "")),
            "levels": levels.of(cell),
            "contexts": None if cell.stages is None else {slot: cell.context(slot) for slot in STAGES},
            "study": None if cell.trial is None else cell.trial[0],
            **_costs([runs[run] for run in members[index]]),
        }
        for index, (cell, name) in enumerate(zip(cells, name_cells(cells), strict=True))
    ]
    models = [runs[held[0]].recipe["model"] for held in members]
    cell_of_run = {run: index for index, held in enumerate(members) for run in held}
    return {
        "common": common,
        "tasks": tasks,
        "levels": levels.to_plain(),
        "cells": plain,
        "runs": [
            _run(index, cell_of_run[index], run, cells[cell_of_run[index]].trial) for index, run in enumerate(runs)
        ],
        "warnings": list(_warnings(cells, members, runs)),
        "refused": levels.refused(cells, models),
    }


def _costs(runs: Sequence[Run]) -> Plain:
    """What every run of a cell has in common but in time: from the first that tells."""
    names = ("parameters", "training_flops_per_token", "decoding_flops_per_token", "state_bytes")
    costs = {name: next((run.result[name] for run in runs if run.result.get(name) is not None), None) for name in names}
    rows = next((run.learned.mixers for run in runs if run.learned is not None), {})
    equations = [
        f"{name}: {equation}" if len(rows) > 1 else equation for name, row in rows.items() for equation in row.equations
    ]
    return {**costs, "equation": equations or None}


def _run(index: int, cell: int, run: Run, trial: tuple[str, int] | None) -> Plain:
    final, odd = metrics(run)
    training = run.recipe["training"]
    steps = [int(curve.steps[-1]) for curve in run.log.curves.values()]
    step = run.result.get("steps") or max(steps, default=0)
    tokens = run.result.get("tokens")
    command = run.start.get("command")
    plans = {} if run.learned is None else {name: row.plan for name, row in run.learned.mixers.items() if row.plan}
    return {
        "id": index,
        "cell": cell,
        "name": f"{run.path.parent.name}/{run.path.name}" if run.path.name.startswith("seed-") else run.path.name,
        "path": str(run.path),
        "seed": _seed(run),
        "status": run.status,
        "reason": run.reason,
        "step": step,
        "steps": training.get("steps"),
        "metrics": final,
        "nonfinite": odd,
        "best_step": run.result.get("best_step"),
        "time_s": run.result.get("wall_seconds") or _seconds(run),
        "tokens": tokens,
        "tokens_per_step": tokens / step if tokens and step else None,
        "tokens_per_s": _typical(run.log.curves.get("train/tokens_per_second")),
        "latency_ms": None if run.learned is None else run.learned.latency_ms,
        "device": run.result.get("device") or run.start.get("device"),
        "peak_bytes": run.result.get("peak_memory_bytes"),
        "written": run.written,
        "started": run.start.get("time"),
        "commit": run.start.get("commit"),
        "command": shlex.join(map(str, command)) if isinstance(command, list) and command else None,
        "versions": run.start.get("versions") or {},
        "plan": "\n\n".join(f"{name}\n{plan}" if len(plans) > 1 else plan for name, plan in plans.items()) or None,
        "samples": [] if run.learned is None else run.learned.samples,
        "warnings": run.warnings,
        "trial": None if trial is None else {"study": trial[0], "number": trial[1]},
    }


def _warnings(cells: Sequence[Cell], members: Sequence[list[int]], runs: Sequence[Run]) -> Iterator[Plain]:
    """What to know before a mean is believed."""
    for index, held in enumerate(members):
        for run in held:
            for text in runs[run].warnings:
                yield {"text": f"{runs[run].path}: {text}", "cells": [index]}
            lost = metrics(runs[run])[1]
            if lost and runs[run].status == "ok":
                yield {"text": f"{runs[run].path}: {', '.join(lost)} not finite, and in no mean", "cells": [index]}
        seeds = defaultdict(list)
        for run in held:
            seeds[_seed(runs[run])].append(run)
        for seed, doubled in seeds.items():
            if len(doubled) > 1:
                paths = ", ".join(str(runs[run].path) for run in doubled)
                yield {"text": f"seed {seed} was run {len(doubled)} times ({paths}): it counts once", "cells": [index]}
        commits = {str(runs[run].start["commit"])[:12] for run in held if runs[run].start.get("commit")}
        if len(commits) > 1:
            yield {"text": f"its runs are of {len(commits)} commits: {', '.join(sorted(commits))}", "cells": [index]}
    by_recipe: dict[str, list[int]] = defaultdict(list)
    for index, cell in enumerate(cells):
        by_recipe[repr(sorted(cell.recipe.items(), key=str))].append(index)
    for alike in by_recipe.values():
        if len(alike) > 1 and all(cells[index].trial is None for index in alike):
            what = " and ".join(
                word
                for word, name in (("data", "data"), ("version", "version"))
                if len({getattr(cells[index], name) for index in alike}) > 1
            )
            yield {"text": f"the same recipe with different {what or 'origin'}: not averaged together", "cells": alike}


def _seed(run: Run) -> int | None:
    seed = run.recipe["training"].get("seed")
    return seed if isinstance(seed, int) else None


def _seconds(run: Run) -> float | None:
    return max((float(curve.seconds[-1]) for curve in run.log.curves.values()), default=None)


def _typical(curve: Curve | None) -> float | None:
    values = [] if curve is None else sorted(value for value in curve.values.tolist() if finite(value))
    return values[len(values) // 2] if values else None


def _key_size(recipe: Mapping[str, Any]) -> Any:
    sizes = {value for key, value in recipe.items() if key.endswith(".key_size") and value is not None}
    return sizes.pop() if len(sizes) == 1 else None
