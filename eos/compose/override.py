"""The short grammar of overrides: ``expand=elu oscillation=head_decay+rotation shrink.activation=relu layers=4``.

A key is looked up in the model, in each of its mixers, in the task and in the training options; where it stands in
several places, the error lists their full paths. Choosing a stage of a new name drops the old stage's options; a
stage that stays keeps its own. ``size=NAME`` changes layers, width, heads and hidden width at once.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from eos.compose.check import Keys, dotted
from eos.compose.reader import parse_value
from eos.compose.size import resized
from eos.compose.stages import NOTHING, PRODUCT, SLOTS, block, canonical, parts
from eos.config import ConvolutionMixer, EOSMixer, ModelRecipe, SoftmaxMixer, option_fields
from eos.errors import RecipeError, unknown

#: In an experiment: changes of every mixer of a kind.
EVERY = "every"
KINDS: dict[Any, type[Any]] = {"softmax": SoftmaxMixer, "convolution": ConvolutionMixer}
_KEY = re.compile(r"[\w-]+(\.[\w-]+)*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Override:
    """One ``key=value``.

    Arguments:
        text: as it was written.
        keys: the parts of the key.
        value: its value, as YAML has it.
    """

    text: str
    keys: tuple[str, ...]
    value: Any

    def error(self, message: str) -> RecipeError:
        """The error of this override."""
        return RecipeError(f"override {self.text!r}: {message}")


def parse(text: str) -> Override:
    """Read one override.

    Raises:
        RecipeError: it does not read ``key=value``.
    """
    key, equals, value = text.partition("=")
    if not equals or not value:
        raise RecipeError(f"override {text!r} must read key=value, as in expand=elu or layers=4 (null for nothing)")
    if not _KEY.fullmatch(key):
        raise RecipeError(f"override {text!r}: a key is words joined by dots, as in shrink.activation=relu")
    return Override(text=text, keys=tuple(key.split(".")), value=parse_value(value, f"override {text!r}"))


def apply(
    recipe: Mapping[str, Any], overrides: Sequence[str], options: Mapping[str, type[Any]] | None = None
) -> dict[str, Any]:
    """The recipe with overrides applied in their order.

    Arguments:
        recipe: the data of each group: model, and for a run also task and training.
        overrides: each ``key=value``.
        options: the options class of each group but the model.

    Raises:
        RecipeError: a key that is unknown or ambiguous, or no ``key=value``. Values are checked later, as a whole.
    """
    changed = deepcopy(dict(recipe))
    changed["model"] = canonical(changed["model"])
    for override in map(parse, overrides):
        if override.keys == ("size",):
            changed["model"] = resized(changed["model"], str(override.value))
        else:
            _set(changed, _locate(override, changed, options or {}), override)
    return changed


def merge(old: Any, new: Any) -> Any:
    """``old`` with the keys of ``new``: mappings are merged, unless the new one has another name or kind."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    if any(key in new and new[key] != old.get(key) for key in ("name", "kind")):
        return new
    return {**old, **{key: merge(old.get(key), value) for key, value in new.items()}}


def changed_model(model: Any, changes: Any) -> Any:
    """A model recipe's data with an experiment's changes, in canonical form.

    Beside the keys of a recipe, ``every: {eos: …, softmax: …, convolution: …}`` changes every mixer of a kind that
    stands in the layout, whatever its name, so that one experiment suits any model.

    Raises:
        RecipeError: an unknown kind.
    """
    if not isinstance(changes, dict) or not isinstance(changes.get(EVERY), dict):
        return merge(canonical(model), canonical(changes))
    by_kind = changes[EVERY]
    for kind in by_kind:
        if kind not in ("eos", *KINDS):
            raise RecipeError(f"in {EVERY}: {unknown('kind of mixer', str(kind), ('eos', *KINDS))}")
    rest = {key: value for key, value in changes.items() if key != EVERY}
    changed = merge(canonical(model), canonical(rest))
    layout = changed["layout"]
    for name in set(layout.values() if isinstance(layout, dict) else layout):
        mixer = changed["mixers"].get(name)
        if isinstance(mixer, dict) and (own := by_kind.get(mixer.get("kind", "eos"))) is not None:
            kind = {"kind": mixer["kind"]} if "kind" in mixer else {}
            new = canonical({"mixers": {name: {**kind, **own}}})["mixers"][name]
            changed["mixers"][name] = merge(mixer, new)
    return changed


def _locate(override: Override, recipe: Mapping[str, Any], options: Mapping[str, type[Any]]) -> Keys:
    """The full path of an override's key."""
    places = list(_places(recipe, options))
    first, *rest = override.keys
    if first in recipe:
        if not rest:
            raise override.error(f"{first} has many keys; {first}.KEY=VALUE changes one of them")
        places = [place for place in places if place[0] == first]
        first, *rest = rest
    found = [place for place in places if place[-1] == first]
    if not found:
        raise override.error(unknown("key", first, {str(place[-1]) for place in places}))
    if len(found) > 1:
        raise override.error(f"{first} stands in several places: {', '.join(map(dotted, found))}; say which")
    return (*found[0], *rest)


def _places(recipe: Mapping[str, Any], options: Mapping[str, type[Any]]) -> Iterator[Keys]:
    """The full path of every key that may be named without its prefix."""
    for group, data in recipe.items():
        for name in option_fields(ModelRecipe if group == "model" else options[group]):
            yield (group, name)
        if group == "model":
            for mixer, cls in _mixers(data).items():
                yield from ((group, "mixers", mixer, name) for name in option_fields(cls))


def _mixers(model: Any) -> dict[str, type[Any]]:
    mixers = model.get("mixers") if isinstance(model, dict) else None
    if not isinstance(mixers, dict):
        return {}
    return {name: KINDS.get(mixer.get("kind"), EOSMixer) for name, mixer in mixers.items() if isinstance(mixer, dict)}


def _set(recipe: dict[str, Any], path: Keys, override: Override) -> None:
    match path:
        case ("model", "mixers", str(name), str(slot), *rest):
            mixers = recipe["model"]["mixers"]
            if name not in mixers:
                raise override.error(unknown("mixer", name, mixers))
            if slot == PRODUCT:
                _set_product(mixers[name], rest, override)
            elif slot in SLOTS:
                _set_stage(mixers[name], slot, rest, override)
            else:
                _assign(mixers[name], [slot, *rest], override)
        case _:
            _assign(recipe, path, override)


def _set_stage(mixer: dict[str, Any], slot: str, keys: Sequence[Any], override: Override) -> None:
    if keys and keys != ["name"]:
        if not mixer.get(slot):
            raise override.error(f"there is no {slot} stage whose option it could set; choose one with {slot}=NAME")
        _assign(mixer[slot], keys, override)
    elif slot == "couple" and override.value == NOTHING:
        mixer[slot] = None
    else:
        mixer[slot] = _chosen(override.value, [mixer.get(slot)])


def _set_product(mixer: dict[str, Any], keys: Sequence[Any], override: Override) -> None:
    old = mixer.get(PRODUCT) or []
    if not keys:
        new = parts(override.value)
        mixer[PRODUCT] = [_chosen(part, old) for part in new] if isinstance(new, list) else new
        return
    if len(old) == 1 and len(keys) == 1 and not keys[0].isdigit() and keys[0] != old[0].get("name"):
        # Of the only part its options may be named directly.
        keys = ["0", *keys]
    which, *rest = keys
    index = _index(which, old, override)
    if rest and rest != ["name"]:
        _assign(old[index], rest, override)
    else:
        old[index] = _chosen(override.value, [old[index]])


def _index(which: str, product: list[Any], override: Override) -> int:
    """The place in the product that ``which`` means: a stage's name, or a number from 0."""
    names = [part.get("name") if isinstance(part, dict) else None for part in product]
    if which.isdigit():
        if int(which) >= len(names):
            raise override.error(
                f"the oscillation has {len(names)} parts, counted from 0: {', '.join(map(str, names))}"
            )
        return int(which)
    if which not in names:
        raise override.error(unknown("part of the oscillation", which, map(str, names)))
    if names.count(which) > 1:
        places = ", ".join(f"{PRODUCT}.{index}" for index, name in enumerate(names) if name == which)
        raise override.error(f"{which} stands several times in the product; say {places}")
    return names.index(which)


def _chosen(value: Any, old: list[Any]) -> Any:
    """The stage that a value says; where it is one of the old ones by name, that one, taken from them, as it was."""
    if isinstance(value, str):
        for index, stage in enumerate(old):
            if isinstance(stage, dict) and stage.get("name") == value:
                return old.pop(index)
    return block(value)


def _assign(data: Any, keys: Sequence[Any], override: Override) -> None:
    *above, last = keys
    for key in above:
        if data.get(key) is None:
            data[key] = {}
        data = data[key]
        if not isinstance(data, dict):
            raise override.error(f"{key} is {data!r}, which has no keys of its own")
    data[last] = override.value
