"""AdamW, with weight decay on matrices alone."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

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
        {"params": some, "weight_decay": decay}
        for parameters, decay in ((decayed, options.weight_decay), (kept, 0.0))
        for some in by_kind(parameters)
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=options.learning_rate,
        betas=(options.beta1, options.beta2),
        eps=options.epsilon,
        fused=True,
    )


def by_kind(parameters: Iterable[nn.Parameter]) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Those that are whole here, and those of which processes hold shares each: torch takes no mixture of them."""
    whole: list[nn.Parameter] = []
    sharded: list[nn.Parameter] = []
    for parameter in parameters:
        (sharded if isinstance(parameter, DTensor) else whole).append(parameter)
    return whole, sharded


def clip_gradients(model: nn.Module, limit: float) -> Tensor:
    """Scale all gradients down to a norm, where theirs is larger; their norm before."""
    kinds = [kind for kind in by_kind(each for each in model.parameters() if each.grad is not None) if kind]
    norms = [nn.utils.get_total_norm([each.grad for each in kind if each.grad is not None]) for kind in kinds]
    norms = [norm.full_tensor() if isinstance(norm, DTensor) else norm for norm in norms]
    norm = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
    for kind in kinds:
        nn.utils.clip_grads_with_norm_(kind, limit, norm)
    return norm
