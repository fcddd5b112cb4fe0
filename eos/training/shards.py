"""Tensors of which every process holds a share, as a folder of safetensors, one file a process.

Any number of processes can read what any number wrote; it holds numbers and no code.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from eos.errors import RunError
from eos.training.files import TEMPORARY, discard, disk_full_named, replacing
from eos.training.world import World


def write_shards(
    tensors: Mapping[str, Tensor], path: Path, world: World, *, beside: Callable[[Path], None] | None = None
) -> None:
    """Write a folder, or nothing; all processes at once.

    Arguments:
        tensors: by name, those of this process.
        path: of the folder, replaced where there is one.
        beside: adds files to the folder, in the first process.

    Raises:
        RunError: the disk is full, for one of them; all are told.
    """
    partial = path.with_name(path.name + TEMPORARY)
    world.lead(lambda: discard(partial))
    with disk_full_named(path):
        try:
            save(
                dict(tensors),
                storage_writer=HuggingFaceStorageWriter(str(partial), save_distributed=True),
                process_group=world.patient,
            )
        except CheckpointException as error:
            # on a full disk it would stand in the way of what comes next
            world.lead(lambda: discard(partial))
            raise _first(error) from error

    def complete() -> None:
        with replacing(path) as folder:
            if beside is not None:
                beside(folder)
            discard(path)

    world.lead(complete)


def read_shards(tensors: Mapping[str, Tensor], path: Path, world: World) -> None:
    """Fill the tensors of this process with what a folder holds of them; all processes at once.

    Raises:
        RunError: it is damaged, of other tensors, or a file.
    """
    if not path.is_dir():
        raise RunError(f"{path} is a checkpoint of a model that is not sharded; take training.strategy=ddp")
    try:
        load(dict(tensors), storage_reader=HuggingFaceStorageReader(str(path)), process_group=world.patient)
    except CheckpointException as error:
        raise RunError(f"{path} is damaged, or of another model: {_first(error)}") from error


def _first(error: CheckpointException) -> BaseException:
    """Of what went wrong in several processes, the first."""
    found: BaseException = next(iter(error.failures.values()))[0]
    return found
