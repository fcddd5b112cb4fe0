"""Weights, gradients and optimiser state spread over the processes of a run: FSDP2.

Every process holds its share of each parameter. A block is gathered when it is computed, what stands outside of blocks
(embedding, head) for a whole step. Parameters that blocks share, a few numbers a layer, are whole on every process.

Source: arXiv:2304.11277
"""

from collections import Counter
from pathlib import Path

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from eos.errors import RunError
from eos.models import EncoderDecoder, load_weights, save_weights, tensors_of
from eos.models.block import Block
from eos.training.files import replacing
from eos.training.shards import read_shards, write_shards
from eos.training.world import World


def refuse_sharding(model: nn.Module) -> None:
    """Refuse a model that is not computed by its forward pass alone, before which weights are gathered.

    Raises:
        RunError: it is one.
    """
    if isinstance(model, EncoderDecoder):
        raise RunError("training.strategy=fsdp does not know encoders that are computed apart; take ddp")


def shard(model: nn.Module, mesh: DeviceMesh) -> None:
    """Let every process of ``mesh`` keep its share of the parameters, under their names."""
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    uses = Counter(parameter for block in blocks for parameter in block.parameters())
    shared = {parameter for parameter, times in uses.items() if times > 1}
    marks = {name: dict(parameter.__dict__) for name, parameter in model.named_parameters()}
    for module in (*blocks, model):
        fully_shard(module, mesh=mesh, ignored_params=shared)
    for name, parameter in model.named_parameters():
        parameter.__dict__.update(marks[name])


def average_unsharded(model: nn.Module, world: World) -> None:
    """Average the gradients of parameters that are whole on every process; those of shards are averaged already."""
    for parameter in model.parameters():
        if parameter.grad is not None and not isinstance(parameter, DTensor):
            parameter.grad = world.sum(parameter.grad) / world.size


def keep(model: nn.Module, path: Path, world: World) -> None:
    """Keep weights: in a file of safetensors, or, of a sharded model, in a folder of them."""
    if world.sharded:
        write_shards(tensors_of(model), path, world)
    else:
        world.lead(lambda: _save(tensors_of(model), path))


def take(model: nn.Module, path: Path, world: World) -> None:
    """Take up weights that :func:`keep` wrote."""
    if world.sharded:
        read_shards(tensors_of(model), path, world)
    else:
        load_weights(model, path)


def save_whole(model: nn.Module, path: Path, world: World) -> None:
    """Write all weights to one file; of a sharded model the first process gathers them in its memory, one by one."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in tensors_of(model).items():
        whole = tensor.full_tensor().cpu() if isinstance(tensor, DTensor) else tensor
        if world.leads:
            tensors[name] = whole
    world.lead(lambda: _save(tensors, path))


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    with replacing(path) as temporary:
        save_weights(tensors, temporary)
