"""Checks data against an options class, and says in the recipe's own words what is wrong with it."""

import json
import re
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import is_pydantic_dataclass

from eos.config import option_fields
from eos.errors import RecipeError, unknown

C = TypeVar("C")
Keys = tuple[str | int, ...]

_WANTED = {
    "dataclass_type": "a mapping",
    "dict_type": "a mapping",
    "union_tag_not_found": "a mapping",
    "list_type": "a list",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
}


def check(cls: type[C], data: Any, *, source: str, at: Keys = ()) -> C:
    """``data`` as a ``cls``, an :func:`~eos.config.options` class.

    Types are taken strictly: ``true`` is no number and ``"3"`` is a word.

    Arguments:
        cls: the options class.
        data: mappings, lists and scalars, as YAML gives them.
        source: where the data stands, named first in an error.
        at: the keys above the data in that source.

    Raises:
        RecipeError: one line for each fault: the dotted key, what was got, what is allowed and the nearest right one.
    """
    try:
        return TypeAdapter(cls).validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        lines = [f"{source}: {line}" for line in _faults(cls, data, error, at)]
        raise RecipeError("\n".join(lines)) from None


def dotted(keys: Keys) -> str:
    """``("mixers", "main", "heads")`` as ``mixers.main.heads``."""
    return ".".join(map(str, keys))


def _faults(cls: type[Any], data: Any, error: ValidationError, at: Keys) -> Iterator[str]:
    said: dict[Keys, list[Any]] = {}
    for fault in error.errors(include_url=False):
        if fault["type"] in ("missing", "unexpected_keyword_argument"):
            *above, key = fault["loc"]
            keys = _path(data, tuple(above))
            fields = option_fields(_class_at(cls, data, keys))
            if fault["type"] == "missing":
                yield f"{dotted((*at, *keys, key))} is missing: {fields[str(key)].description}"
            else:
                place = f"in {dotted((*at, *keys))}: " if at or keys else ""
                yield f"{place}{unknown('key', str(key), fields)}"
        else:
            said.setdefault(_path(data, fault["loc"]), []).append(fault)
    for keys, faults in said.items():
        # A union was tried member by member: where one got further into the data, its fault says more.
        if not any(other[: len(keys)] == keys and other != keys for other in said):
            yield f"{dotted((*at, *keys))} {_complaint(faults)}".lstrip()


def _complaint(faults: list[Any]) -> str:
    """What is wrong with one value, from the faults of every type that was tried on it."""
    fault = faults[0]
    match fault["type"]:
        case "value_error":
            return str(fault["ctx"]["error"])
        case "literal_error":
            return f"has the {_choice(fault['input'], fault['ctx']['expected'])}"
        case "union_tag_invalid":
            return f"has the {_choice(fault['ctx']['tag'], fault['ctx']['expected_tags'], 'kind')}"
    got = json.dumps(fault["input"], ensure_ascii=False)
    got = got if len(got) <= 60 else f"{got[:57]}…"
    wanted = dict.fromkeys(_WANTED.get(each["type"]) or each["msg"].removeprefix("Input should be ") for each in faults)
    return f"must be {' or '.join(wanted)}, got {got}"


def _choice(got: Any, expected: str, what: str = "value") -> str:
    """``expected`` holds the right values in quotes, as the validator words them."""
    return unknown(what, str(got), re.findall(r"'([^']*)'", expected))


def _path(data: Any, loc: Keys) -> Keys:
    """The keys of a fault's location that stand in the data; the rest name the class that was tried."""
    keys: list[str | int] = []
    for key in loc:
        known = isinstance(data, Mapping) and key in data
        if known or (isinstance(data, list) and isinstance(key, int) and key < len(data)):
            keys.append(key)
            data = data[key]
    return tuple(keys)


def _class_at(annotation: Any, data: Any, keys: Keys) -> type[Any]:
    """The options class of the data under ``keys``, where ``annotation`` is the type of the whole."""
    for key in keys:
        annotation = _inside(annotation, data, key)
        data = data[key]
    return _options_class(annotation, data)


def _inside(annotation: Any, data: Any, key: str | int) -> Any:
    for member in _members(annotation):
        if get_origin(member) in (dict, list):
            return get_args(member)[-1]
    return option_fields(_options_class(annotation, data))[str(key)].type


def _options_class(annotation: Any, data: Any) -> type[Any]:
    """The one options class among the members of a type; of several, the one whose ``kind`` the data has."""
    for member in _members(annotation):
        if is_pydantic_dataclass(member):
            kind = option_fields(member).get("kind")
            if kind is None or data.get("kind", kind.default) in kind.choices:
                return member
    raise TypeError(f"{annotation} declares no options for {data!r}")


def _members(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [member for part in get_args(annotation) for member in _members(part)]
    return [annotation]
