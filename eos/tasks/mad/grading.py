"""Accuracy by class: every id that is asked for, or chosen where one is asked, counts alike."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from eos.tasks.grading import accuracies, tally
from eos.tasks.task import IGNORED, Batch, Counts

_ASKED, _CHOSEN = "asked_", "chosen_"


def class_tally(batch: Batch, chosen: Tensor) -> Counts:
    """What the likeliest ids get right: by rows, and for each id how often it was asked for and chosen, and rightly.

    Arguments:
        chosen: [B,T].
    """
    asked = batch.targets != IGNORED
    wanted, told = batch.targets[asked], chosen[asked]
    right = Counter(wanted[told == wanted].tolist())
    groups: dict[str, tuple[float, float]] = {}
    for name, found in ((_ASKED, wanted), (_CHOSEN, told)):
        groups |= {f"{name}{i}": (float(n), float(right[i])) for i, n in sorted(Counter(found.tolist()).items())}
    return replace(tally(batch, chosen), groups=groups)


def macro_accuracy(groups: Mapping[str, tuple[float, float]]) -> float:
    """(1/C) Σ_c right_c / asked_c over the C ids that were asked for or chosen; 0 for those that only were chosen.

    Arguments:
        groups: of :func:`class_tally`, or a sum of several; not empty.

    Source: the default of torchmetrics' MulticlassAccuracy, over a whole part.
    """
    shares = [right / times for name, (times, right) in groups.items() if name.startswith(_ASKED)]
    classes = {name.removeprefix(_ASKED).removeprefix(_CHOSEN) for name in groups}
    return sum(shares) / len(classes)


def class_accuracies(nats: float, counts: Counts) -> dict[str, float]:
    """Accuracy by class and by rows in 0 … 1, where rows were graded, and nats an answer."""
    found = {"macro_accuracy": macro_accuracy(counts.groups)} if counts.groups else {}
    return {**found, **accuracies(nats, replace(counts, groups={}))}
