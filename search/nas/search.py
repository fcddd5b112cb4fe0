"""An architecture search: what it is of, how it is watched, and what its phases have left for those after them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from eos.models import load_weights
from eos.training.fit import torch_device
from eos.training.folder import RunFolder
from eos.training.report import AbstractReport
from eos.training.stopping import StopRequest
from search.nas.architecture import Architecture
from search.nas.features import features
from search.nas.folder import NASFolder, Stopped
from search.nas.proxies import PROXIES
from search.nas.ranker import Ranker
from search.nas.space import Space
from search.nas.supernet import Supernet
from search.nas.table import Cost, Table
from search.nas.train import Recipe, loss_of


@dataclass(frozen=True, kw_only=True)
class Show:
    """How a search is watched.

    Arguments:
        note: a line that stays.
        progress: told what is counted; gives what is told how many are done, and of how many.
        report: of training, given its steps.
        console: where runs from scratch show theirs; None shows nothing.
    """

    note: Callable[[str], None]
    progress: Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
    report: Callable[[int | None], AbstractReport]
    console: Console | None = None


@dataclass(frozen=True, kw_only=True)
class Search:
    """One architecture search.

    Arguments:
        folder: where it stands.
        space: the networks.
        base: the run that all networks differ from.
        command: that began it.
        show: how it is watched.
        cache: where latencies are kept for other searches on this device.
        stop: whether a stop was asked for.
    """

    folder: NASFolder
    space: Space
    base: Recipe
    command: Sequence[str]
    show: Show
    cache: Path
    stop: StopRequest

    @property
    def device(self) -> torch.device:
        """Where networks are."""
        return torch_device(self.base.training.device)

    @property
    def table(self) -> Table:
        """Of what parts cost, as measured."""
        left = self.folder.read("table")
        return Table(costs={key: Cost(**cost) for key, cost in left["costs"].items()}, measured=left["measured"])

    def pause(self) -> None:
        """Go no further where a stop was asked for.

        Raises:
            Stopped: it was.
        """
        if self.stop.signal is not None:
            raise Stopped(self.stop.signal)

    def trained(self) -> Supernet:
        """The network with its shared weights."""
        self.folder.read("supernet")
        supernet = Supernet(self.space).to(self.device)
        load_weights(supernet, RunFolder(self.folder.supernet).weights)
        return supernet.eval()

    def proxies(self, networks: Sequence[Architecture]) -> dict[str, list[float]]:
        """What each proxy says of untrained networks; more is better."""
        task, options = self.space.task, self.base.training
        batch = task.train_batch(options.order, 0, min(16, options.rows)).to(self.device)
        found: dict[str, list[float]] = {name: [] for name in PROXIES}
        for name, proxy in PROXIES.items():
            for place, network in enumerate(networks):
                self.pause()
                torch.manual_seed(place)
                found[name].append(proxy(task.model(self.space.recipe(network)).to(self.device), batch))
        return found

    def trees(self, name: str) -> Path:
        """Of a ranker, by what it predicts."""
        return self.folder.path / f"{name}.txt"

    def loss(self) -> Callable[[Architecture], float]:
        """What is thought of a network: by the ranker where there is one, else by shared weights."""
        table = self.table
        if self.folder.done("rank"):
            ranker = Ranker.read(self.trees("quality"))
            return lambda network: float(ranker(features(self.space, network, table.of(network))[None])[0])
        supernet = self.trained()

        def scored(network: Architecture) -> float:
            self.pause()
            return loss_of(supernet, network, self.base.training)

        return scored
