"""What a recipe of an architecture search may say."""

from typing import Literal

from pydantic import model_validator

from eos.config import option, options


@options
class Constraints:
    """What every network that is found has to keep to; null: any."""

    parameters: float | None = option(None, "parameters, at most", above=0)
    flops: float | None = option(None, "training FLOPs a token, at most", above=0)
    state: float | None = option(None, "bytes that decoding keeps of a sequence, at most", above=0)
    latency: float | None = option(None, "milliseconds of a forward pass on this device, at most", above=0)


@options
class Supernet:
    """How the network that shares its weights is trained; rows, learning rate and so on are the base run's."""

    steps: int = option(4000, "steps, at most; each trains a largest, a smallest and some random networks", low=1)
    random: int = option(2, "random networks a step", low=0, high=16)
    distil: bool = option(False, "what is not the largest learns the largest's predictions in place of the targets")
    tokens: int | None = option(4096, "targets of the validation part that a network is scored on; null: all", low=1)
    probes: int = option(60, "networks whose ranking is watched", low=4)
    every: int = option(250, "steps between two looks at it", low=1)
    threshold: float = option(0.9, "the ranking is stable where Kendall's τ of two looks is at least this", high=1)
    looks: int = option(2, "so many looks in a row have to find it stable before training ends early", low=1)


@options
class Retrain:
    """Networks that are trained from scratch, beside those that are laid out by hand."""

    networks: int = option(
        3, "members of the front that hand-made networks cost as much as: the best and others spread over it", low=1
    )
    seeds: int = option(3, "runs of each, on the same batches", low=1, high=100)
    steps: int | None = option(None, "of each run; null: the base run's budget", low=1)
    softmax: str | None = option(None, "the mixer of softmax baselines; null: the first softmax one of the space")
    linear: str | None = option(None, "the mixer of linear baselines; null: the first other one of the space")


@options
class NASRecipe:
    """A space of networks, how they are ranked, and what is sought.

    Every layer chooses its mixer, its heads, K and the ratio of its channel mixer; all of them share depth and width.
    """

    kind: Literal["nas"]
    experiment: str | None = option(None, "the base run, where the command names no experiment, model or task")
    mixers: dict[str, str] = option(
        description="by name: a model recipe whose mixer it is, with overrides ('llama window=64'); a|b: one of each"
    )
    width: list[int] = option(description="model widths D")
    depth: list[int] = option(description="numbers of layers; of the decoder, where there is an encoder")
    encoder_depth: list[int] = option([], "numbers of layers of an encoder beside a decoder; empty: there is none")
    heads: list[int] = option([], "numbers of heads, of mixers that have several; empty: each as its recipe")
    key_sizes: list[int] = option([], "K of mixers that have one; empty: each as its recipe")
    ratios: list[float] = option([0, 2], "hidden width / width of a layer's channel mixer; 0: without one")
    constraints: Constraints = option(Constraints(), "what every network keeps to")
    supernet: Supernet = option(Supernet(), "the network that shares its weights")
    scored: int = option(1000, "networks that are scored with shared weights, for rankers to learn from", low=20)
    timed: int = option(100, "of these, networks whose latency is measured whole", low=20)
    against: Literal["latency", "state", "parameters", "flops"] = option("latency", "what quality is weighed against")
    sampler: Literal["nsga2", "nsga3"] = option("nsga2", "how networks evolve")
    population: int = option(100, "networks of a generation", low=4)
    generations: int = option(30, "generations, of the search and of each of its controls", low=1)
    finalists: int = option(16, "members of the front that are scored again, on the whole validation part", low=1)
    retrain: Retrain = option(Retrain(), "what is trained from scratch in the end")
    seed: int = option(1, "of all that is drawn", low=0, high=2**31 - 1)

    @model_validator(mode="after")
    def _check(self) -> "NASRecipe":
        if not self.mixers:
            raise ValueError("mixers are empty: name at least one")
        for name in ("width", "depth", "encoder_depth", "heads", "key_sizes"):
            values = getattr(self, name)
            if any(value < 1 for value in values) or len(set(values)) < len(values):
                raise ValueError(f"{name} must be distinct and at least 1, got {values}")
        if not self.width or not self.depth or not self.ratios:
            raise ValueError("width, depth and ratios need at least one value each")
        if any(not 0 <= ratio <= 16 for ratio in self.ratios) or len(set(self.ratios)) < len(self.ratios):
            raise ValueError(f"ratios must be distinct and from 0 to 16, got {self.ratios}")
        return self
