"""Cells: runs that differ in nothing but their seed, how they are named, and which differ in one stage alone."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from eos import registry
from eos.compose.model import Leaf, leaves
from eos.compose.reader import value_text
from eos.dashboard.run import Run
from eos.training.config import MANNER

Flat = dict[str, Leaf]

#: The slots of an EOS mixer, whose choices the page compares; a response is a long convolution's.
STAGES = tuple(kind for kind in registry.KINDS if kind != "response")
#: Differences that a cell's name tells.
PARTS = 4
_STAGE = re.compile(rf"\.({'|'.join(STAGES)})(?:\[|\.|$)")
#: Training options that decide which run of a cell it is, or how it is done, and not what it is.
_APART = tuple(f"training.{name}" for name in ("seed", "data_seed", *sorted(MANNER)))
#: Options of the task that say where its files lie; what stands in them is told by their digest.
_PLACES = ("task.cache", "task.source", "task.folder")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What runs have in common.

    Arguments:
        recipe: its leaves, without seeds and how it is done.
        stages: the recipe of every slot of its one EOS mixer; None where it has none or several.
        model: the name of its recipe.
        task: likewise.
        data: digest of the task's data, or empty.
        version: of the project.
        trial: the number of a search's trial, with the search; None of any other run.
    """

    recipe: Flat
    stages: Mapping[str, Any] | None
    model: str
    task: str
    data: str
    version: str
    trial: tuple[str, int] | None

    @property
    def identity(self) -> str:
        """Equal where runs may share a mean."""
        return _digest([self.recipe, self.data, self.version, self.trial])

    def context(self, slot: str) -> str:
        """Equal for two cells that differ in the stage of this slot alone."""
        own = re.compile(rf"\.{slot}(\.|\[|$)")
        rest = {key: value for key, value in self.recipe.items() if not own.search(key)}
        others = {name: stage for name, stage in (self.stages or {}).items() if name != slot}
        return _digest([rest, others, self.data, self.version])

    @property
    def budget(self) -> str:
        """How long it is trained, in words."""
        rows = self.recipe.get("training.rows")
        for name, text in (("steps", "{:,} steps"), ("tokens", "{:,} tokens"), ("minutes", "{:g} minutes")):
            value = self.recipe.get(f"training.{name}")
            if isinstance(value, int | float):
                return text.format(value) + (f" × {rows} rows" if name == "steps" else "")
        return "no budget"


def cell_of(run: Run, trial: tuple[str, int] | None) -> Cell:
    """The cell that a run belongs to."""
    recipe = {key: value for key, value in leaves(run.recipe) if not key.startswith("names.")}
    named = run.recipe.get("names")
    names: Mapping[str, Any] = named if isinstance(named, dict) else {}
    versions = run.start.get("versions")
    # Without a digest the places are all that tells other data.
    apart = (*_APART, *(_PLACES if run.digest else ()))
    return Cell(
        recipe={key: value for key, value in recipe.items() if key not in apart},
        stages=_stages(run.recipe["model"]),
        model=str(names.get("model", "model")),
        task=str(names.get("task", run.recipe["task"].get("name", "task"))),
        data=run.digest,
        version=str(versions.get("eos-playground", "")) if isinstance(versions, dict) else "",
        trial=trial,
    )


def name_cells(cells: Sequence[Cell]) -> list[str]:
    """A name for each: the model's recipe, then what differs among those of its task and budget; trials by number."""
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for index, cell in enumerate(cells):
        if cell.trial is None:
            groups[cell.model, cell.task, cell.budget].append(index)
    names = [_trial_name(cell) for cell in cells]
    for members in groups.values():
        told = _told([cells[index] for index in members])
        for index, parts in zip(members, told, strict=True):
            more = [f"{len(parts) - PARTS} more"] if len(parts) > PARTS else []
            names[index] = " · ".join([cells[index].model, *parts[:PARTS], *more])
    places = [(cell.task, cell.budget, name) for cell, name in zip(cells, names, strict=True)]
    counts, seen = Counter(places), Counter[tuple[str, str, str]]()
    for index, place in enumerate(places):
        if counts[place] > 1:
            # Other data, another version, or one of many differences: the page says which.
            seen[place] += 1
            names[index] = f"{names[index]} ({seen[place]})"
    return names


def differing(recipes: Iterable[Flat]) -> list[str]:
    """Keys that have several values, in the order in which they are met; a recipe without the key does not count."""
    values: dict[str, set[Any]] = {}
    for recipe in recipes:
        for key, value in recipe.items():
            # 1, 1.0 and True are one to Python, and three to a reader of recipes.
            values.setdefault(key, set()).add((type(value), value))
    return [key for key, held in values.items() if len(held) > 1]


def _told(cells: Sequence[Cell]) -> list[list[str]]:
    """What tells each cell from the others: stages by their names, options where others have them otherwise."""
    slots = [slot for slot in STAGES if len({_stage(cell, slot) for cell in cells}) > 1]
    plain = [key for key in differing(cell.recipe for cell in cells) if _slot(key) is None]
    varied = [set(plain) for _ in cells]
    for slot in STAGES:
        namesakes: dict[str, list[int]] = defaultdict(list)
        for index, cell in enumerate(cells):
            namesakes[_stage(cell, slot)].append(index)
        for held in namesakes.values():
            # Options of one stage say nothing of another.
            own = [key for key in differing(cells[index].recipe for index in held) if _slot(key) == slot]
            for index in held:
                varied[index].update(own)
    short = _short(sorted(set().union(*varied)))
    return [
        [
            *(f"{slot}={_stage(cell, slot)}" for slot in slots if cell.stages is not None),
            *(f"{short[key]}={value_text(value)}" for key, value in cell.recipe.items() if key in keys),
        ]
        for cell, keys in zip(cells, varied, strict=True)
    ]


def _stage(cell: Cell, slot: str) -> str:
    return "" if cell.stages is None else stage_name(cell.stages[slot])


def _slot(key: str) -> str | None:
    """The slot whose stage a key is an option of."""
    found = _STAGE.search(key)
    return None if found is None else found[1]


def _short(keys: Sequence[str]) -> dict[str, str]:
    """Each key by as few of its last parts as tell it from the others."""
    names = {}
    for key in keys:
        parts = key.split(".")
        for count in range(1, len(parts) + 1):
            name = ".".join(parts[-count:])
            if sum(".".join(other.split(".")[-count:]) == name for other in keys) == 1:
                break
        names[key] = name
    return names


def _trial_name(cell: Cell) -> str:
    if cell.trial is None:
        return ""
    study, number = cell.trial
    stages = {} if cell.stages is None else cell.stages
    told = [stage_name(stages[slot]) for slot in STAGES if stages.get(slot)] or [cell.model]
    return f"{study} {number} · {' · '.join(told)}"


def stage_name(stage: Any) -> str:
    """The name of a stage; of a product, those of its factors."""
    if isinstance(stage, list):
        return "+".join(stage_name(each) for each in stage) or "none"
    return str(stage.get("name", stage)) if isinstance(stage, dict) else "none" if stage is None else str(stage)


def _stages(model: Mapping[str, Any]) -> dict[str, Any] | None:
    """The stages of the one EOS mixer that stands in the layout."""
    mixers = model.get("mixers")
    if not isinstance(mixers, dict):
        return None
    held = [mixer for mixer in mixers.values() if isinstance(mixer, dict) and mixer.get("kind", "eos") == "eos"]
    if len(held) != 1:
        return None
    return {slot: held[0].get(slot) for slot in STAGES}


def _digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
