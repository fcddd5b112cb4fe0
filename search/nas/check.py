"""Whether shared weights rank networks as training each from scratch does."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from eos.errors import RunError
from search.nas.score import Scored, read_scored
from search.nas.scratch import trained
from search.nas.search import Search

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


def check(search: Search, count: int, *, seeds: int, each: Callable[[int, int], None]) -> dict[str, Agreement]:
    """Train so many of the scored networks from scratch, or what is left of them, and compare.

    With several seeds the order is that of their means, and ``one seed`` tells how the first agrees with the mean of
    the others: no ranking can be expected to agree much better with either.

    Arguments:
        seeds: runs of each network, on the same batches.
        each: told how many networks are done, and how many there are.

    Raises:
        Stopped: a signal came.
        RunError: the networks are not scored yet, or were trained with other seeds.
    """
    folder = search.folder
    folder.read("score")
    scored = read_scored(folder.scored)
    draw = np.random.default_rng([search.space.nas.seed, 5])
    chosen = [scored[place] for place in draw.permutation(len(scored))[:count]]
    losses = []
    for number, one in enumerate(chosen):
        each(number, len(chosen))
        losses.append(_losses(search, one, folder.path / "checked" / f"{number:03d}", seeds))
    each(len(chosen), len(chosen))
    truth = np.mean(losses, axis=1)
    told: dict[str, Sequence[float]] = {"shared weights": [one.loss for one in chosen]}
    if folder.done("rank"):
        loss = search.loss()
        told["ranker"] = [loss(one.network) for one in chosen]
    for name, values in search.proxies([one.network for one in chosen]).items():
        told[name] = [-value for value in values]
    seed = search.space.nas.seed
    found = {name: agreement(values, truth, seed=seed) for name, values in told.items()}
    if seeds > 1:
        first, *others = np.transpose(losses)
        found["one seed"] = agreement(first, np.mean(others, axis=0), seed=seed)
    networks = [{**one.to_plain(), "from_scratch": own} for one, own in zip(chosen, losses, strict=True)]
    folder.leave("check", {"networks": networks, "taus": {name: asdict(one) for name, one in found.items()}})
    return found


def _losses(search: Search, one: Scored, path: Path, seeds: int) -> list[float]:
    """Nats a target of the validation part after training from scratch, by seed."""
    metrics = trained(search, one.network, path, seeds)["validation"]
    values = next((each.values for name, each in metrics.items() if name.startswith("nats")), [])
    losses = [value for value in values if value is not None]
    if len(losses) < seeds:
        raise RunError(f"{path}: no finite loss is told of the validation part")
    return losses
