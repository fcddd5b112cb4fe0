"""What a search recipe may say: the space, the objectives, and how the search goes."""

from typing import Any, Literal

from pydantic import model_validator

from eos.config import option, options
from search.match import Match

#: A stage by name; an oscillation also as a product, ``head_decay+rotation``; or with options that are then fixed.
Alternative = str | dict[str, Any] | list[dict[str, Any]]
Stages = Literal["any", "fixed"] | list[Alternative]
Value = bool | int | float | str | None
Quantity = Literal["quality", "parameters", "state", "flops", "latency"]


@options
class Range:
    """Numbers between two bounds, both included."""

    low: float = option(description="the least")
    high: float = option(description="the most")
    log: bool = option(False, "sampled on a logarithmic scale")
    step: float | None = option(None, "distance of neighbours; null: any number between", above=0)
    whole: bool = option(False, "whole numbers alone")

    @model_validator(mode="after")
    def _check(self) -> "Range":
        if self.low > self.high:
            raise ValueError(f"low={self.low} is above high={self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic scale begins above 0, got low={self.low}")
        if self.log and self.step is not None:
            raise ValueError("a logarithmic scale has no steps")
        return self


@options
class SearchRecipe:
    """The space that is searched, what is sought in it, and how.

    Stages and their options are read off the registry: ``any`` means every stage of the kind, ``fixed`` that of the
    model's recipe. Options of a stage that an alternative names with a value are fixed to it.
    """

    expand: Stages = option("any", "any, fixed, or a list of stages")
    oscillation: Stages = option("any", "any (none and every single one), fixed, or a list; a+b is a product")
    shrink: Stages = option("any", "any, fixed, or a list of stages")
    couple: Stages = option("fixed", "any (none and every one), fixed, or a list")
    options: Literal["any", "choices", "none"] | list[str] = option(
        "any", "which options of the stages vary: any; choices (no numbers); none; or these, by name"
    )
    each_layer: bool = option(False, "every layer chooses its own stages; false: one choice for the mixer")
    mixers: list[str] | None = option(
        None, "with each_layer: named mixers that every layer chooses among; null: the layout is the recipe's"
    )
    vary: dict[str, list[Value] | Range] = option({}, "keys of model and training, each with its values or its range")

    match: Match | None = option(None, "the budget that every candidate is brought to, or null")
    learning_rates: list[float] | None = option(
        None, "every candidate is trained at each, and the best by validation counts; null: at the recipe's, or in vary"
    )
    seeds: int = option(1, "runs of every candidate, on the same batches; their mean counts", low=1, high=100)

    objectives: list[Quantity] = option(
        ["quality"], "what is sought: quality is the task's metric on the validation part; the others are to be small"
    )
    metric: str | None = option(None, "another metric of the task for quality; null: the one that counts")
    sampler: Literal["tpe", "gp", "random", "grid", "nsga2", "nsga3"] = option("tpe", "what proposes candidates")
    startup: int = option(10, "random candidates before tpe and gp learn from them", low=1)
    pruner: Literal["none", "median", "asha", "hyperband"] = option(
        "none", "what ends bad runs early, by the validations of a candidate's first run"
    )
    reduction: int = option(3, "of asha and hyperband: one in this many goes on", low=2, high=16)
    seed: int = option(1, "of the sampler", low=0, high=2**31 - 1)
    first: list[str] = option([], "model recipes whose stages are tried first")
    keep: Literal["results", "all"] = option(
        "results", "what stays of a finished candidate's runs: recipe, log and result; or weights and checkpoints too"
    )

    @model_validator(mode="after")
    def _check(self) -> "SearchRecipe":
        if not self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f"objectives must be distinct and at least one, got {self.objectives}")
        if "quality" not in self.objectives:
            raise ValueError(
                f"objectives need quality, for the others are known without training; got {self.objectives}"
            )
        several = len(self.objectives) > 1
        if (several and self.sampler == "gp") or (several and self.pruner != "none"):
            raise ValueError("several objectives need sampler tpe, random, grid, nsga2 or nsga3, and pruner=none")
        if not several and self.sampler in ("nsga2", "nsga3"):
            raise ValueError(f"sampler={self.sampler} is for several objectives; take tpe")
        if self.learning_rates is not None and (
            not self.learning_rates or len(set(self.learning_rates)) < len(self.learning_rates)
        ):
            raise ValueError(f"learning_rates must be distinct and at least one, got {self.learning_rates}")
        rates = {"learning_rate", "training.learning_rate"} & self.vary.keys()
        if rates and self.learning_rates is not None:
            raise ValueError("the learning rate stands both in vary and in learning_rates")
        if self.mixers is not None and not self.each_layer:
            raise ValueError("mixers are chosen layer by layer: set each_layer=true")
        return self
