"""Reading recipes: data comes back as written, and nothing but data is read."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eos.compose.reader import parse_value, read_recipe, write_recipe
from eos.errors import RecipeError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(
    lambda text: "${" not in text and text != "???"
)
KEY = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
SCALAR = (
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
DATA = st.dictionaries(
    KEY,
    st.recursive(
        SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY, inner, max_size=3), max_leaves=8
    ),
)


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@given(DATA)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    write_recipe(data, path)
    read = read_recipe(path)
    assert read == data
    assert repr(read) == repr(data), "True is not 1, and 1 is not 1.0"


@pytest.mark.parametrize("text", ["1e-3", "5.", "12", "null", "Null", "True", "~", "", "no", "a: b", "- x", "#", "é"])
def test_text_that_looks_like_something_else_stays_text(tmp_path: Path, text: str) -> None:
    write_recipe({"x": text}, tmp_path / "recipe.yaml")
    assert read_recipe(tmp_path / "recipe.yaml") == {"x": text}


def test_shared_lists_are_written_out(tmp_path: Path) -> None:
    shared = ["a"]
    write_recipe({"x": shared, "y": shared}, tmp_path / "recipe.yaml")
    assert read_recipe(tmp_path / "recipe.yaml") == {"x": ["a"], "y": ["a"]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4),
        ("-3", -3),
        ("1e-3", 1e-3),
        ("3.", 3.0),
        (".5", 0.5),
        ("true", True),
        ("null", None),
        ("no", "no"),
        ("none", "none"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("2020-01-01", "2020-01-01"),
        ("head_decay+rotation", "head_decay+rotation"),
        ("*.txt", "*.txt"),
        ("a: b # c", "a: b # c"),
        ("'4'", "4"),
        ("[a, 1, true]", ["a", 1, True]),
        ("{name: elu, scale: 2}", {"name": "elu", "scale": 2}),
    ],
)
def test_values_of_overrides(text: str, value: Any) -> None:
    read = parse_value(text, "here")
    assert read == value
    assert type(read) is type(value)


def test_keys_are_text_and_words_of_other_yaml_versions_stay_words(tmp_path: Path) -> None:
    path = write(tmp_path, "0.5: a\non: no\n'1': [yes, ~]\n")
    assert read_recipe(path) == {"0.5": "a", "on": "no", "1": ["yes", None]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layers: !!python/object/apply:os.system ['true']", "line 1: the tag .*os.system' is not allowed"),
        ("a: 1\nlayers: !include other.yaml", "line 2: the tag '!include' is not allowed"),
        ("layers: !!int 4", "the tag .* is not allowed"),
        ("a: &a [1]\nb: [*a, *a, *a]", "line 1: anchors and aliases are not allowed"),
        ("a: 1\nb: *a", "line 2: anchors and aliases are not allowed"),
        ("<<: {a: 1}", "the key '<<' is not allowed"),
        ("_target_: os.system", "the key '_target_' is not allowed; a recipe is data and runs no code"),
        ("mixers: {main: {expand: {name: elu, _partial_: true}}}", "the key '_partial_' is not allowed"),
        ("width: ${oc.env:HOME}", "an interpolation"),
        ("width: '${layers}'", "an interpolation"),
        ("'${layers}': 1", "an interpolation"),
        ("width: ???", "write the value itself"),
        ("a: 1\na: 2", "line 2: the key 'a' stands twice"),
        ("? [a, b]\n: 1", "a key must be a word or a number"),
        ("a: 1\n---\nb: 2", "is not valid YAML"),
        ("a: [1, 2", "is not valid YAML"),
        ("a:\n\t- 1", "is not valid YAML"),
        ("a: \x07", "is not valid YAML"),
        ("a: " + "9" * 30, "is too large"),
        ("a: 1e999", "is too large"),
        ("a: " + "[" * 30, "more than 20 levels of nesting"),
        ("a: " + "[" * 100_000, "more than 20 levels of nesting"),
        ("[1, 2]", "must be a mapping"),
        ("", "must be a mapping"),
        ("a: " + "x" * 2**18, "at most 256 KiB"),
    ],
)
def test_what_is_not_plain_data_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(RecipeError, match=message) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"absent\.yaml cannot be read: No such file"):
        read_recipe(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(RecipeError, match=r"binary\.yaml is not UTF-8 text"):
        read_recipe(tmp_path / "binary.yaml")


@given(st.text(st.sampled_from("ab: -[]{}&*!'\"\n\t?|>%@`,#<=1.$_~"), max_size=40))
def test_no_text_brings_another_error_than_its_own(text: str) -> None:
    with suppress(RecipeError):
        parse_value("[" + text, "here")
