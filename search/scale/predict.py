"""What a run would take on so many GPUs, before anything is run: memory of each, seconds of a step, hours and cost.

Memory is counted: weights, gradients and AdamW's two moments from the parameters, and what a step holds for its
backward pass by computing one block of every mixer on a few tokens. Seconds are the cost model's operations at a share
of the GPU's peak, or what the processes send at the speed of their links, where that takes longer.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from eos.compose.cost import ModelCost, cost_of
from eos.config import ModelRecipe
from eos.errors import RunError
from eos.models.block import Block
from eos.tasks.text import TextTask
from eos.training.config import Precision, TrainingOptions
from eos.training.fit import steps_of
from eos.training.run import Recipe

FLOAT = 4
#: Weights, gradients and AdamW's two moments, each float32.
STATE = 4 * FLOAT
#: Logits, their logarithms of shares, and the gradient, float32: all are there at once.
LOGITS = 3 * FLOAT
#: Token ids of single bytes, with the end of text.
BYTES = 257
#: Tokens that a block is computed on to see what it holds of each.
TOKENS = 512
#: Of the peak, what training reaches where nothing is known; a measured share belongs in its place.
UTILISATION = 0.4


@dataclass(frozen=True, kw_only=True)
class GPU:
    """A kind of GPU, by its maker's data sheet.

    Arguments:
        flops: dense operations a second by the precision of activations; float32 as PyTorch computes it, without TF32.
        memory: bytes.
        link: bytes a second that it sends to others in its machine, one way.
    """

    flops: Mapping[Precision, float]
    memory: float
    link: float


#: Source: the data sheets of NVIDIA's A100 80GB SXM, H100 SXM and H200 SXM.
GPUS = {
    "a100": GPU(flops={"bfloat16": 312e12, "float32": 19.5e12}, memory=80e9, link=300e9),
    "h100": GPU(flops={"bfloat16": 989e12, "float32": 67e12}, memory=80e9, link=450e9),
    "h200": GPU(flops={"bfloat16": 989e12, "float32": 67e12}, memory=141e9, link=450e9),
}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What a run is to stand on.

    Arguments:
        gpu: of which kind.
        gpus: how many, ≥ 1.
        utilisation: the share of the peak that training reaches, 0 < u ≤ 1.
        link: bytes a second that each sends; None for its kind's, within one machine.
        price: of an hour of one GPU; None where no cost is to be told.
    """

    gpu: GPU
    gpus: int
    utilisation: float = UTILISATION
    link: float | None = None
    price: float | None = None


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a run takes of every GPU, and in all.

    Arguments:
        state: bytes of weights, gradients and moments.
        gathered: bytes of weights that FSDP2 has in one place for a while, with their gradients.
        activations: bytes held for the backward pass, and the logits.
        accumulate: the least training.accumulate, the recipe's or more, with which their sum is within the GPU's
            memory; None where none is.
        step: seconds of one.
        bound: what a step waits for.
        steps: of the whole run.
        hours: of the whole run.
        cost: of all GPUs for so long.
    """

    state: float
    gathered: float
    activations: float
    accumulate: int | None
    step: float
    bound: str
    steps: int
    hours: float
    cost: float | None

    @property
    def memory(self) -> float:
        """Bytes."""
        return self.state + self.gathered + self.activations


def needs(recipe: Recipe, cluster: Cluster) -> tuple[int, Need]:
    """Parameters outside of embedding and head, and what a run of a language model takes; no data are looked at.

    Arguments:
        recipe: of the run.
        cluster: what it stands on.

    Raises:
        RunError: rows, parts and GPUs do not divide, the budget is one of time, or the task is none of text.
    """
    options, text = recipe.training, recipe.task.options
    if not isinstance(text, TextTask.Options):
        raise RunError(f"only the needs of language models of text are known, not those of {recipe.task.name}")
    shares, rest = divmod(cluster.gpus, options.sequence_parts)
    if rest or not shares or options.rows % (shares * options.accumulate):
        work = options.rows // options.accumulate * options.sequence_parts
        raise RunError(
            f"training.rows={options.rows} with accumulate={options.accumulate} and sequence_parts="
            f"{options.sequence_parts} do not divide into {cluster.gpus} GPUs; such a step has work for {work}, or for "
            "a number that divides it: raise training.rows for more"
        )
    if text.tokens == "words":
        raise RunError("how many words there are only the text tells; plan with task.tokens=bpe")
    vocabulary = BYTES if text.tokens == "bytes" else text.vocabulary
    cost = cost_of(recipe.model, vocabulary=vocabulary, length=text.length, device="cuda")
    steps = steps_of(options, length=text.length, parameters=cost.non_embedding)
    if steps is None:
        raise RunError("a budget of time alone tells no number of steps; set training.steps or training.tokens")
    mine = options.rows // shares
    tokens = mine * text.length / options.sequence_parts
    held = held_by(recipe.model, cost, vocabulary=vocabulary, precision=options.precision, recompute=options.recompute)
    state, gathered = _weights(recipe.model, cost, options, cluster.gpus)
    room = cluster.gpu.memory - state - gathered
    parts = (n for n in range(options.accumulate, mine + 1) if mine % n == 0 and tokens * held / n <= room)
    step, bound = _step(cost, options, cluster, tokens=options.rows * text.length)
    hours = steps * step / 3600
    return cost.non_embedding, Need(
        state=state,
        gathered=gathered,
        activations=tokens * held / options.accumulate,
        accumulate=next(parts, None),
        step=step,
        bound=bound,
        steps=steps,
        hours=hours,
        cost=None if cluster.price is None else hours * cluster.gpus * cluster.price,
    )


def held_by(recipe: ModelRecipe, cost: ModelCost, *, vocabulary: int, precision: Precision, recompute: bool) -> float:
    """Bytes that a training step holds of a token at most, over all layers and the logits."""
    mixers = {name: mixer.layers for name, mixer in cost.mixers.items() if mixer.layers}
    inside = {name: block_holds(recipe, name, layer=at[0], precision=precision) for name, at in mixers.items()}
    if recompute:
        # the inputs of all blocks; and of one what it holds, and as much again while its gradients are computed
        held = FLOAT * recipe.width * sum(map(len, mixers.values())) + 2 * max(inside.values())
    else:
        held = sum(len(at) * inside[name] for name, at in mixers.items())
    return held + LOGITS * vocabulary


def block_holds(recipe: ModelRecipe, name: str, *, layer: int, precision: Precision) -> float:
    """Bytes that a block holds of a token until its backward pass, its input among them."""
    block = Block(recipe, name, layer=layer, shared={})
    own = {parameter.untyped_storage().data_ptr() for parameter in block.parameters()}
    seen: dict[int, int] = {}

    def look(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        kept.append(tensor)  # so that no later tensor takes its place in memory
        return tensor

    kept: list[Tensor] = []
    x = torch.randn(1, TOKENS, recipe.width, requires_grad=True)
    enabled = precision == "bfloat16"
    with saved_tensors_hooks(look, _same), torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
        block(x)
    return sum(seen.values()) / TOKENS


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _weights(recipe: ModelRecipe, cost: ModelCost, options: TrainingOptions, gpus: int) -> tuple[float, float]:
    """Bytes of state, and of what is gathered of it for a while."""
    if options.strategy == "ddp" or gpus == 1:
        return STATE * cost.parameters, 0.0
    # what stands outside of blocks, and two blocks: the next is gathered while one is computed
    ends = cost.parameters - cost.non_embedding
    gathered = 2 * FLOAT * (ends + 2 * cost.non_embedding / recipe.layers)
    return STATE * cost.parameters / gpus, gathered


def _step(cost: ModelCost, options: TrainingOptions, cluster: Cluster, *, tokens: float) -> tuple[float, str]:
    """Seconds of a step, and what it waits for."""
    # computed again: a forward pass more, of the three that a step is
    again = 4 / 3 if options.recompute else 1.0
    computed = again * cost.training.flops * tokens
    computed /= cluster.gpus * cluster.gpu.flops[options.precision] * cluster.utilisation
    # gradients are scattered and gathered; sharded weights are gathered for each pass of each part beside
    times = 1 + 2 * options.accumulate if options.strategy == "fsdp" else 2
    sent = times * FLOAT * cost.parameters * (cluster.gpus - 1) / cluster.gpus
    link = sent / (cluster.link or cluster.gpu.link)
    return max(computed, link), "computing" if computed >= link else "links"
