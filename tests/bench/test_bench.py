"""Every suite of ``eos bench`` at small sizes: what it measures, and what it says where a number is missed."""

import importlib
import math
from pathlib import Path

import pytest

from eos import registry
from eos.bench import Check, suites
from eos.cli.main import main

#: By suite, the sizes that keep it short.
SMALL: dict[str, dict[str, object]] = {
    "speed": {"SHORT": 32, "LONG": 64},
    "memory": {"HALF": 64, "WHOLE": 128, "KINDS": ("elementwise",)},
    "accuracy": {"LENGTH": 64, "KINDS": {"head": ("head",), "elementwise": ("rate",)}},
    "overhead": {"CALLS": 20},
    "lengths": {"TOKENS": 64, "LENGTHS": (16, 32), "CONVOLVED": (16, 32)},
    "models": {"TOKENS": 64, "LENGTH": 32},
    "decoding": {"TOKENS": 16, "QUARTER": 4},
    "scan": {},
}


@pytest.fixture
def few_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of models made of stages alone, two; two with softmax and one convolution, whose caches grow."""
    every, few = registry.recipes, ("hybrid", "llama", "retnet", "s4", "tnn")

    def recipes(group: str) -> dict[str, Path]:
        return {name: path for name, path in every(group).items() if group != "model" or name in few}

    monkeypatch.setattr(registry, "recipes", recipes)


@pytest.mark.usefixtures("few_recipes")
@pytest.mark.parametrize("name", SMALL)
def test_suite_measures_what_it_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"eos.bench.{name}")
    for constant, value in SMALL[name].items():
        assert type(getattr(module, constant)) is type(value)
        monkeypatch.setattr(module, constant, value)
    _, checks = suites()[name]
    found = list(checks())
    assert len({check.name for check in found}) == len(found) > 0
    if name == "scan":  # which measures on a GPU alone
        assert all(check.value is None and "predicted" in check.detail for check in found)
        return
    assert all(check.value is not None and math.isfinite(check.value) and check.value >= 0 for check in found)
    assert any(check.bound is not None for check in found)
    if name == "decoding":
        assert {check.name.split(":")[0] for check in found} == {"retnet", "s4"}
    if name in ("accuracy", "decoding"):  # numbers that do not depend on the machine's speed
        assert all(check.met for check in found if check.unit == "")


def test_every_suite_is_tried() -> None:
    assert set(SMALL) == set(suites())


def test_a_missed_number_ends_with_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    met, missed = (Check(name="a promise", value=value, bound=2.0, side="at most") for value in (1.0, 3.0))
    for found in ([met], [met, missed]):
        monkeypatch.setattr("eos.bench.suites", lambda found=found: {"speed": ("a peer", lambda: iter(found))})
        if missed in found:
            with pytest.raises(SystemExit, match="1"):
                main(["bench", "speed"])
        else:
            assert main(["bench", "speed"]) == 0
        assert ("MISS a promise: 3×" in capsys.readouterr().out) == (missed in found)
