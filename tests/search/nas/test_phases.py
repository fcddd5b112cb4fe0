"""A whole search, killed in every phase: it goes on, and finds what an undisturbed one finds."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from eos.cli.recipes import load_run_recipe
from eos.errors import DataError, RunError
from eos.training.report import SilentReport
from eos.training.stopping import StopRequest
from search.nas.check import check
from search.nas.evolve import spread
from search.nas.folder import PHASES, NASFolder, Stopped, opened, remember, reopened
from search.nas.phases import Search, Show
from search.nas.report import write_report
from search.nas.space import Space
from search.space import Recipe

Spaces = Callable[..., tuple[Space, Recipe]]
CHOSEN: dict[str, Any] = {
    "mixers": {"softmax": "llama", "gla": "gla", "cosformer": "cosformer"},
    "width": [16],
    "depth": [1, 2],
    "heads": [2],
    "key_sizes": [4, 8],
    "ratios": [0, 1],
    "supernet": {"steps": 12, "random": 1, "probes": 4, "every": 4, "tokens": 64, "threshold": 1.0},
    "scored": 24,
    "timed": 20,
    "population": 6,
    "generations": 3,
    "finalists": 3,
    "retrain": {"networks": 1, "seeds": 2, "steps": 4},
}


class Killed(BaseException):
    """As if the process had ended there."""


class Watch:
    """Ends the process at the n-th thing that is told after a phase has begun, if any."""

    def __init__(self, phase: str | None = None, after: int = 0) -> None:
        self.phase = phase
        self.left = after
        self.begun = False
        self.notes: list[str] = []

    def tell(self, text: str = "") -> None:
        self.begun |= self.phase is not None and text.endswith(f" {self.phase}")
        self.left -= self.begun
        if self.begun and self.left < 0:
            raise Killed

    @property
    def show(self) -> Show:
        watch = self

        class Report(SilentReport):
            def step(self, *, step: int, used: float, seconds: float) -> None:
                watch.tell()

        @contextmanager
        def progress(what: str) -> Iterator[Callable[[int, int], None]]:
            yield lambda done, of: watch.tell()

        def note(text: str) -> None:
            watch.notes.append(text)
            watch.tell(text)

        return Show(note=note, progress=progress, report=lambda steps: Report())


@pytest.fixture
def search_of(spaces: Spaces, tmp_path: Path) -> Callable[..., Search]:
    def make(name: str = "one", watch: Watch | None = None, **changes: Any) -> Search:
        space, base = spaces("causal", **{**CHOSEN, **changes})
        folder = NASFolder(tmp_path / name)
        remember(folder, space.nas, base)
        return Search(
            folder=folder,
            space=space,
            base=base,
            command=["eos", "nas"],
            show=(watch or Watch()).show,
            cache=tmp_path / "cache",
            stop=StopRequest(),
        )

    return make


def found(search: Search) -> dict[str, Any]:
    """What a search has found, without times."""
    scored = [json.loads(line) for line in search.folder.scored.read_text().splitlines()]
    retrained = [
        {key: row[key] for key in ("name", "network", "metrics")} for row in search.folder.read("retrain")["compared"]
    ]
    return {
        "taus": search.folder.read("supernet")["taus"],
        "losses": [each["loss"] for each in scored],
        "quality": search.folder.read("rank")["quality"],
        "fronts": search.folder.read("evolve")["fronts"],
        "finalists": search.folder.read("finalists")["front"],
        "retrained": retrained,
    }


def test_a_search_that_is_killed_in_every_phase_finds_the_same(search_of: Callable[..., Search]) -> None:
    undisturbed = search_of("whole")
    undisturbed.run()
    wanted = found(undisturbed)
    assert len(wanted["losses"]) == 24
    assert len(wanted["retrained"]) >= 2
    # where it begins, and in its midst where it tells of any
    for phase in PHASES:
        for after in (0, 7) if phase in ("table", "supernet", "score", "evolve") else (0,):
            with pytest.raises(Killed):
                search_of("killed", Watch(phase, after)).run()
            assert not search_of("killed").folder.done(phase)
    search_of("killed").run()
    assert found(search_of("killed")) == wanted


def test_done_phases_are_not_done_again(search_of: Callable[..., Search]) -> None:
    search_of().run(until="score")
    watch = Watch()
    search_of(watch=watch).run(until="score")
    assert watch.notes == []
    watch = Watch()
    search_of(watch=watch).run(until="rank")
    assert [note for note in watch.notes if "/" in note[:3]] == ["4/8 rank"]


def test_without_a_ranker_shared_weights_decide(search_of: Callable[..., Search]) -> None:
    search = search_of(generations=2)
    search.run(skip=["rank", "retrain"])
    assert not search.folder.done("rank")
    fronts = search.folder.read("evolve")["fronts"]
    assert fronts["found"]
    assert "From scratch" not in (search.folder.path / "report.md").read_text()


def test_a_stop_keeps_what_was_done(search_of: Callable[..., Search]) -> None:
    search = search_of()
    search.run(until="supernet")
    search.stop.signal = 15
    with pytest.raises(Stopped):
        search.run()
    assert not search.folder.done("score")
    search_of().run(until="score")
    assert search.folder.done("score")


def test_another_space_or_base_is_refused(search_of: Callable[..., Search]) -> None:
    search_of()
    with pytest.raises(RunError, match=r"begun otherwise:\n  nas\.key_sizes\[1\] was 8, and is null now"):
        search_of(key_sizes=[4])
    search = search_of()
    search.folder.leave("retrain", {})
    search_of(retrain={**CHOSEN["retrain"], "networks": 2})
    assert not search.folder.done("retrain")
    with pytest.raises(RunError, match=r"nas\.retrain\.seeds was 2, and is 3 now"):
        search_of(retrain={"networks": 2, "seeds": 3, "steps": 4})


def test_a_search_is_reopened(search_of: Callable[..., Search]) -> None:
    search = search_of()
    folder, space, base = reopened(search.folder.path)
    assert (space.nas, base.model) == (search.space.nas, search.base.model)
    with pytest.raises(RunError, match="holds no architecture search"):
        reopened(folder.path / "nothing")


def test_other_data_are_refused(spaces: Spaces, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("a line of text\n" * 400)
    base = load_run_recipe(["task=text", f"task.source={text}", "task.length=16", "model=llama", "width=16"])
    nas = spaces("causal", **CHOSEN)[0].nas
    folder = NASFolder(tmp_path / "search")
    opened(folder, nas, base)
    text.write_text("another line here\n" * 400)
    with pytest.raises(DataError, match="sha256"):
        opened(folder, nas, base)


def test_the_report_tells_every_phase(search_of: Callable[..., Search]) -> None:
    search = search_of()
    search.run()
    names = write_report(search)
    for name in names:
        assert (search.folder.path / name).stat().st_size > 0
    text = (search.folder.path / "report.md").read_text()
    for part in ("Kendall's τ", "FLOPs", "## Fronts", "## From scratch", "found 1", "softmax like 1", "linear like 1"):
        assert part in text
    fronts = search.folder.read("evolve")["fronts"]
    assert set(fronts) == {"found", "random", "softmax only", "linear only"}
    assert {layer["mixer"] for each in fronts["softmax only"] for layer in each["network"]["layers"]} == {"softmax"}


def test_networks_trained_from_scratch_are_compared_and_go_on(search_of: Callable[..., Search]) -> None:
    search = search_of(retrain={"networks": 1, "seeds": 1, "steps": 2})
    with pytest.raises(RunError, match="the phase score is not done"):
        check(search, 3, each=lambda done, of: None)
    search.run(until="rank")

    def kill(done: int, of: int) -> None:
        if done == 2:
            raise Killed

    with pytest.raises(Killed):
        check(search, 4, each=kill)
    first = (search.folder.path / "checked" / "000" / "result.json").stat().st_mtime_ns
    found = check(search, 4, each=lambda done, of: None)
    assert (search.folder.path / "checked" / "000" / "result.json").stat().st_mtime_ns == first
    assert {"shared weights", "ranker", "parameters", "synflow"} <= set(found)
    assert len(search.folder.read("check")["networks"]) == 4


def test_spread_keeps_the_best_and_the_order() -> None:
    members: list[Any] = list(range(10))
    assert spread(members, 20) == members
    assert spread(members, 3) == [0, 4, 9]
    assert spread(members, 1) == [9]
