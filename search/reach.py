"""Refuses a budget that is far from what any candidate can be brought to, without trying them all."""

from collections.abc import Callable, Mapping, Sequence

from eos.config import ModelRecipe
from eos.errors import RecipeError
from eos.tasks.task import AbstractTask
from search.match import UNITS, BudgetError, Match, Reach, matched, reach

#: A budget that is further than this factor from all that a sample reaches is looked for no longer.
BEYOND = 1.25


#: Makes of labels by kind the model of the candidate with these stages, others by default, and the names of all.
Make = Callable[[Mapping[str, str]], tuple[str, ModelRecipe]]


def check_reach(kinds: Mapping[str, Sequence[str]], make: Make, match: Match, *, task: AbstractTask) -> None:
    """Refuse a number of parameters or FLOPs that a sample of candidates is far from.

    Arguments:
        kinds: labels of the stages that there are of each kind.
        make: gives candidates as large as they are; raises RecipeError where there is none.

    Raises:
        RecipeError: what the sample reaches, and which of it the least and the most.
    """
    if match.params is None and match.flops is None:
        return
    try:
        matched(make({})[1], match, task=task)
    except BudgetError:
        found = list(_sampled(kinds, make, match, task).items())
    else:
        return
    if not found:
        return
    size = found[0][1].size
    budget = getattr(match, size)
    (least, low), (most, high) = min(found, key=lambda each: each[1].low), max(found, key=lambda each: each[1].high)
    if low.low / BEYOND <= budget <= high.high * BEYOND:
        return
    raise RecipeError(
        f"the space is empty: {budget:,.0f} {UNITS[size]} are out of reach of all {len(found)} candidates tried "
        "(every stage in the place of the default's, and the smallest and the largest of each kind together; "
        "options as by default). The hidden width of the channel mixer brings them from "
        f"{low.low:,.0f} ({least}) to {high.high:,.0f} ({most}): choose a budget between the two, or other sizes "
        "(width, layers) of the experiment"
    )


def _sampled(kinds: Mapping[str, Sequence[str]], make: Make, match: Match, task: AbstractTask) -> dict[str, Reach]:
    """What some candidates can be brought to, by their stages: each stage alone changes a size by about as much.

    Every stage stands in the place of the default's once, and the smallest and the largest of each kind together.
    """
    found: dict[str, Reach] = {}

    def add(labels: Mapping[str, str]) -> Reach | None:
        try:
            name, model = make(labels)
            reached = reach(model, match, task=task)
        except (BudgetError, RecipeError):
            return None
        if reached is not None:
            found[name] = reached
        return reached

    smallest: dict[str, str] = {}
    largest: dict[str, str] = {}
    add({})
    for kind, labels in kinds.items():
        if len(labels) > 1:
            tried = [(label, add({kind: label})) for label in labels]
            if known := [(label, reached) for label, reached in tried if reached is not None]:
                smallest[kind] = min(known, key=lambda each: each[1].low)[0]
                largest[kind] = max(known, key=lambda each: each[1].high)[0]
    add(smallest)
    add(largest)
    return found
