"""Blocks that are computed again in the backward pass, so that nothing inside them is held until then."""

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from eos.models.block import Block


def recompute_blocks(model: nn.Module) -> None:
    """Hold only what goes into the blocks of a model; what it computes and its names stay as they are.

    Source: arXiv:1604.06174
    """
    for block in model.modules():
        if isinstance(block, Block):
            block.forward = partial(_recomputed, block.forward)  # type: ignore[method-assign]


def _recomputed(forward: Any, *inputs: Any, **arguments: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs, **arguments)
    return checkpoint(forward, *inputs, use_reentrant=False, **arguments)
