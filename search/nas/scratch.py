"""Networks trained from scratch: those found beside those laid out by hand, and what that costs."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

from rich.console import Console

from eos.errors import RecipeError, RunError
from eos.training.config import TrainingOptions
from eos.training.group import Spread, is_group, resume_group, seeds_of, train_group
from search.nas.architecture import Architecture
from search.nas.baselines import has_equals, kinds, like
from search.nas.evolve import Found, spread
from search.nas.folder import Stopped
from search.nas.search import Search
from search.nas.table import latencies
from search.nas.train import networks_of, read_looks

#: Times that the latency of what is compared is measured.
ROUNDS = 5
#: A forward and a backward pass, in forward passes.
PASSES = 3


def budget(search: Search) -> TrainingOptions:
    """How networks are trained from scratch."""
    steps, options = search.space.nas.retrain.steps, search.base.training
    return options if steps is None else options.for_steps(steps)


def tokens(search: Search) -> float:
    """Tokens that a network is trained on from scratch.

    Raises:
        RecipeError: the budget is one of time.
    """
    options = budget(search)
    if options.tokens is not None:
        return float(options.tokens)
    if options.steps is None:
        raise RecipeError("training from scratch needs a budget in steps or tokens: set search.retrain.steps")
    return float(options.steps * options.rows * search.space.task.length)


def spent(search: Search, networks: Sequence[Architecture]) -> dict[str, float]:
    """FLOPs of shared training and of scoring networks, and what training each of them alone would have taken."""
    space, table, length = search.space, search.table, search.space.task.length
    steps = search.folder.read("supernet")["steps"]
    trained = sum(table.of(network).flops for step in range(steps) for network in networks_of(space, step))
    looked = len(read_looks(search.folder.supernet / "looks.jsonl")) * space.nas.supernet.probes
    flops = [table.of(network).flops for network in networks]
    scored = max(space.nas.supernet.tokens or 0, length)
    return {
        "shared_flops": trained * search.base.training.rows * length,
        "scoring_flops": (len(networks) + looked) * fmean(flops) / PASSES * scored,
        "alone_flops": sum(flops) * tokens(search),
    }


def compare(search: Search) -> dict[str, Any]:
    """Members of the front and, for each, the hand-made networks that cost as much: all trained from scratch.

    Raises:
        Stopped: a signal came.
    """
    space, table, loss = search.space, search.table, search.loss()
    front = [Found.from_plain(each) for each in search.folder.read("finalists")["front"]]
    # Of members that nothing laid out by hand costs as much as, there is no fair comparison.
    kept = [each for each in front if has_equals(space, table, each.network, against=space.nas.against)] or front
    compared: list[tuple[str, Architecture]] = []
    for number, each in enumerate(spread(kept, space.nas.retrain.networks), start=1):
        compared.append((f"found {number}", each.network))
        for kind in kinds(space):
            network = like(space, table, kind, each.network, against=space.nas.against, loss=loss)
            compared.append((f"{kind} like {number}", network))
    # Where two are the same network, it is trained once.
    folders: dict[Architecture, str] = {}
    rows: list[dict[str, Any]] = []
    for name, network in compared:
        folders.setdefault(network, name.replace(" ", "_"))
        path = search.folder.retrained / folders[network]
        search.show.note(f"{folders[network]}: {network}")
        metrics = trained(search, network, path, space.nas.retrain.seeds, console=search.show.console)
        rows.append(
            {
                "name": name,
                "network": network.to_plain(),
                "folder": folders[network],
                "cost": asdict(table.of(network)),
                "metrics": {part: {key: asdict(one) for key, one in named.items()} for part, named in metrics.items()},
            }
        )
    networks = [network for _, network in compared]
    timed = partial(latencies, space, networks, device=search.device, precision=search.base.training.precision)
    # In turn, so that what else the machine does meets all of them alike.
    for row, taken in zip(rows, zip(*(timed() for _ in range(ROUNDS)), strict=True), strict=True):
        row["measured_latency"] = median(taken)
    return {"compared": rows}


def trained(
    search: Search, network: Architecture, path: Path, seeds: int, *, console: Console | None = None
) -> dict[str, dict[str, Spread]]:
    """Runs of a network with so many seeds, or what is left to do of them: metrics by part and name.

    Arguments:
        path: of the group of runs.
        console: where they show what they do; None shows nothing.

    Raises:
        Stopped: a signal came.
        RunError: the folder holds runs of other seeds.
    """
    search.pause()
    options = budget(search)
    wanted = [options.seed + offset for offset in range(seeds)]
    if is_group(path):
        if (held := seeds_of(path)) != wanted:
            raise RunError(f"{path} holds runs of the seeds {held}, not {wanted}: ask for those, or delete it")
        group = resume_group(path, console=console, command=search.command)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        recipe = replace(search.base, model=search.space.recipe(network), training=options)
        group = train_group(recipe, path, wanted, console=console, command=search.command)
    if group.status == "stopped":
        raise Stopped(group.signal or 0)
    return group.metrics
