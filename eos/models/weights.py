"""Weights on disk, in the safetensors format, which holds numbers and no code."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from eos.errors import RunError


def save_weights(model: nn.Module | Mapping[str, Tensor], path: Path) -> None:
    """Write the weights, or nothing: the file appears only when it is whole. Shared parameters are written once.

    Arguments:
        model: it, or its :func:`tensors_of`.

    Raises:
        RunError: the file cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    tensors = tensors_of(model) if isinstance(model, nn.Module) else model
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial)
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise RunError(f"cannot write weights to {path}: {error}") from error


def load_weights(model: nn.Module, path: Path) -> None:
    """Read weights that :func:`save_weights` wrote into a model of the same recipe; the model's dtype stays.

    Raises:
        RunError: no such file, a damaged one, or one of another model: then the keys that differ are named.
    """
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"cannot read weights from {path}: {error}") from error
    wanted = tensors_of(model)
    complaints = [
        *(f"missing {name}" for name in sorted(wanted.keys() - found.keys())),
        *(f"unexpected {name}" for name in sorted(found.keys() - wanted.keys())),
        *(
            f"{name} is {list(found[name].shape)} in the file and {list(wanted[name].shape)} in the model"
            for name in sorted(wanted.keys() & found.keys())
            if found[name].shape != wanted[name].shape
        ),
    ]
    if complaints:
        raise RunError(f"{path} holds the weights of another model: {'; '.join(complaints)}")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(found[name])


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model without the second names of shared parameters."""
    names = {name for name, _ in model.named_parameters()}
    aliases = {name for name, _ in model.named_parameters(remove_duplicate=False)} - names
    return {name: tensor for name, tensor in model.state_dict().items() if name not in aliases}
