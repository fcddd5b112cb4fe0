"""The choices of each stage that runs made, and the combinations of them that the design refuses."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from eos.compose import refuse
from eos.compose.model import check_model, leaves
from eos.compose.reader import value_text
from eos.dashboard.cells import STAGES, Cell, differing, stage_name
from eos.errors import EOSError

#: The slots that every model fills, crossed.
CROSSED = ("expand", "oscillation", "shrink")
#: Options that a label tells.
TOLD = 2
#: Combinations beyond which it is not asked which of them the design refuses.
MOST = 600


@dataclass(kw_only=True)
class Levels:
    """Every distinct recipe of a stage, by slot, in the order of first sight."""

    stages: dict[str, list[Any]] = field(default_factory=lambda: {slot: [] for slot in STAGES})
    models: dict[str, list[set[str]]] = field(default_factory=lambda: {slot: [] for slot in STAGES})

    def of(self, cell: Cell) -> dict[str, int | None] | None:
        """Which level each slot of a cell is at; None for a cell that has no single EOS mixer."""
        if cell.stages is None:
            return None
        places = {slot: self._place(slot, cell.stages[slot]) for slot in STAGES}
        for slot, place in places.items():
            if place is not None:
                self.models[slot][place].add(cell.model)
        return places

    def to_plain(self) -> dict[str, list[dict[str, Any]]]:
        """As the page has them: a label says what differs from the levels of the same name."""
        plain = {}
        for slot, stages in self.stages.items():
            names = [stage_name(stage) for stage in stages]
            labels = _labels(names, stages, self.models[slot])
            plain[slot] = [
                {"id": place, "name": name, "label": label}
                for place, (name, label) in enumerate(zip(names, labels, strict=True))
            ]
        return plain

    def refused(self, cells: Sequence[Cell], models: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Which combinations of expand, oscillation and shrink make no sense together, with the reason.

        They are asked of the first model that has these stages; what it cannot answer is left out.
        """
        own = next((model for cell, model in zip(cells, models, strict=True) if cell.stages is not None), None)
        axes = [self.stages[slot] for slot in CROSSED]
        if own is None or not 1 < math.prod(map(len, axes)) <= MOST:
            return []
        made = {tuple(levels[slot] for slot in CROSSED) for cell in cells if (levels := self.of(cell)) is not None}
        found: list[dict[str, Any]] = []
        for places in product(*(range(len(axis)) for axis in axes)):
            stages = {slot: axis[place] for slot, axis, place in zip(CROSSED, axes, places, strict=True)}
            if places not in made and (reason := _reason(own, stages)):
                found.append({**dict(zip(CROSSED, places, strict=True)), "reason": reason})
        return found

    def _place(self, slot: str, stage: Any) -> int | None:
        if stage is None:
            return None
        keys = [_key(each) for each in self.stages[slot]]
        if _key(stage) in keys:
            return keys.index(_key(stage))
        self.stages[slot].append(stage)
        self.models[slot].append(set())
        return len(keys)


def _labels(names: Sequence[str], stages: Sequence[Any], models: Sequence[set[str]]) -> list[str]:
    """A stage's name; where several share one, what differs if that is short, or whose it is."""
    labels, namesakes = list(names), defaultdict(list)
    for place, name in enumerate(names):
        namesakes[name].append(place)
    for name, places in namesakes.items():
        if len(places) == 1:
            continue
        recipes = [dict(leaves(stages[place])) for place in places]
        varied = differing(recipes)
        owners = [models[place] for place in places]
        owned = all(len(owner) == 1 for owner in owners) and len(set.union(*owners)) == len(owners)
        for number, (place, recipe, owner) in enumerate(zip(places, recipes, owners, strict=True), start=1):
            told = [f"{key.split('.')[-1]}={value_text(recipe[key])}" for key in varied if key in recipe]
            if len(told) <= TOLD:
                labels[place] = f"{name} ({', '.join(told)})"
            elif owned:
                labels[place] = f"{name} of {min(owner)}"
            else:
                labels[place] = f"{name} ({', '.join(told[:TOLD])} …{number})"
    return labels


def _reason(model: Mapping[str, Any], stages: Mapping[str, Any]) -> str | None:
    mixers = {
        name: {**mixer, **stages} if isinstance(mixer, dict) and mixer.get("kind", "eos") == "eos" else mixer
        for name, mixer in model["mixers"].items()
    }
    try:
        return refuse(check_model({**model, "mixers": mixers}, source="a combination"))
    except EOSError:
        # A stage or an option of another version, or of a plug-in that is not here.
        return None


def _key(stage: Any) -> str:
    return json.dumps(stage, sort_keys=True, default=str)
