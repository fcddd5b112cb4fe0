"""``eos nas``: from the command line to a front, and from there to a model that trains by name."""

from pathlib import Path
from typing import Any

import pytest

from eos import registry
from eos.cli.main import main
from eos.compose.check import check
from eos.compose.reader import read_recipe
from search.nas.folder import reopened
from search.nas.recipe import NASRecipe

TINY = [
    "search.mixers={softmax: llama, gla: gla}",
    *(
        "search=nas_mqar search.width=[16] search.depth=[1,2] search.heads=[2] search.key_sizes=[4,8] "
        "search.ratios=[0,1] search.scored=24 search.timed=20 search.population=6 search.generations=2 "
        "search.finalists=3 rows=4 device=cpu"
    ).split(),
]
SUPERNET = "search.supernet={steps: 6, random: 1, probes: 4, every: 3, tokens: 64}"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    # What --plugins adds is of one test alone.
    monkeypatch.setattr(registry, "_folders", ())


def nas(*words: str) -> int:
    return main(["nas", *TINY, SUPERNET, *words])


def test_a_search_goes_on_and_its_front_trains_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert nas("until=table") == 0
    assert "1/8 table" in capsys.readouterr().out
    assert nas("until=finalists", "skip=rank") == 0
    out = capsys.readouterr().out
    assert "1/8 table" not in out
    assert "4/8 rank" not in out
    assert "6/8 finalists" in out
    folder = Path("runs/nas/nas_mqar")
    assert main(["nas", "report", str(folder)]) == 0
    assert str(folder / "report.md") in capsys.readouterr().out
    assert main(["nas", "export", str(folder), "1", "--name", "found"]) == 0
    out = capsys.readouterr().out
    assert "eos --plugins plugin train experiment=found" in out
    held, _, _ = reopened(folder)
    network = held.read("finalists")["front"][0]["network"]
    run = ["--plugins", "plugin", "train", "experiment=found", "run=again", "steps=2", "validate_every=null"]
    assert main(run) == 0
    recipe = read_recipe(Path("again/recipe.yaml"))
    assert recipe["model"]["layers"] == len(network["layers"])
    assert len(recipe["model"]["layout"]) == len(network["layers"])
    assert set(recipe["model"]["channel_mixers"]) == set(recipe["model"]["layout"])
    assert main(["nas", "export", str(folder), "99"]) == 2
    assert "the cheapest being 1; got 99" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["until=scores"], "unknown phase 'scores'. Did you mean 'score'"),
        (["skip=supernet"], "skip=supernet: what follows needs it; rank, retrain, report can be skipped"),
        (["search=stages"], "search=stages is no architecture search: eos search search=stages"),
        (["search=nas_mqra"], "Did you mean 'nas_mqar'"),
        (["search.widht=[16]"], "Did you mean 'width'"),
        (["search.constraints={parameters: 10}"], "no network of"),
        (["search.mixers={both: gla direction=both}"], "comes later"),
        (["search.retrain.softmax=gla"], "unknown search.retrain.softmax 'gla'"),
        (["training.sequence_parts=2"], "needs processes that torchrun begins for one run"),
        (["training.strategy=fsdp"], "is there for eos train with one seed alone"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    kept = [word for word in (*TINY, SUPERNET) if word.partition("=")[0] not in {w.partition("=")[0] for w in words}]
    assert main(["nas", *kept, *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("eos: error: ")
    assert said in err
    assert "no network of" in said or not list(Path().glob("runs/nas/*"))


def test_a_search_over_stages_says_what_an_architecture_search_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "search=nas_mqar"]) == 2
    assert "is an architecture search: eos nas search=nas_mqar" in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in registry.recipes("search") if name.startswith("nas_")])
def test_every_recipe_makes_a_space(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from search.cli.nas_run import nas_recipe, opened_base
    from search.cli.request import split
    from search.nas.folder import NASFolder, opened

    request = split([f"search={name}"])
    recipe: Any = nas_recipe(request)
    assert check(NASRecipe, read_recipe(registry.recipe("search", name)), source=name) == recipe
    space = opened(NASFolder(tmp_path / name), recipe, opened_base(request, recipe))
    assert space.size > 1000
