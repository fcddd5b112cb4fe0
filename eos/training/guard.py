"""Finds where numbers stop being finite."""

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def first_not_finite(model: nn.Module, loss: Callable[[], Tensor]) -> str | None:
    """Say where in ``model`` a forward and backward pass first leaves the finite numbers ("the loss is"), or None.

    Asked in the order of computation: weights, activations (a layer is named before those that contain it), the loss,
    gradients of activations from the loss downwards, gradients of weights.

    Arguments:
        model: its gradients are overwritten.
        loss: computes the scalar to differentiate.
    """
    for name, parameter in model.named_parameters():
        if not _finite(parameter):
            return f"the weight {name} is"
    activations: list[str] = []
    gradients: list[str] = []
    hooks = [
        module.register_forward_hook(partial(_watch, name, activations, gradients))
        for name, module in model.named_modules()
        if name
    ]
    model.zero_grad(set_to_none=True)
    try:
        value = loss()
        if activations:
            return f"the activations of {activations[0]} are"
        if not _finite(value):
            return "the loss is"
        value.backward()
    finally:
        for hook in hooks:
            hook.remove()
    if gradients:
        return f"the gradient of the activations of {gradients[0]} is"
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not _finite(parameter.grad):
            return f"the gradient of the weight {name} is"
    return None


def _watch(
    name: str, activations: list[str], gradients: list[str], module: nn.Module, inputs: Any, output: Any
) -> None:
    for tensor in _tensors(output):
        if not _finite(tensor):
            activations.append(name)
        if tensor.requires_grad:
            tensor.register_hook(partial(_watch_gradient, name, gradients))


def _watch_gradient(name: str, gradients: list[str], gradient: Tensor) -> None:
    if not _finite(gradient):
        gradients.append(name)


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _tensors(value: Any) -> Iterator[Tensor]:
    """The floating-point tensors in nested tuples, lists, dictionaries and records."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif dataclasses.is_dataclass(value):
        yield from _tensors([getattr(value, field.name) for field in dataclasses.fields(value)])
