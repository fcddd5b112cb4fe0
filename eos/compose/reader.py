"""Reads recipes: the part of YAML that holds names, numbers, lists and mappings, and nothing that could act.

Tags, anchors, aliases, several documents, doubled keys, interpolations (``${…}``) and keys that composition tools give
a meaning to (``_target_``) are refused with their line. Scalars follow YAML 1.2, so that ``no`` is a word and ``1e-3``
a number. Keys are always text.
"""

import math
import re
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.resolver import Resolver

from eos.errors import RecipeError

_WORD = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
#: What reads the text, sixteen times as fast where libyaml is there; and what is composed of it is ours.
_EVENTS: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LARGEST = 2**18
_DEEPEST = 20


def read_recipe(path: Path) -> dict[str, Any]:
    """The data of a recipe file.

    Raises:
        RecipeError: naming the file, and the line of what is not allowed.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise RecipeError(f"{path}: a recipe has at most {_LARGEST // 1024} KiB")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    data = _parse(text, str(path))
    if not isinstance(data, dict):
        raise RecipeError(f"{path} must be a mapping of keys to values, got {data!r}")
    return data


def write_recipe(data: dict[str, Any], path: Path) -> None:
    """Write data to a file from which :func:`read_recipe` gives the same data back."""
    text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    path.write_text(text, encoding="utf-8")


def parse_value(text: str, source: str) -> Any:
    """The value of an override: a list, mapping or quoted string as in YAML, else a number, word or plain text."""
    if text.startswith(("[", "{", '"', "'")):
        return _parse(text, source)
    return _scalar(text.strip(), source)


def value_text(value: Any) -> str:
    """A value as an override says it, so that :func:`parse_value` gives it back; text as it is."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | dict):
        dumped = yaml.dump(
            value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, allow_unicode=True, width=1e9
        )
        return str(dumped).strip()
    return "null" if value is None else str(value).lower()


def check_text(text: str, where: str) -> str:
    """``text``, unless it holds something that another reader would act on."""
    if "${" in text:
        raise RecipeError(f"{where}: {text!r} holds an interpolation; a recipe is data, write the value itself")
    if text == "???":
        raise RecipeError(f"{where}: '???' is not a value; write the value itself")
    return text


def _parse(text: str, source: str) -> Any:
    try:
        node = _Loader(text, source).get_single_node()
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        raise RecipeError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from error
    return _value(node, source)


class _Loader(Composer, Resolver):
    """Composes nodes and constructs nothing; refuses what a recipe may not hold while it composes."""

    def __init__(self, text: str, source: str) -> None:
        Composer.__init__(self)
        Resolver.__init__(self)
        events = _EVENTS(text)
        self.check_event, self.peek_event, self.get_event = events.check_event, events.peek_event, events.get_event
        self.source = source
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        where = _where(self.source, event)
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise RecipeError(f"{where}: anchors and aliases are not allowed in a recipe; write the value out")
        if event.tag is not None:
            raise RecipeError(f"{where}: the tag {event.tag!r} is not allowed; a recipe is data and runs no code")
        if self.depth == _DEEPEST:
            raise RecipeError(f"{where}: more than {_DEEPEST} levels of nesting")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Writes no aliases, and quotes every text that would be read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        plain = _WORD.fullmatch(data) is not None and data not in _WORDS
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if plain else '"')


_Dumper.add_representer(str, _Dumper.represent_str)


def _where(source: str, marked: Any) -> str:
    return f"{source}, line {marked.start_mark.line + 1}"


def _value(node: yaml.Node | None, source: str) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_value(child, source) for child in node.value]
    if isinstance(node, yaml.MappingNode):
        data: dict[str, Any] = {}
        for key, value in node.value:
            name = _key(key, source)
            if name in data:
                raise RecipeError(f"{_where(source, key)}: the key {name!r} stands twice")
            data[name] = _value(value, source)
        return data
    if isinstance(node, yaml.ScalarNode):
        where = _where(source, node)
        return _scalar(node.value, where) if not node.style else check_text(node.value, where)
    return None


def _key(node: yaml.Node, source: str) -> str:
    where = _where(source, node)
    if not isinstance(node, yaml.ScalarNode):
        raise RecipeError(f"{where}: a key must be a word or a number")
    if re.fullmatch(r"_\w+_|<<", node.value):
        raise RecipeError(f"{where}: the key {node.value!r} is not allowed; a recipe is data and runs no code")
    return check_text(node.value, where)


def _scalar(text: str, where: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        number = float(text)
        if not math.isfinite(number) or text.lstrip("+-").isdigit():
            raise RecipeError(f"{where}: the number {text[:40]} is too large")
        return number
    return check_text(text, where)
