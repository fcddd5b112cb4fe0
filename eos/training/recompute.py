"""Blocks that are computed again in the backward pass, so that nothing inside them is held until then."""

from copy import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from eos.models.block import Block


def recompute_blocks(model: nn.Module, *, lent: bool = False) -> None:
    """Hold only what goes into the blocks of a model; what it computes and its names stay as they are.

    Arguments:
        lent: weights are there in the forward pass alone, as torch.func.functional_call brings them.

    Source: arXiv:1604.06174
    """
    for block in model.modules():
        if isinstance(block, Block):
            again = partial(_again_lent, copy(block)) if lent else partial(_again, block.forward)
            block.forward = again  # type: ignore[method-assign]


def _again(forward: Any, *inputs: Any, **arguments: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs, **arguments)
    return checkpoint(forward, *inputs, use_reentrant=False, **arguments)


def _again_lent(block: nn.Module, *inputs: Any, **arguments: Any) -> Any:
    """The copy of a block shares all inside with it, but for being computed again."""
    weights: dict[str, Tensor] = dict(block.named_parameters(remove_duplicate=False))

    def forward(*inputs: Any, **arguments: Any) -> Any:
        return functional_call(block, weights, inputs, arguments, tie_weights=False)

    return _again(forward, *inputs, **arguments)
