"""The table that tells before anything runs what each run of a ladder would take."""

from collections.abc import Iterator, Mapping

from eos.errors import RunError
from eos.training.run import Recipe
from search.report.table import amount
from search.scale.predict import Cluster, Need, needs

HEADER = ["run", "N", "steps", "memory/GPU", "of it state", "step", "hours", "GPU-hours"]


def plan_lines(recipes: Mapping[str, Recipe], cluster: Cluster, *, seeds: int = 1) -> Iterator[str]:
    """The lines, each when it is found: of a large model that takes seconds.

    Arguments:
        recipes: by the names of their runs.
        seeds: of each; the sum is over all.

    Raises:
        RunError: none can be planned; at the end.
    """
    header = [*HEADER, *(["cost"] if cluster.price is not None else [])]
    width = max(len(name) for name in [*recipes, header[0]])

    def line(cells: list[str], after: str = "") -> str:
        return "  ".join([f"{cells[0]:<{width}}", *(f"{cell:>11}" for cell in cells[1:])]) + after

    yield line(header)
    total, planned = 0.0, 0
    for name, recipe in recipes.items():
        try:
            parameters, need = needs(recipe, cluster)
        except RunError as error:
            yield f"{name:<{width}}  {error}"
            continue
        planned += 1
        total += 0.0 if need.accumulate is None else need.hours * cluster.gpus * seeds
        yield line(_cells(name, parameters, need, cluster), _fits(need, recipe))
    paid = "" if cluster.price is None else f", cost {amount(total * cluster.price)}"
    if not planned:
        raise RunError("none of these runs can be planned")
    each = f", {seeds} seeds each" if seeds > 1 else ""
    yield f"In all {amount(total)} GPU-hours{paid} (what fits{each})."
    links = cluster.link or cluster.gpu.link
    yield (
        f"Assumed: {100 * cluster.utilisation:.0f} % of the peak while computing, {links / 1e9:.0f} GB/s from GPU to "
        "GPU; neither was measured here. Validations and checkpoints come on top."
    )


def _cells(name: str, parameters: int, need: Need, cluster: Cluster) -> list[str]:
    cells = [
        name,
        f"{parameters:.3g}" if parameters < 1e6 else f"{parameters / 1e6:,.1f} M",
        f"{need.steps:,}",
        f"{need.memory / 1e9:.1f} GB",
        f"{need.state / 1e9:.1f} GB",
        f"{need.step:.2f} s" if need.bound == "computing" else f"{need.step:.2f} s links",
        amount(need.hours),
        amount(need.hours * cluster.gpus),
    ]
    return cells if need.cost is None else [*cells, amount(need.cost)]


def _fits(need: Need, recipe: Recipe) -> str:
    if need.accumulate is None:
        less = [] if recipe.training.strategy == "fsdp" else ["training.strategy=fsdp"]
        less += [] if recipe.training.recompute else ["training.recompute=true"]
        return "  does not fit" + (f"; {' or '.join(less)} may" if less else "")
    return "" if need.accumulate == recipe.training.accumulate else f"  fits with accumulate={need.accumulate}"
