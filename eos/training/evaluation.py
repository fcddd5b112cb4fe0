"""The loss of a model on batches, and its metrics on a held-out part."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from eos.errors import RunError
from eos.tasks.task import IGNORED, AbstractTask, Batch, Counts, Split
from eos.training.config import Precision
from eos.training.sharding import outside_of_forward
from eos.training.world import ALONE, World


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a model is worth on a held-out part.

    Arguments:
        loss: mean cross-entropy in nats a target.
        metrics: the task's metrics.
        counts: what was evaluated, and what of it was right.
    """

    loss: float
    metrics: dict[str, float]
    counts: Counts


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far an evaluation is: targets and rows done, and how many rows there are, or None."""

    targets: int
    rows: int
    of: int | None


def summed_nats(model: nn.Module, batch: Batch, precision: Precision) -> Tensor:
    """The cross-entropy of all targets of a batch, summed: −Σ log softmax(logits)[target], from float32 logits."""
    return nats_of(compute(model, batch, precision), batch)


def compute(model: nn.Module, batch: Batch, precision: Precision) -> Tensor:
    """The logits of a batch, in float32: the softmax of bfloat16 logits is good to two digits only."""
    device = batch.inputs.device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        logits: Tensor = model(batch.inputs, **batch.arguments())
    return logits.float()


def nats_of(logits: Tensor, batch: Batch) -> Tensor:
    """The cross-entropy of logits with a batch's targets, summed over them."""
    return cross_entropy(logits.flatten(0, -2), batch.targets.flatten(), ignore_index=IGNORED, reduction="sum")


@torch.no_grad()
def evaluate(
    model: nn.Module,
    task: AbstractTask,
    split: Split,
    *,
    rows: int,
    precision: Precision,
    tokens: int | None = None,
    each: Callable[[Progress], None] | None = None,
    generated: bool = False,
    world: World = ALONE,
) -> Evaluation:
    """Evaluate ``model``, where it is, on a held-out part; its mode is as before afterwards.

    Arguments:
        split: validation or test.
        rows: sequences at once, ≥ 1.
        precision: as in training.
        tokens: stop after the batch that reaches this many targets; None takes the whole part.
        each: called before every batch, or before as many as there are shares, with what is done; may raise to give up.
        generated: with the metrics of what the model writes by itself, where the task has any.
        world: the processes that share the batches; every one is told the same.

    Raises:
        RunError: a batch needs too much memory.
    """
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    nats = torch.zeros((), dtype=torch.float64, device=device)
    counts, graded = Counts(), Counts()
    place, shares = world.rows
    grades = type(task).grade is not AbstractTask.grade
    batches = rows_done = 0
    shape = ""
    try:
        for number, batch in enumerate(task.evaluation_batches(split, rows)):
            if tokens is not None and counts.targets >= tokens:
                break
            # once for as many batches as there are shares: what all do at once they would else do one after the other
            if each is not None and number % shares == 0:
                each(Progress(targets=counts.targets, rows=rows_done, of=task.held_out_rows(split)))
            batches += 1
            rows_done += batch.inputs.shape[0]
            shape = f"{batch.inputs.shape[0]} rows of {batch.inputs.shape[1]} tokens"
            counts += task.count(batch)
            if number % shares != place:
                continue
            moved = world.tokens(batch).to(device)
            with world.together():
                logits = compute(model, moved, precision)
            nats += nats_of(logits, moved)
            if grades:
                chosen = world.whole(logits.argmax(-1)).cpu()
                graded += task.grade(batch, chosen) if world.begins else Counts()
        if world.sharded and batches % shares and place >= batches % shares:
            # all gather the shares of a model at once: who has no batch in the last round computes one for nothing
            with world.together():
                compute(model, world.tokens(batch).to(device), precision)
        shape = f"{rows} rows"
        written = {}
        if generated:
            with outside_of_forward(model):
                written = task.generated(model, split, device=device, rows=rows)
    except torch.OutOfMemoryError as error:
        raise RunError(
            f"evaluating {shape} at once needs more memory than {device} has; lower training.evaluation_rows or "
            "task.evaluation_length"
        ) from error
    finally:
        model.train(training)
    total = world.sum(nats).item()
    counts = sum(world.gather(graded), counts)
    metrics = {**task.metrics(total, counts), **written}
    return Evaluation(loss=total / max(1, counts.targets), metrics=metrics, counts=counts)
