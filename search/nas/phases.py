"""The phases of an architecture search, one after the other; what is done is not done again."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from rich.console import Console
from scipy.stats import kendalltau

from eos.compose.run import save_run_recipe
from eos.config import SoftmaxMixer
from eos.models import load_weights, save_weights
from eos.training.evaluation import evaluate
from eos.training.files import replacing
from eos.training.fit import torch_device
from eos.training.folder import RunFolder
from eos.training.report import AbstractReport
from eos.training.stopping import StopRequest
from search.nas.architecture import Architecture
from search.nas.evolve import Found, evolve, front, spread
from search.nas.features import features
from search.nas.folder import PHASES, NASFolder, Stopped
from search.nas.proxies import PROXIES
from search.nas.ranker import Ranker, judge, learn
from search.nas.report import write_report
from search.nas.score import Scored, draw_networks, read_scored, score_all
from search.nas.scratch import compare, spent
from search.nas.space import Space
from search.nas.supernet import Supernet
from search.nas.table import Cost, Table, latencies, measure
from search.nas.train import Recipe, loss_of, read_looks, train_supernet

#: Networks whose latency is measured whole, to see what the table is worth.
WHOLE = 30


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

    def run(self, *, skip: Sequence[str] = (), until: str = PHASES[-1]) -> None:
        """Do what is not done yet.

        Arguments:
            skip: phases that are passed over: without rank, networks evolve by their shared weights alone.
            until: the last phase that is done.

        Raises:
            Stopped: a signal came.
        """
        for number, phase in enumerate(PHASES, start=1):
            # A report is written anew, for what it tells of may have been done since.
            if phase not in skip and (phase == "report" or not self.folder.done(phase)):
                self.show.note(f"{number}/{len(PHASES)} {phase}")
                began = time.monotonic()
                left = self._done()[phase]()
                self.folder.leave(phase, {**left, "seconds": round(time.monotonic() - began, 1)})
            if phase == until:
                break

    def _done(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """How each phase is done; it gives what it leaves."""
        return {
            "table": self._table,
            "supernet": self._supernet,
            "score": self._score,
            "rank": self._rank,
            "evolve": self._evolve,
            "finalists": self._finalists,
            "retrain": lambda: compare(self),
            "report": lambda: {"files": write_report(self)},
        }

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

    def _table(self) -> dict[str, Any]:
        precision = self.base.training.precision
        with self.show.progress("parts measured") as each:

            def told(done: int, of: int) -> None:
                self.pause()
                each(done, of)

            table = measure(self.space, device=self.device, precision=precision, cache=self.cache, each=told)
        networks = draw_networks(self.space, table, WHOLE, seed=3)
        measured = list(latencies(self.space, networks, device=self.device, precision=precision))
        summed = [table.of(network).latency for network in networks]
        errors = [abs(a / b - 1) for a, b in zip(summed, measured, strict=True)]
        check = {
            "networks": len(networks),
            "mean_error": fmean(errors),
            "largest_error": max(errors),
            "tau": float(kendalltau(summed, measured).statistic),
        }
        self.show.note(
            f"latency of {len(networks)} networks by the sum of their parts: {100 * check['mean_error']:.1f} % off on "
            f"average, {100 * check['largest_error']:.1f} % at most, Kendall's τ {check['tau']:.2f}"
        )
        costs = {key: asdict(cost) for key, cost in table.costs.items()}
        return {"measured": dict(table.measured), "costs": costs, "check": check}

    def _supernet(self) -> dict[str, Any]:
        folder = RunFolder(self.folder.supernet)
        if not folder.path.exists():
            folder.create()
            with replacing(folder.recipe) as temporary:
                save_run_recipe(self.base, temporary)
        with folder.locked(), self.show.report(self.space.nas.supernet.steps) as report:
            supernet, steps = train_supernet(self.space, self.base, folder, stop=self.stop, report=report)
        self.pause()
        with replacing(folder.weights) as temporary:
            save_weights(supernet, temporary)
        looks = read_looks(folder.path / "looks.jsonl")
        told = [f"{look.tau:.2f}" for look in looks if look.tau is not None]
        self.show.note(f"{steps:,} steps; Kendall's τ of one look at the probes and the next: {', '.join(told)}")
        return {"steps": steps, "taus": [look.tau for look in looks]}

    def trained(self) -> Supernet:
        """The network with its shared weights."""
        self.folder.read("supernet")
        supernet = Supernet(self.space).to(self.device)
        load_weights(supernet, RunFolder(self.folder.supernet).weights)
        return supernet.eval()

    def _score(self) -> dict[str, Any]:
        supernet, options = self.trained(), self.base.training
        networks = draw_networks(self.space, self.table, self.space.nas.scored, seed=4)
        timed = set(networks[: self.space.nas.timed])

        def score(network: Architecture) -> Scored:
            self.pause()
            latency = None
            if network in timed:
                latency = next(latencies(self.space, [network], device=self.device, precision=options.precision))
            return Scored(network=network, loss=loss_of(supernet, network, options), latency=latency)

        with self.show.progress("networks scored") as each:
            done = len(read_scored(self.folder.scored))
            for _ in score_all(networks, self.folder.scored, score):
                done += 1
                each(done, len(networks))
        return {"networks": len(networks), **spent(self, networks)}

    def _rank(self) -> dict[str, Any]:
        scored, table, seed = read_scored(self.folder.scored), self.table, self.space.nas.seed
        numbers = np.stack([features(self.space, each.network, table.of(each.network)) for each in scored])
        losses = np.array([each.loss for each in scored])
        ranker, quality = learn(numbers, losses, seed=seed)
        ranker.write(self._trees("quality"))
        timed = [place for place, each in enumerate(scored) if each.latency is not None]
        times = np.array([scored[place].latency for place in timed], dtype=float)
        _, latency = learn(numbers[timed], times, seed=seed)
        summed = np.array([table.of(scored[place].network).latency for place in timed])
        held = [scored[place] for place in quality.places]
        proxies = self.proxies([each.network for each in held])
        # So signed that 1 is the same order: of proxies more is better, of losses less.
        baseline = {
            name: -float(kendalltau(values, [each.loss for each in held]).statistic) for name, values in proxies.items()
        }
        others = ", ".join(f"{name} {tau:.2f}" for name, tau in baseline.items())
        self.show.note(
            f"Kendall's τ on {len(quality.places)} networks that were not learned from: {quality.tau:.2f}; of what is "
            f"said of untrained networks: {others}"
        )
        return {
            "quality": asdict(quality),
            "latency": asdict(latency),
            "latency_by_table": asdict(judge(summed, times, places=list(range(len(times))))),
            "proxies": baseline,
        }

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

    def _trees(self, name: str) -> Path:
        return self.folder.path / f"{name}.txt"

    def loss(self) -> Callable[[Architecture], float]:
        """What is thought of a network: by the ranker where there is one, else by shared weights."""
        table = self.table
        if self.folder.done("rank"):
            ranker = Ranker.read(self._trees("quality"))
            return lambda network: float(ranker(features(self.space, network, table.of(network))[None])[0])
        supernet = self.trained()

        def scored(network: Architecture) -> float:
            self.pause()
            return loss_of(supernet, network, self.base.training)

        return scored

    def _evolve(self) -> dict[str, Any]:
        nas, table, loss = self.space.nas, self.table, self.loss()
        softmax = [name for name, mixer in self.space.mixers.items() if isinstance(mixer, SoftmaxMixer)]
        linear = [name for name in self.space.mixers if name not in softmax]
        everything = list(self.space.mixers)
        searches = {"found": everything, "random": everything}
        # A control that is the search itself, or nothing, controls nothing.
        controls = (("softmax only", softmax), ("linear only", linear))
        searches |= {name: mixers for name, mixers in controls if 0 < len(mixers) < len(everything)}
        fronts = {}
        for name, mixers in searches.items():
            with self.show.progress(f"networks looked at ({name})") as each:

                def told(done: int, of: int, each: Callable[[int, int], None] = each) -> None:
                    self.pause()
                    each(done, of)

                met = evolve(
                    self.space,
                    table,
                    loss,
                    against=nas.against,
                    sampler="random" if name == "random" else nas.sampler,
                    evaluations=nas.population * nas.generations,
                    population=nas.population,
                    seed=nas.seed,
                    mixers=mixers,
                    each=told,
                )
            fronts[name] = [each.to_plain() for each in front(met, nas.against)]
        self.show.note("members of the front: " + ", ".join(f"{name} {len(each)}" for name, each in fronts.items()))
        return {"fronts": fronts}

    def _finalists(self) -> dict[str, Any]:
        supernet, nas = self.trained(), self.space.nas
        members = [Found.from_plain(each) for each in self.folder.read("evolve")["fronts"]["found"]]
        again = []
        for each in spread(members, nas.finalists):
            self.pause()
            supernet.select(each.network)
            options = self.base.training
            found = evaluate(
                supernet, self.space.task, "validation", rows=options.evaluation_rows, precision=options.precision
            )
            again.append(Found(network=each.network, loss=found.loss, cost=each.cost))
        kept = front(again, nas.against)
        self.show.note(f"{len(kept)} of {len(again)} are on the front by shared weights on the whole validation part")
        return {"scored": [each.to_plain() for each in again], "front": [each.to_plain() for each in kept]}
