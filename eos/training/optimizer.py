"""AdamW, with weight decay on matrices alone."""

import torch
from torch import nn

from eos.training.config import TrainingOptions


def decay_groups(model: nn.Module, *, embeddings: bool) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The trained parameters of ``model``: those that decay, those that do not.

    Not decayed: parameters with fewer than two axes (biases, the gains of norms), those marked with a true attribute
    ``_no_weight_decay``, and the weights of embeddings (a head tied to one included) unless ``embeddings``.
    A parameter used in two places is listed once.
    """
    embedded = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        free = parameter.ndim < 2 or getattr(parameter, "_no_weight_decay", False)
        free = free or (id(parameter) in embedded and not embeddings)
        (kept if free else decayed).append(parameter)
    return decayed, kept


def adamw(model: nn.Module, options: TrainingOptions) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101) over the decay groups of ``model``."""
    decayed, kept = decay_groups(model, embeddings=options.decay_embeddings)
    groups = [
        {"params": decayed, "weight_decay": options.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=options.learning_rate,
        betas=(options.beta1, options.beta2),
        eps=options.epsilon,
        fused=True,
    )
