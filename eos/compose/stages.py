"""The forms in which data may say a stage: its name, or a flat mapping of its name and options.

An oscillation is a list of those; ``a+b`` stands for the list of two names and ``none`` for the empty one.
"""

from collections.abc import Callable
from typing import Any

SLOTS = ("expand", "shrink", "couple", "response")
PRODUCT = "oscillation"
#: The option of a mixer that holds stages of its own.
FIRST = "first_pass"
NOTHING = "none"


def block(value: Any) -> Any:
    """A stage as a flat mapping; what is neither a name nor a mapping is left for the check to refuse."""
    return {"name": value} if isinstance(value, str) else value


def parts(value: Any) -> Any:
    """The stages of an oscillation as a list of names and mappings, or what is none of its forms as it is."""
    if value is None or value == NOTHING:
        return []
    if isinstance(value, str):
        return [name.strip() for name in value.split("+")]
    return [value] if isinstance(value, dict) else value


def canonical(model: Any) -> Any:
    """A copy of a model recipe's data in which every stage is a flat mapping and every oscillation a list."""
    return _map_stages(model, block)


def nested(model: Any) -> Any:
    """A copy in which every stage is ``{name, options}``, as :class:`~eos.config.StageRecipe` has it."""
    return _map_stages(model, _nest)


def _map_stages(model: Any, change: Callable[[Any], Any]) -> Any:
    if not isinstance(model, dict) or not isinstance(model.get("mixers"), dict):
        return model
    mixers = {name: _map_mixer(mixer, change) for name, mixer in model["mixers"].items()}
    return {**model, "mixers": mixers}


def _map_mixer(mixer: Any, change: Callable[[Any], Any]) -> Any:
    if not isinstance(mixer, dict) or mixer.get("kind", "eos") not in ("eos", "convolution"):
        return mixer
    changed = dict(mixer)
    for slot in SLOTS:
        if slot in mixer:
            changed[slot] = None if slot == "couple" and mixer[slot] == NOTHING else change(mixer[slot])
    if isinstance(mixer.get(FIRST), dict):
        changed[FIRST] = {key: change(value) if key in SLOTS else value for key, value in mixer[FIRST].items()}
    if PRODUCT in mixer:
        stages = parts(mixer[PRODUCT])
        changed[PRODUCT] = [change(stage) for stage in stages] if isinstance(stages, list) else stages
    return changed


def _nest(value: Any) -> Any:
    value = block(value)
    if not isinstance(value, dict):
        return value
    options = {key: option for key, option in value.items() if key != "name"}
    return {"options": options} | {key: name for key, name in value.items() if key == "name"}
