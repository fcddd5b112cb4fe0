"""Weights, gradients and optimiser state spread over the processes of a run: FSDP2.

Every process holds its share of each parameter, which the first one makes and deals out at the beginning. A block is
gathered when it is computed, and apart from it what a decoder's block reads a source with; what stands outside of
blocks (embedding, head) for a whole step. Parameters that blocks share, a few numbers a layer, are whole on every
process.

Source: arXiv:2304.11277
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils import swap_tensors

from eos.models import load_weights, save_weights, tensors_of
from eos.models.block import Block
from eos.models.cross_attention import CrossAttention
from eos.training.files import replacing
from eos.training.shards import read_shards, write_shards
from eos.training.world import World


def first_weights(world: World) -> AbstractContextManager[Any]:
    """Where a model is built: of one to be sharded the first process alone makes the weights, which take no memory in
    the others until :func:`shard`.
    """
    return torch.device("meta") if world.sharded and not world.leads else nullcontext()


def shard(model: nn.Module, mesh: DeviceMesh, world: World) -> None:
    """Let every process of ``mesh`` keep its share of the parameters, under their names, of the first one's values."""
    whole = {name: tensor.detach() for name, tensor in _tensors(model)} if world.size > 1 else {}
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    uses = Counter(parameter for block in blocks for parameter in block.parameters())
    shared = {parameter for parameter, times in uses.items() if times > 1}
    marks = {name: dict(parameter.__dict__) for name, parameter in model.named_parameters()}
    if not world.leads:
        for parameter in shared:
            # in place, or it would be another one in every block
            swap_tensors(
                parameter, nn.Parameter(torch.empty_like(parameter, device=mesh.device_type), parameter.requires_grad)
            )
    readers: list[list[nn.Module]] = [
        [module.key, module.value] for module in model.modules() if isinstance(module, CrossAttention)
    ]
    for reader in readers:
        fully_shard(reader, mesh=mesh, ignored_params=shared)
    for module in (*blocks, model):
        fully_shard(module, mesh=mesh, ignored_params=shared)
    if not world.leads:
        model.to_empty(device=mesh.device_type)
    for name, parameter in model.named_parameters():
        parameter.__dict__.update(marks[name])
    if world.size > 1:
        _spread(model, whole, mesh, world)


@torch.no_grad()
def _spread(model: nn.Module, whole: dict[str, Tensor], mesh: DeviceMesh, world: World) -> None:
    """Give every process its share of the first one's values, a tensor at a time."""
    for name, tensor in _tensors(model):
        value = whole.pop(name)
        value = value.to(mesh.device_type) if world.leads else torch.empty_like(value, device=mesh.device_type)
        if isinstance(tensor, DTensor):
            tensor.to_local().copy_(distribute_tensor(value, mesh, tensor.placements).to_local())
        else:
            dist.broadcast(value, src=0)
            tensor.copy_(value)


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


@contextmanager
def outside_of_forward(model: nn.Module) -> Iterator[None]:
    """What stands outside of blocks is there for other methods than the forward pass, called by all processes alike."""
    if not isinstance(model, FSDPModule):
        yield
        return
    model.unshard()
    try:
        yield
    finally:
        model.reshard()


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
