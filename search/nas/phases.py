"""The phases of an architecture search, one after the other; what is done is not done again."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from eos.compose.run import save_run_recipe
from eos.config import SoftmaxMixer
from eos.models import save_weights
from eos.training.evaluation import evaluate
from eos.training.files import replacing
from eos.training.folder import RunFolder
from search.nas.architecture import Architecture
from search.nas.evolve import Found, evolve, front, spread
from search.nas.features import features
from search.nas.folder import PHASES
from search.nas.ranker import judge, learn
from search.nas.report import write_report
from search.nas.score import Scored, draw_networks, read_scored, score_all
from search.nas.scratch import compare, spent
from search.nas.search import Search
from search.nas.table import latencies, measure
from search.nas.train import loss_of, read_looks, train_supernet
from search.report.table import two

#: Networks whose latency is measured whole, to see what the table is worth.
WHOLE = 30


def run(search: Search, *, skip: Sequence[str] = (), until: str = PHASES[-1]) -> None:
    """Do what is not done yet of a search.

    Arguments:
        skip: phases that are passed over: without rank, networks evolve by their shared weights alone.
        until: the last phase that is done.

    Raises:
        Stopped: a signal came.
    """
    for number, phase in enumerate(PHASES, start=1):
        # A report is written anew, for what it tells of may have been done since.
        if phase not in skip and (phase == "report" or not search.folder.done(phase)):
            search.show.note(f"{number}/{len(PHASES)} {phase}")
            began = time.monotonic()
            left = _DONE[phase](search)
            search.folder.leave(phase, {**left, "seconds": round(time.monotonic() - began, 1)})
        if phase == until:
            break


def _table(search: Search) -> dict[str, Any]:
    precision = search.base.training.precision
    with search.show.progress("parts measured") as each:

        def told(done: int, of: int) -> None:
            search.pause()
            each(done, of)

        table = measure(search.space, device=search.device, precision=precision, cache=search.cache, each=told)
    networks = draw_networks(search.space, table, WHOLE, seed=3)
    measured = list(latencies(search.space, networks, device=search.device, precision=precision))
    summed = [table.of(network).latency for network in networks]
    errors = [abs(a / b - 1) for a, b in zip(summed, measured, strict=True)]
    check = {
        "networks": len(networks),
        "mean_error": fmean(errors),
        "largest_error": max(errors),
        "tau": float(kendalltau(summed, measured).statistic),
    }
    search.show.note(
        f"latency of {len(networks)} networks by the sum of their parts: {100 * check['mean_error']:.1f} % off on "
        f"average, {100 * check['largest_error']:.1f} % at most, Kendall's τ {two(check['tau'])}"
    )
    costs = {key: asdict(cost) for key, cost in table.costs.items()}
    return {"measured": dict(table.measured), "costs": costs, "check": check}


def _supernet(search: Search) -> dict[str, Any]:
    folder = RunFolder(search.folder.supernet)
    if not folder.path.exists():
        folder.create()
        with replacing(folder.recipe) as temporary:
            save_run_recipe(search.base, temporary)
    with folder.locked(), search.show.report(search.space.nas.supernet.steps) as report:
        supernet, steps = train_supernet(search.space, search.base, folder, stop=search.stop, report=report)
    search.pause()
    with replacing(folder.weights) as temporary:
        save_weights(supernet, temporary)
    looks = read_looks(folder.path / "looks.jsonl")
    told = [two(look.tau) for look in looks[1:]]
    search.show.note(f"{steps:,} steps; Kendall's τ of one look at the probes and the next: {', '.join(told)}")
    return {"steps": steps, "taus": [look.tau for look in looks]}


def _score(search: Search) -> dict[str, Any]:
    supernet, options = search.trained(), search.base.training
    networks = draw_networks(search.space, search.table, search.space.nas.scored, seed=4)
    timed = set(networks[: search.space.nas.timed])

    def score(network: Architecture) -> Scored:
        search.pause()
        latency = None
        if network in timed:
            latency = next(latencies(search.space, [network], device=search.device, precision=options.precision))
        return Scored(network=network, loss=loss_of(supernet, network, options), latency=latency)

    with search.show.progress("networks scored") as each:
        done = len(read_scored(search.folder.scored))
        for _ in score_all(networks, search.folder.scored, score):
            done += 1
            each(done, len(networks))
    return {"networks": len(networks), **spent(search, networks)}


def _rank(search: Search) -> dict[str, Any]:
    scored, table, seed = read_scored(search.folder.scored), search.table, search.space.nas.seed
    numbers = np.stack([features(search.space, each.network, table.of(each.network)) for each in scored])
    losses = np.array([each.loss for each in scored])
    ranker, quality = learn(numbers, losses, seed=seed)
    ranker.write(search.trees("quality"))
    timed = [place for place, each in enumerate(scored) if each.latency is not None]
    times = np.array([scored[place].latency for place in timed], dtype=float)
    _, latency = learn(numbers[timed], times, seed=seed)
    summed = np.array([table.of(scored[place].network).latency for place in timed])
    held = [scored[place] for place in quality.places]
    proxies = search.proxies([each.network for each in held])
    # So signed that 1 is the same order: of proxies more is better, of losses less.
    baseline = {
        name: -float(kendalltau(values, [each.loss for each in held]).statistic) for name, values in proxies.items()
    }
    others = ", ".join(f"{name} {two(tau)}" for name, tau in baseline.items())
    search.show.note(
        f"Kendall's τ on {len(quality.places)} networks that were not learned from: {two(quality.tau)}; of what is "
        f"said of untrained networks: {others}"
    )
    return {
        "quality": asdict(quality),
        "latency": asdict(latency),
        "latency_by_table": asdict(judge(summed, times, places=list(range(len(times))))),
        "proxies": baseline,
    }


def _evolve(search: Search) -> dict[str, Any]:
    nas, table, loss = search.space.nas, search.table, search.loss()
    softmax = [name for name, mixer in search.space.mixers.items() if isinstance(mixer, SoftmaxMixer)]
    linear = [name for name in search.space.mixers if name not in softmax]
    everything = list(search.space.mixers)
    searches = {"found": everything, "random": everything}
    # A control that is the search itself, or nothing, controls nothing.
    controls = (("softmax only", softmax), ("linear only", linear))
    searches |= {name: mixers for name, mixers in controls if 0 < len(mixers) < len(everything)}
    fronts = {}
    for name, mixers in searches.items():
        with search.show.progress(f"networks looked at ({name})") as each:

            def told(done: int, of: int, each: Callable[[int, int], None] = each) -> None:
                search.pause()
                each(done, of)

            met = evolve(
                search.space,
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
    search.show.note("members of the front: " + ", ".join(f"{name} {len(each)}" for name, each in fronts.items()))
    return {"fronts": fronts}


def _finalists(search: Search) -> dict[str, Any]:
    supernet, nas = search.trained(), search.space.nas
    members = [Found.from_plain(each) for each in search.folder.read("evolve")["fronts"]["found"]]
    again = []
    for each in spread(members, nas.finalists):
        search.pause()
        supernet.select(each.network)
        options = search.base.training
        found = evaluate(
            supernet, search.space.task, "validation", rows=options.evaluation_rows, precision=options.precision
        )
        again.append(Found(network=each.network, loss=found.loss, cost=each.cost))
    kept = front(again, nas.against)
    search.show.note(f"{len(kept)} of {len(again)} are on the front by shared weights on the whole validation part")
    return {"scored": [each.to_plain() for each in again], "front": [each.to_plain() for each in kept]}


#: How each phase is done; it gives what it leaves.
_DONE: dict[str, Callable[[Search], dict[str, Any]]] = {
    "table": _table,
    "supernet": _supernet,
    "score": _score,
    "rank": _rank,
    "evolve": _evolve,
    "finalists": _finalists,
    "retrain": compare,
    "report": lambda search: {"files": write_report(search)},
}
