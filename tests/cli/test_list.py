"""What can be listed is listed, with everything there is to know about it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from eos import registry
from eos.cli.list import composition, describe_option, headline
from eos.config import option, option_fields, options

Run = Callable[..., Any]


@options
class Everything:
    rate: float = option(1e-3, "r", above=0, high=1)
    size: int | None = option(None, "s", low=1, high=2**20)
    kind: Literal["a", "b"] = option("b", "k")
    flag: bool = option(True, "f")
    word: str = option("", "w")
    many: list[int] = option(description="m")


def test_every_stage_is_listed_with_equation_and_source(eos: Run) -> None:
    shown = eos("list", "stages").out
    for kind in registry.KINDS:
        for entry in registry.stages(kind).values():
            for said in (entry.name, entry.summary, entry.equation, entry.source):
                assert said in shown


def test_every_model_is_listed_with_what_it_is_and_its_paper(eos: Run) -> None:
    rows = eos("list", "models").out
    for name, path in registry.recipes("model").items():
        what, source = headline(path.read_text(encoding="utf-8"))
        assert what, f"{path} does not say what it is"
        assert source.startswith("arXiv:"), f"{path} does not say where it is from"
        assert f"{name} " in rows
        assert what in rows
        assert source in rows


def test_every_task_is_listed(eos: Run) -> None:
    shown = eos("list", "tasks").out
    for entry in registry.tasks().values():
        for said in (entry.name, entry.summary, entry.equation, entry.source):
            assert said in shown


def test_an_experiment_says_what_a_sweep_of_it_crosses(eos: Run, plugins: Callable[[str, str], Path]) -> None:
    text = "# Sizes.\nvary: {layers: [1, 2], expand: [linear, {name: learned, over: key}]}\n"
    folder = str(plugins("recipes/experiment/sizes.yaml", text))
    assert "eos sweep: 2 layers × 2 expand" in eos("list", "experiments", "--plugins", folder).out
    said = "eos sweep: layers=1,2 expand=linear,{name: learned, over: key}"
    assert said in eos("list", "experiments", "sizes", "--plugins", folder).out


def test_a_stage_is_shown_with_its_options(eos: Run) -> None:
    shown = eos("list", "stages", "key_gate").out
    for field in option_fields(registry.stage("oscillation", "key_gate").load().Options).values():
        assert field.name in shown
        assert field.description in shown
        assert describe_option(field) in shown


def test_a_name_of_several_kinds_shows_each(eos: Run) -> None:
    shown = eos("list", "stages", "linear").out.splitlines()
    assert "expand" in shown
    assert "shrink" in shown


def test_brackets_in_a_description_are_shown_as_they_are(eos: Run, plugins: Callable[[str, str], Path]) -> None:
    folder = plugins("stages/expand/odd.py", '"""Makes [bold]brackets[/bold] of x [B,T].\n\nEquation: e[red]\n"""\n')
    shown = eos("list", "stages", "--plugins", str(folder)).out
    assert "Makes [bold]brackets[/bold] of x [B,T]." in shown
    assert "e[red]" in shown


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rate", "float, > 0, ≤ 1, default 0.001"),
        ("size", "int | null, ≥ 1, ≤ 1048576, default null"),
        ("kind", "a | b, default b"),
        ("flag", "false | true, default true"),
        ("many", "list[int], required"),
    ],
)
def test_an_option_is_told_in_one_line(name: str, said: str) -> None:
    assert describe_option(option_fields(Everything)[name]) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# A model (arXiv:1, section 2). More of it.\n# And more.\nlayers: 1", ("A model", "arXiv:1, section 2")),
        ("# Two\n# lines (arXiv:1; arXiv:2.3).\nlayers: 1 # (arXiv:4)", ("Two lines", "arXiv:1; arXiv:2.3")),
        ("layers: 1", ("", "")),
    ],
)
def test_a_headline_is_the_first_sentence_and_its_papers(text: str, said: tuple[str, str]) -> None:
    assert headline(text) == said


def test_a_composition_is_told_as_overrides() -> None:
    main = {"expand": "ones", "oscillation": ["a", {"name": "b", "x": 1}], "shrink": {"name": "c"}, "couple": None}
    assert composition({"mixers": {"main": main}}) == "expand=ones oscillation=a+b shrink=c"
    both = composition({"mixers": {"main": main, "other": {"kind": "softmax"}}})
    assert both == "main: expand=ones oscillation=a+b shrink=c; other: kind=softmax"
    assert composition({"mixers": 3}) == ""
