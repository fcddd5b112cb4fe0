"""A whole search, killed in every phase: it goes on, and finds what an undisturbed one finds."""

import json
import shutil
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
from search.nas.phases import run
from search.nas.report import write_report
from search.nas.search import Search, Show
from search.nas.space import Space
from search.space import Recipe

#: Where several tests run at once, one process does the search that they all look at.
pytestmark = pytest.mark.xdist_group("phases")

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


@pytest.fixture(scope="module", autouse=True)
def soon_measured() -> Iterator[None]:
    """Here it does not matter how exact latencies are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eos.training.latency.SECONDS", 0.01)
        yield


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def search_in(path: Path, *, spaces: Spaces, cache: Path, watch: Watch | None = None, **changes: Any) -> Search:
    space, base = spaces("causal", **{**CHOSEN, **changes})
    folder = NASFolder(path)
    remember(folder, space.nas, base)
    return Search(
        folder=folder,
        space=space,
        base=base,
        command=["eos", "nas"],
        show=(watch or Watch()).show,
        cache=cache,
        stop=StopRequest(),
    )


@pytest.fixture
def search_of(spaces: Spaces, cache: Path, tmp_path: Path) -> Callable[..., Search]:
    def make(name: str = "one", watch: Watch | None = None, **changes: Any) -> Search:
        return search_in(tmp_path / name, spaces=spaces, cache=cache, watch=watch, **changes)

    return make


@pytest.fixture(scope="module")
def undisturbed(spaces: Spaces, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Search:
    """A search that was done from its beginning to its end."""
    search = search_in(tmp_path_factory.mktemp("undisturbed") / "one", spaces=spaces, cache=cache)
    run(search)
    return search


@pytest.fixture
def done_until(undisturbed: Search, search_of: Callable[..., Search], tmp_path: Path) -> Callable[..., Search]:
    """A search whose phases are done up to one."""

    def make(phase: str, watch: Watch | None = None) -> Search:
        shutil.copytree(undisturbed.folder.path, tmp_path / "one")
        for later in PHASES[PHASES.index(phase) + 1 :]:
            (tmp_path / "one" / f"{later}.json").unlink()
        return search_of(watch=watch)

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


def test_a_search_that_is_killed_in_every_phase_finds_the_same(
    undisturbed: Search, search_of: Callable[..., Search]
) -> None:
    wanted = found(undisturbed)
    assert len(wanted["losses"]) == 24
    assert len(wanted["retrained"]) >= 2
    # where it begins, and in its midst where it tells of any
    for phase in PHASES:
        for after in (0, 7) if phase in ("table", "supernet", "score", "evolve") else (0,):
            with pytest.raises(Killed):
                run(search_of("killed", Watch(phase, after)))
            assert not search_of("killed").folder.done(phase)
    run(search_of("killed"))
    assert found(search_of("killed")) == wanted


def test_done_phases_are_not_done_again(done_until: Callable[..., Search]) -> None:
    watch = Watch()
    search = done_until("score", watch)
    run(search, until="score")
    assert watch.notes == []
    run(search, until="rank")
    assert [note for note in watch.notes if "/" in note[:3]] == ["4/8 rank"]


def test_without_a_ranker_shared_weights_decide(done_until: Callable[..., Search]) -> None:
    search = done_until("score")
    run(search, skip=["rank", "retrain"])
    assert not search.folder.done("rank")
    fronts = search.folder.read("evolve")["fronts"]
    assert fronts["found"]
    assert "From scratch" not in (search.folder.path / "report.md").read_text()


def test_a_stop_keeps_what_was_done(done_until: Callable[..., Search]) -> None:
    search = done_until("table")
    search.stop.signal = 15
    with pytest.raises(Stopped):
        run(search)
    assert not search.folder.done("supernet")
    search.stop.signal = None
    run(search, until="supernet")
    assert search.folder.done("supernet")


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


def test_the_report_tells_every_phase(done_until: Callable[..., Search]) -> None:
    search = done_until("report")
    names = write_report(search)
    for name in names:
        assert (search.folder.path / name).stat().st_size > 0
    text = (search.folder.path / "report.md").read_text()
    for part in ("Kendall's τ", "FLOPs", "## Fronts", "## From scratch", "found 1", "softmax like 1", "linear like 1"):
        assert part in text
    fronts = search.folder.read("evolve")["fronts"]
    assert set(fronts) == {"found", "random", "softmax only", "linear only"}
    assert {layer["mixer"] for each in fronts["softmax only"] for layer in each["network"]["layers"]} == {"softmax"}


def test_networks_trained_from_scratch_are_compared_and_go_on(
    search_of: Callable[..., Search], done_until: Callable[..., Search]
) -> None:
    def kill(done: int, of: int) -> None:
        if done == 2:
            raise Killed

    with pytest.raises(RunError, match="the phase score is not done"):
        check(search_of("empty"), 3, seeds=1, each=lambda done, of: None)
    search = done_until("rank")
    with pytest.raises(Killed):
        check(search, 4, seeds=2, each=kill)
    first = search.folder.path / "checked" / "000" / "seed-1" / "result.json"
    before = first.stat().st_mtime_ns
    found = check(search, 4, seeds=2, each=lambda done, of: None)
    assert first.stat().st_mtime_ns == before
    assert {"shared weights", "ranker", "parameters", "synflow", "one seed"} <= set(found)
    networks = search.folder.read("check")["networks"]
    assert [len(each["from_scratch"]) for each in networks] == [2] * 4
    with pytest.raises(RunError, match=r"holds runs of the seeds \[1, 2\], not \[1\]"):
        check(search, 4, seeds=1, each=lambda done, of: None)


def test_spread_keeps_the_best_and_the_order() -> None:
    members: list[Any] = list(range(10))
    assert spread(members, 20) == members
    assert spread(members, 3) == [0, 4, 9]
    assert spread(members, 1) == [9]
