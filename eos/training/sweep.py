"""A sweep: every combination of some choices, on one task or on a suite of them, and its record on disk."""

import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from eos import registry
from eos.compose.reader import value_text
from eos.config import option, options
from eos.errors import RecipeError, RunError
from eos.training.files import read_json, write_json
from eos.training.folder import claim

RECORD = "sweep.json"
#: Joins keys that take the same value, as in ``expand.activation+shrink.activation``.
TIED = "+"
#: Bytes of a folder's name; file systems allow 255, and ``.log`` and ``.partial`` come after it.
_LONGEST = 200

#: waiting: not begun; refused: its stages make no sense together.
Status = Literal["waiting", "running", "finished", "stopped", "failed", "refused"]


@options
class Suite:
    """Settings of several tasks, each trained by itself; a recipe of the group suite.

    The score of a setting is the best over the grid, that of a task the mean over its settings, and that of the suite
    the mean over its tasks.
    """

    overrides: list[str] = option([], "of every run")
    vary: dict[str, list[str | float | int | bool]] = option({}, "keys with the values to choose the best of")
    settings: dict[str, dict[str, list[str]]] = option(description="by task and name, the overrides of a setting")
    select: Literal["validation", "test"] = option(
        "validation", "the part on which the best of the grid is chosen; the test part where the publication did so"
    )


@options
class Ablation:
    """What of an experiment eos sweep varies; eos train leaves it alone and trains the experiment itself."""

    vary: dict[str, list[Any]] = option({}, "keys with the values to cross, as an override or a recipe says them")
    seeds: int | list[int] | None = option(None, "how many of every combination, or which; null means a single run")
    by: str | list[str] | None = option(
        None, "the keys whose values are compared; of the others the best is taken. null: the model, or the first key"
    )

    @model_validator(mode="after")
    def _check(self) -> "Ablation":
        if empty := [key for key, values in self.vary.items() if not values]:
            raise ValueError(f"{', '.join(empty)} of vary has no values")
        if missing := [key for key in self.compared if key not in self.vary]:
            raise ValueError(f"by names {', '.join(missing)}, which is not in vary: {', '.join(self.vary) or 'empty'}")
        chosen = self.seeds if isinstance(self.seeds, list) else [0] if self.seeds is None else range(self.seeds)
        if not chosen or len(set(chosen)) < len(chosen):
            raise ValueError(f"seeds must be at least one, or distinct ones in a list; got {self.seeds}")
        return self

    @property
    def compared(self) -> list[str]:
        """The keys of by."""
        return [self.by] if isinstance(self.by, str) else self.by or []


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One combination.

    Arguments:
        folder: of its run or group of runs, below the sweep's.
        task, setting: of the suite; empty without one.
        choices: a value for each axis, as it is written.
        overrides: all of them.
    """

    folder: str
    task: str
    setting: str
    choices: dict[str, str]
    overrides: list[str]

    @property
    def name(self) -> str:
        """Its choices in a line."""
        place = [f"{self.task} {self.setting}".strip()] if self.task else []
        return " ".join([*place, *(f"{key}={value}" for key, value in self.choices.items())])


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What to train.

    Arguments:
        axes: keys, each with the values to try; of keys joined by + all take the same value.
        by: the axes whose values are compared; of the others the best is taken.
        overrides: of every run, before the axes.
        own: of every run too, after all others: they change what a suite or the axes say.
        seeds: of every combination; None for a single run.
        settings: of a suite; one without a name where there is none.
        select: the part on which the best is chosen.
        refused: by folder, why a combination is left out.
    """

    axes: dict[str, list[str]]
    by: list[str]
    overrides: list[str]
    own: list[str] = field(default_factory=list)
    seeds: list[int] | None = None
    settings: dict[str, dict[str, list[str]]] = field(default_factory=lambda: {"": {"": []}})
    select: Literal["validation", "test"] = "validation"
    refused: dict[str, str] = field(default_factory=dict)

    def cells(self) -> list[Cell]:
        """The combinations to train, in order.

        Raises:
            RecipeError: two of one name.
        """
        return [cell for cell in self.combinations() if cell.folder not in self.refused]

    def combinations(self) -> list[Cell]:
        """Every combination, in order, those that are left out among them.

        Raises:
            RecipeError: two of one name.
        """
        found: dict[str, Cell] = {}
        for task, settings in self.settings.items():
            for setting, changes in settings.items():
                for values in product(*self.axes.values()):
                    choices = dict(zip(self.axes, values, strict=True))
                    folder = "/".join(filter(None, (task, setting, _folder(choices))))
                    if folder in found:
                        raise RecipeError(f"two combinations share the folder {folder}; name each value once")
                    chosen = [f"{key}={value}" for keys, value in choices.items() for key in keys.split(TIED)]
                    found[folder] = Cell(
                        folder=folder,
                        task=task,
                        setting=setting,
                        choices=choices,
                        # Recipes are chosen before their keys are changed, whatever the order.
                        overrides=[*self.overrides, *changes, *chosen, *self.own],
                    )
        return list(found.values())


@dataclass(frozen=True, kw_only=True)
class Point:
    """How far a combination is.

    Arguments:
        status: as the sweep saw it last; a process that was killed leaves it running.
        seconds: its processes took, over all starts.
        reason: why it was refused.
    """

    status: Status
    seconds: float = 0.0
    reason: str | None = None


def begin(sweep: Sweep, path: Path) -> None:
    """Write down a new sweep.

    Raises:
        RunError: the path is taken.
    """
    claim(path)
    write_sweep(sweep, path, {})


def write_sweep(sweep: Sweep, path: Path, points: Mapping[str, Point], scores: Sequence[Any] = ()) -> None:
    """Replace the record of a sweep.

    Arguments:
        points: by folder; those that are left out are filled in, and the rest wait.
        scores: what came of it so far, dataclasses.
    """
    known: dict[str, Any] = {}
    for cell in sweep.combinations():
        reason = sweep.refused.get(cell.folder)
        point = points.get(cell.folder, Point(status="waiting" if reason is None else "refused", reason=reason))
        known[cell.folder] = {"name": cell.name, "choices": cell.choices, **asdict(point)}
    write_json(path / RECORD, {"sweep": asdict(sweep), "points": known, "scores": [asdict(score) for score in scores]})


def is_sweep(path: Path) -> bool:
    """Whether the folder is a sweep's."""
    return (path / RECORD).is_file()


def read_sweep(path: Path) -> tuple[Sweep, dict[str, Point]]:
    """The sweep of a folder, and how far each combination to train was when it was last seen, by folder.

    Raises:
        RunError: there is none.
    """
    if not is_sweep(path):
        raise RunError(f"{path} holds no sweep of runs (there is no {RECORD} in it)")
    try:
        data = read_json(path / RECORD)
        sweep = Sweep(**data["sweep"])
        points = {
            cell.folder: Point(**{key: data["points"][cell.folder][key] for key in ("status", "seconds", "reason")})
            for cell in sweep.cells()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise RunError(f"{path / RECORD} is not the record of a sweep: {error}") from error
    return sweep, points


def same_choices(one: Sweep, other: Sweep) -> bool:
    """Whether two sweeps were asked for alike."""
    return replace(one, refused={}) == replace(other, refused={})


def written(values: Mapping[str, Sequence[Any]]) -> dict[str, list[str]]:
    """The values of a recipe's grid as overrides say them."""
    return {key: [value_text(value) for value in chosen] for key, chosen in values.items()}


def raised(error: Exception) -> str:
    """What was raised, in a line: of which kind it is, what it says, and the line of a stage where that is known."""
    said = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
    stages = {str(entry.path) for kind in registry.KINDS for entry in registry.stages(kind).values()}
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in stages]
    return f"{said} ({places[-1].filename}, line {places[-1].lineno})" if places else said


def _folder(choices: Mapping[str, str]) -> str:
    """A name of plain letters for a combination; a long one ends in a digest of what it leaves out."""
    plain = {key: re.sub(r"[^\w.=+-]+", "_", value).strip("_") for key, value in choices.items()}
    name = ",".join(f"{key}={value}" for key, value in plain.items())
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 9]}-{sha256(name.encode()).hexdigest()[:8]}"
