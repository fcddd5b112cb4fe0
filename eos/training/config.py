"""What a training recipe may say."""

from dataclasses import replace
from typing import Literal

from pydantic import model_validator

from eos.config import Form, option, options

Schedule = Literal["cosine", "inverse_sqrt", "constant"]
Precision = Literal["float32", "bfloat16"]
Device = Literal["auto", "cpu", "cuda"]


#: Options that say how a run is done, and not what comes of it.
MANNER = frozenset(
    "device workers checkpoint_every log_every evaluation_rows sample recompute "
    "strategy sequence_parts sequence_form".split()
)


@options
class TrainingOptions:
    """How a model is trained: budget, optimiser, evaluation, checkpoints, machine.

    The budget is ``steps``, ``tokens``, ``tokens_per_parameter`` or ``minutes``; with ``minutes`` beside one of the
    others, training ends at whichever comes first. Learning rates follow the share of the budget that is used up (the
    larger share where there are two), so that the schedule always completes. Numbers of a run repeat exactly from its
    seed, on one CPU with one number of threads, unless ``minutes`` is set: then the learning rate depends on the speed
    of the machine.
    """

    steps: int | None = option(None, "optimiser steps; null where tokens or minutes say when to stop", low=1)
    tokens: int | None = option(None, "tokens to train on, rounded up to whole steps", low=1)
    tokens_per_parameter: float | None = option(
        None, "tokens to train on for each parameter outside of embedding and head, in whole steps", above=0
    )
    minutes: float | None = option(None, "wall-clock time of training, validations included", above=0)
    rows: int = option(32, "sequences a step", low=1)
    accumulate: int = option(1, "parts that a step's rows are computed in, one after the other: saves memory", low=1)

    recompute: bool = option(False, "compute every block again in the backward pass: saves memory, costs time")

    learning_rate: float = option(1e-3, "peak learning rate", above=0, high=10, log=True)
    schedule: Schedule = option("cosine", "how the learning rate falls after the warm-up")
    warmup: float = option(0.05, "share of the budget in which the learning rate rises linearly", low=0, high=0.99)
    final: float = option(0.1, "the learning rate never falls below this share of its peak", low=0, high=1)
    beta1: float = option(0.9, "decay of the mean of gradients", low=0, high=0.9999)
    beta2: float = option(0.95, "decay of the mean of squared gradients", low=0, high=0.99999)
    epsilon: float = option(1e-8, "added to the root of the mean square", above=0)
    weight_decay: float = option(0.1, "decoupled weight decay of matrices", low=0, high=10)
    decay_embeddings: bool = option(False, "embeddings decay too")
    clip: float | None = option(1.0, "gradients are scaled down to this norm; null means never", above=0)

    validate_every: int | None = option(None, "steps between validations; null means at the end only", low=1)
    validation_tokens: int | None = option(262144, "tokens of a validation during training; null means all", low=1)
    evaluation_tokens: int | None = option(None, "tokens of the last validation and the test; null means all", low=1)
    evaluation_rows: int = option(32, "sequences evaluated at once", low=1)
    patience: int | None = option(
        None, "stop after this many validations without a better one; null means never", low=1
    )
    checkpoint_every: int = option(500, "steps between checkpoints", low=1)
    log_every: int = option(20, "steps between rows of metrics.csv", low=1)

    keep: Literal["best", "last"] = option("best", "whose weights a run ends with: of the best validation, or the last")
    sample: int = option(200, "tokens of a text that a language model of texts writes at the end; 0: none", low=0)
    stop_at: float | None = option(
        None, "stop once a validation's main metric is at least so good; null means never: the budget decides"
    )

    seed: int = option(1, "decides initial weights, batches and dropout", low=0, high=2**31 - 1)
    data_seed: int | None = option(
        None, "decides the batches; null: seed does. The runs of a group share one", low=0, high=2**31 - 1
    )
    workers: int = option(0, "processes that prepare batches; the batches do not depend on it", low=0, high=64)
    precision: Precision = option("float32", "of activations; weights and memories are float32 in both")
    strategy: Literal["ddp", "fsdp"] = option(
        "ddp", "ddp: every process that torchrun begins holds the whole model; fsdp: its share of it"
    )
    device: Device = option("auto", "auto takes a CUDA device where there is one")
    sequence_parts: int = option(
        1, "processes that share every sequence, of those that torchrun begins; the others share rows", low=1
    )
    sequence_form: Form = option(
        "ring", "ring: memories pass from part to part; gather: every part gets what the others do to a memory"
    )

    @model_validator(mode="after")
    def _check(self) -> "TrainingOptions":
        budgets = {name: getattr(self, name) for name in ("steps", "tokens", "tokens_per_parameter")}
        given = [f"{name}={value}" for name, value in budgets.items() if value is not None]
        if not given and self.minutes is None:
            raise ValueError("no budget: set training.steps, training.tokens or training.minutes")
        if len(given) > 1:
            raise ValueError(f"several budgets: {' and '.join(given)}; set all but one to null")
        if self.rows % self.accumulate:
            raise ValueError(f"rows={self.rows} do not divide into accumulate={self.accumulate} equal parts")
        if self.patience is not None and self.validate_every is None:
            raise ValueError("patience counts validations: set training.validate_every")
        if self.stop_at is not None and self.validate_every is None:
            raise ValueError("stop_at looks at validations: set training.validate_every")
        return self

    def for_steps(self, steps: int) -> "TrainingOptions":
        """The same with another budget."""
        return replace(self, steps=steps, tokens=None, tokens_per_parameter=None, minutes=None)

    @property
    def order(self) -> int:
        """The seed of the batches."""
        return self.seed if self.data_seed is None else self.data_seed
