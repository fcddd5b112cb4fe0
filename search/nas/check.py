"""Whether shared weights rank networks as training each from scratch does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from eos.errors import RunError
from eos.training.files import read_json, write_json
from eos.training.result import read_result
from eos.training.run import resume, train
from search.nas.folder import Stopped
from search.nas.phases import Search
from search.nas.score import Scored, read_scored
from search.nas.scratch import budget

#: Draws of networks with replacement, for an interval.
DRAWS = 2000


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Kendall's τ with training from scratch.

    Arguments:
        tau: over all networks.
        low, high: of its 95 % bootstrap interval, over networks.
    """

    tau: float
    low: float
    high: float


def agreement(values: Sequence[float], truth: Sequence[float], *, seed: int) -> Agreement:
    """How two orders of networks agree.

    Raises:
        RunError: fewer than three networks.
    """
    if len(truth) < 3:
        raise RunError(f"{len(truth)} networks have no order to speak of: train at least three")
    draw = np.random.default_rng(seed)
    x, y = np.asarray(values), np.asarray(truth)
    drawn = [kendalltau(x[places], y[places]).statistic for places in draw.integers(len(y), size=(DRAWS, len(y)))]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Agreement(tau=float(kendalltau(x, y).statistic), low=float(low), high=float(high))


def check(search: Search, count: int, *, each: Callable[[int, int], None]) -> dict[str, Agreement]:
    """Train so many of the scored networks from scratch, or what is left of them, and compare.

    Arguments:
        each: told how many are done, and how many there are.

    Raises:
        Stopped: a signal came.
        RunError: the networks are not scored yet.
    """
    folder = search.folder
    folder.read("score")
    scored = read_scored(folder.scored)
    draw = np.random.default_rng([search.space.nas.seed, 5])
    chosen = [scored[place] for place in draw.permutation(len(scored))[:count]]
    truth = []
    for number, one in enumerate(chosen):
        each(number, len(chosen))
        truth.append(_trained(search, one, folder.path / "checked" / f"{number:03d}"))
    each(len(chosen), len(chosen))
    told: dict[str, Sequence[float]] = {"shared weights": [one.loss for one in chosen]}
    if folder.done("rank"):
        loss = search.loss()
        told["ranker"] = [loss(one.network) for one in chosen]
    for name, values in search.proxies([one.network for one in chosen]).items():
        told[name] = [-value for value in values]
    found = {name: agreement(values, truth, seed=search.space.nas.seed) for name, values in told.items()}
    folder.leave("check", _plain(chosen, truth, found))
    return found


def _plain(chosen: Sequence[Scored], truth: Sequence[float], found: Mapping[str, Agreement]) -> dict[str, Any]:
    networks = [{**one.to_plain(), "from_scratch": loss} for one, loss in zip(chosen, truth, strict=True)]
    return {"networks": networks, "taus": {name: asdict(one) for name, one in found.items()}}


def _trained(search: Search, one: Scored, path: Path) -> float:
    """Nats a target of the validation part after training from scratch."""
    left = path.with_suffix(".json")
    if left.exists():
        return float(read_json(left)["loss"])
    if path.exists():
        result = resume(path)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        recipe = replace(search.base, model=search.space.recipe(one.network), training=budget(search))
        result = train(recipe, path, command=search.command)
    if result.status == "stopped":
        raise Stopped(result.signal or 0)
    metrics = read_result(path / "result.json").metrics["validation"]
    loss = next((value for name, value in metrics.items() if name.startswith("nats") and value is not None), None)
    if loss is None:
        raise RunError(f"{path}: no loss is told of the validation part")
    write_json(left, {"loss": loss})
    return loss
