"""How answers are graded: the share of a row's answers that are right, on average over rows."""

import math
import re

from torch import Tensor

from eos.tasks.task import IGNORED, AbstractTask, Batch, Counts

#: How metrics are named that stand for two numbers, a length and a number of pairs or a depth: accuracy_256x64 and
#: accuracy_1024_depth_50.
PLACE = re.compile(r"(?P<metric>[a-z_]*?accuracy)_(?P<row>\d+)(?P<between>x|_depth_)(?P<column>\d+)")


def answers(batch: Batch) -> Counts:
    """How many answers a batch asks for."""
    return Counts(targets=int((batch.targets != IGNORED).sum()))


def tally(batch: Batch, chosen: Tensor) -> Counts:
    """What the likeliest ids get right: over rows, and over those of the batch's group."""
    targets = batch.targets.flatten(1) if batch.targets.dim() > 1 else batch.targets[:, None]
    chosen, asked = chosen.view_as(targets), targets != IGNORED
    shares = ((chosen == targets) & asked).sum(1) / asked.sum(1).clamp(min=1)
    rows, right = len(shares), float(shares.double().sum())
    groups = {} if batch.group is None else {batch.group: (float(rows), right)}
    return Counts(rows=rows, right=right, groups=groups)


def accuracies(nats: float, counts: Counts) -> dict[str, float]:
    """Accuracy in 0 … 1, where rows were graded; that of each group; and nats an answer."""
    found = {"accuracy": counts.right / counts.rows} if counts.rows else {}
    found |= {f"accuracy_{name}": right / rows for name, (rows, right) in counts.groups.items()}
    return {**found, "nats_per_answer": nats / counts.targets if counts.targets else math.nan}


class AbstractGradedTask(AbstractTask):
    """A task whose likeliest answer is right or wrong."""

    def count(self, batch: Batch) -> Counts:
        return answers(batch)

    def grade(self, batch: Batch, chosen: Tensor) -> Counts:
        return tally(batch, chosen)

    def metrics(self, nats: float, counts: Counts) -> dict[str, float]:
        return accuracies(nats, counts)
