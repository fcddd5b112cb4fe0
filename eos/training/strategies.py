"""How Lightning lets several processes train one model."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from eos.models import tensors_of
from eos.training.checkpoint import AtomicCheckpointIO
from eos.training.shards import read_shards, write_shards
from eos.training.world import World

#: What is in the folder of a checkpoint beside tensors: the run's position and random states.
PLAIN = "run.ckpt"


class Replicated(DDPStrategy):
    """Every process holds the model, and waits for the first, which writes, however long it takes."""

    def __init__(self, world: World, backend: str) -> None:
        super().__init__(process_group_backend=backend, gradient_as_bucket_view=True)
        self._world = world

    def barrier(self, *args: Any, **kwargs: Any) -> None:
        dist.barrier(group=self._world.patient)


class Sharded(ModelParallelStrategy):
    """Every process holds its share of the model and of AdamW's state, in memory and in checkpoints."""

    def __init__(self, world: World, backend: str) -> None:
        super().__init__(data_parallel_size=world.size, tensor_parallel_size=1, process_group_backend=backend)
        self._world = world

    def barrier(self, *args: Any, **kwargs: Any) -> None:
        dist.barrier(group=self._world.patient)

    def model_to_device(self) -> None:
        """Move what is not sharded; shards stand where they belong, and lose their marks when they are moved."""
        assert self.lightning_module is not None
        for tensor in chain(self.lightning_module.parameters(), self.lightning_module.buffers()):
            if not isinstance(tensor, DTensor):
                tensor.data = tensor.data.to(self.root_device)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Nothing: :meth:`save_checkpoint` takes the weights where they are."""
        return {}

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Nothing, likewise."""
        return {}

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None) -> None:
        """Write a folder."""

        def beside(folder: Path) -> None:
            AtomicCheckpointIO().save_checkpoint(checkpoint, folder / PLAIN)

        write_shards(self._tensors(), Path(filepath), self._world, beside=beside)

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = True) -> dict[str, Any]:
        """Take up weights and state from a folder, and give what else is in it."""
        read_shards(self._tensors(), Path(checkpoint_path), self._world)
        return AtomicCheckpointIO().load_checkpoint(Path(checkpoint_path) / PLAIN)

    def _tensors(self) -> Mapping[str, Tensor]:
        """The weights of the module, and what AdamW holds of each, which is made where it took no step yet."""
        assert self.lightning_module is not None
        found = tensors_of(self.lightning_module)
        (optimizer,) = self.optimizers
        for name, parameter in self.lightning_module.named_parameters():
            if parameter.requires_grad:
                state = optimizer.state[parameter]
                if not state:
                    state["step"] = torch.zeros((), device=parameter.device)
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
                found |= {f"optimizer.{name}.{key}": value for key, value in state.items()}
        return found


class _Alone(LightningEnvironment):
    """Lightning takes this process as it is, and sets no variables that those begun by it would inherit."""

    @property
    def creates_processes_externally(self) -> bool:
        return True


def processes(world: World, device: torch.device) -> dict[str, Any]:
    """What the trainer is told of a run's processes.

    Of the cluster they stand in Lightning knows nothing, so that a scheduler's signal stops a run like any other.
    """
    plugins: list[Any] = [_Alone() if world.size == 1 else TorchElasticEnvironment()]
    backend = "nccl" if device.type == "cuda" else "gloo"
    strategy: Any = "auto"
    if world.sharded:
        strategy = Sharded(world, backend)
    else:
        plugins.append(AtomicCheckpointIO())
        if world.size > 1:
            strategy = Replicated(world, backend)
    return {
        "devices": world.local,
        "num_nodes": world.size // world.local,
        "plugins": plugins,
        "strategy": strategy,
    }
