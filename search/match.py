"""Brings a model recipe to a budget by its sizes alone, so that combinations of stages are compared at equal size.

The hidden width of the channel mixer is the knob of parameters and FLOPs, which are affine in it; K, then H, is the
knob of the decoding memory. No weight is built: every number is :func:`eos.compose.cost.cost_of`'s.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from pydantic import model_validator
from torch import nn

from eos.compose.cost import PASSES, ModelCost, cost_of
from eos.config import ChannelMixer, EOSMixer, ModelRecipe, option, option_fields, options
from eos.errors import EOSError
from eos.models.channel_mixer import hidden_width
from eos.tasks.task import AbstractTask
from search.state import MisfitError, with_state

#: How far from its budget a match may be, relative.
NEAR = {"params": 0.02, "flops": 0.02, "state": 0.05}
UNITS = {"params": "parameters", "flops": "training FLOPs a token", "state": "bytes of decoding memory"}
#: Evaluations after which a hidden width stands; two are enough where the recipe's depth is the model's.
TRIES = 3

Cost = Callable[[ModelRecipe], ModelCost]
Size = Literal["params", "flops"]


class BudgetError(EOSError, ValueError):
    """A budget that no size of a recipe meets."""


@options
class Match:
    """What a model is brought to: params or flops, state, or state and one of the two."""

    params: float | None = option(None, "trained parameters", above=0, log=True)
    flops: float | None = option(None, "training FLOPs a token, at the task's length", above=0, log=True)
    state: float | None = option(
        None, "bytes that decoding keeps of a sequence of the task's length", above=0, log=True
    )

    @model_validator(mode="after")
    def _check(self) -> "Match":
        if self.params is not None and self.flops is not None:
            raise ValueError("params and flops have one knob, the hidden width: give one of them")
        if self.params is None and self.flops is None and self.state is None:
            raise ValueError("no budget: give params, flops or state")
        return self


class Setting(NamedTuple):
    """What a recipe is built into, as a task says it.

    Arguments:
        make: the model of a recipe.
        length: T, ≥ 1.
        grid: sizes of the grid that the tokens form, whose product is the length; or None.
    """

    make: Callable[[ModelRecipe], nn.Module]
    length: int
    grid: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Matched:
    """A recipe at its budget.

    Arguments:
        recipe: the recipe, with other sizes.
        params: trained parameters.
        flops: training FLOPs a token.
        state: bytes that decoding keeps of a sequence.
        deviations: of everything asked for, what was reached / what was asked − 1.
        knobs: every changed size under its dotted key.
    """

    recipe: ModelRecipe
    params: int
    flops: float
    state: int
    deviations: Mapping[str, float]
    knobs: Mapping[str, int | float]


def matched(
    recipe: ModelRecipe,
    match: Match,
    *,
    task: AbstractTask | tuple[Callable[[ModelRecipe], nn.Module], int, tuple[int, ...] | None],
    device: str = "cpu",
) -> Matched:
    """The recipe with the sizes that meet a budget: params and flops within 2 %, state within 5 %.

    Arguments:
        recipe: checked and not refused.
        match: the budget.
        task: made ready; or what it would say (:class:`Setting`).
        device: the type of device to plan for, cpu or cuda; FLOPs depend on it.

    Raises:
        BudgetError: no sizes meet it, with what can be reached.
    """
    setting = Setting(*task) if isinstance(task, tuple) else Setting(task.model, task.length, task.grid)

    known: list[tuple[ModelRecipe, ModelCost]] = []

    def cost(changed: ModelRecipe) -> ModelCost:
        for before, reached in known:
            if before is changed:
                return reached
        reached = cost_of(changed, make=setting.make, length=setting.length, grid=setting.grid, device=device)
        known.append((changed, reached))
        return reached

    found = recipe
    if match.state is not None:
        try:
            found = with_state(recipe, match.state, cost, near=NEAR["state"])
        except MisfitError as misfit:
            raise BudgetError(_complaint("state", match.state, str(misfit))) from None
    if match.params is not None:
        found = _with_size(found, "params", match.params, cost)
    if match.flops is not None:
        found = _with_size(found, "flops", match.flops, cost)
    reached = cost(found)
    numbers = {"params": reached.parameters, "flops": reached.training.flops, "state": reached.memory}
    asked = {name: getattr(match, name) for name in numbers}
    return Matched(
        recipe=found,
        params=reached.parameters,
        flops=reached.training.flops,
        state=reached.memory,
        deviations={name: numbers[name] / budget - 1 for name, budget in asked.items() if budget is not None},
        knobs=_changes(recipe, found),
    )


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What the hidden width of the channel mixer brings a recipe to.

    Arguments:
        size: params or flops.
        low, high: at the least hidden width and at the most; the same where there is none.
    """

    size: Size
    low: float
    high: float


def reach(recipe: ModelRecipe, match: Match, *, task: AbstractTask) -> Reach | None:
    """How few and how many parameters or FLOPs a recipe can be brought to; None where the match asks for neither.

    Raises:
        BudgetError: its memory cannot be brought to the budget.
    """
    size: Size | None = "params" if match.params is not None else "flops" if match.flops is not None else None
    if size is None:
        return None
    if match.state is not None:
        recipe = matched(recipe, Match(state=match.state), task=task).recipe
    ends = [recipe, recipe] if recipe.channel_mixer.name == "none" else [end for _, end in _ends(recipe)]
    costs = [cost_of(each, make=task.model, length=task.length, grid=task.grid) for each in ends]
    low, high = (each.parameters if size == "params" else each.training.flops for each in costs)
    return Reach(size=size, low=low, high=high)


def _with_size(recipe: ModelRecipe, size: Size, target: float, cost: Cost) -> ModelRecipe:
    """The recipe with the hidden width that brings parameters or FLOPs nearest to the target."""

    def value(changed: ModelRecipe) -> float:
        reached = cost(changed)
        return reached.parameters if size == "params" else reached.training.flops

    mixer, here = recipe.channel_mixer, value(recipe)
    if mixer.name == "none":
        if abs(here / target - 1) <= NEAR[size]:
            return recipe
        why = f"channel_mixer.name=none leaves no hidden width to change: it has {here:,.0f}"
        raise BudgetError(_complaint(size, target, why))
    hidden = hidden_width(mixer, recipe.width)
    slope = float(recipe.layers * recipe.width * (3 if mixer.name == "glu" else 2))
    # a weight is a multiplication and an addition of every pass
    slope *= 1 if size == "params" else 2 * PASSES
    for multiple in sorted({mixer.multiple, 1}, reverse=True):
        for _ in range(TRIES):
            wanted = _rounded(hidden + (target - here) / slope, multiple, recipe.width)
            if wanted == hidden:
                break
            before, recipe = here, _with_hidden(recipe, wanted, multiple)
            here = value(recipe)
            slope, hidden = (here - before) / (wanted - hidden), wanted
        if abs(here / target - 1) <= NEAR[size]:
            return recipe
    least, most = (f"{value(end):,.0f} at a hidden width of {hidden:,}" for hidden, end in _ends(recipe))
    why = f"the hidden width of the channel mixer brings it from {least} to {most}"
    raise BudgetError(_complaint(size, target, why))


def _ends(recipe: ModelRecipe) -> list[tuple[int, ModelRecipe]]:
    """The least hidden width and the most, each with its recipe."""
    ends = [_rounded(end, 1, recipe.width) for end in (0, float("inf"))]
    return [(end, _with_hidden(recipe, end, 1)) for end in ends]


def _rounded(hidden: float, multiple: int, width: int) -> int:
    """The nearest multiple that is a hidden width: above 0, and within what a recipe's ratio may be."""
    most = max(1, int(_most_ratio() * width) // multiple)
    return max(1, most if hidden >= most * multiple else round(hidden / multiple)) * multiple


def _most_ratio() -> float:
    high = option_fields(ChannelMixer)["ratio"].high
    assert high is not None
    return high


def _with_hidden(recipe: ModelRecipe, hidden: int, multiple: int) -> ModelRecipe:
    # a multiple above the most is rounded up to from there
    ratio = min(hidden / recipe.width, _most_ratio())
    mixer = replace(recipe.channel_mixer, ratio=ratio, multiple=multiple)
    # those of single mixers grow with it
    others = {
        name: replace(each, ratio=min(each.ratio * ratio / recipe.channel_mixer.ratio, _most_ratio()))
        for name, each in recipe.channel_mixers.items()
    }
    return replace(recipe, channel_mixer=mixer, channel_mixers=others)


def _complaint(name: str, target: float, why: str) -> str:
    return f"{target:,.0f} {UNITS[name]} cannot be met within {100 * NEAR[name]:.0f} %: {why}"


def _changes(before: ModelRecipe, after: ModelRecipe) -> dict[str, int | float]:
    """Sizes of the second recipe that the first has not, under their dotted keys."""
    old, new = _sizes(before), _sizes(after)
    return {key: size for key, size in new.items() if size is not None and size != old[key]}


def _sizes(recipe: ModelRecipe) -> dict[str, int | float | None]:
    mixer = recipe.channel_mixer
    sizes: dict[str, int | float | None] = {
        "channel_mixer.ratio": mixer.ratio,
        "channel_mixer.multiple": mixer.multiple,
    }
    for name, channels in recipe.channel_mixers.items():
        sizes[f"channel_mixers.{name}.ratio"] = channels.ratio
    for name, held in recipe.mixers.items():
        if isinstance(held, EOSMixer):
            sizes |= {f"mixers.{name}.key_size": held.key_size, f"mixers.{name}.heads": held.heads}
    return sizes
