"""What is said of a network before it is trained: the baselines that a ranker has to beat."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from eos.tasks.task import Batch

#: Added to eigenvalues before their logarithm is taken.
EPS = 1e-5


def parameters(model: nn.Module, batch: Batch) -> float:
    """The number of trained parameters."""
    return float(sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad))


def synflow(model: nn.Module, batch: Batch) -> float:
    """Σ |θ ∂R/∂θ| with all parameters made positive and R the sum of the outputs, in float64.

    Source: arXiv:2006.05467, section 5; on tokens of the task in place of inputs of ones
    """
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    model.zero_grad()
    inputs = batch.inputs.double() if batch.inputs.is_floating_point() else batch.inputs
    model(inputs, **batch.arguments()).sum().backward()
    flows = [
        (parameter.detach() * parameter.grad).abs().sum()
        for parameter in model.parameters()
        if parameter.grad is not None
    ]
    return float(torch.stack(flows).sum())


def jacobian_covariance(model: nn.Module, batch: Batch) -> float:
    """−Σ (log(σ + ε) + 1/(σ + ε)) over eigenvalues σ of the correlation of the rows' Jacobians; more is better.

    A row's Jacobian is that of the sum of its outputs by its embedded inputs.

    Source: arXiv:2006.04647v1, section 3
    """
    model = model.eval()
    embedded: list[Tensor] = []
    first = next(module for module in model.modules() if isinstance(module, nn.Embedding | nn.Linear))

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[-1]

    hook = first.register_forward_hook(keep)
    logits = model(batch.inputs, **batch.arguments())
    hook.remove()
    (jacobian,) = torch.autograd.grad(logits.sum(), embedded[0])
    rows = torch.corrcoef(jacobian.flatten(1).double())
    values = torch.linalg.eigvalsh(rows.nan_to_num())
    return float(-(torch.log(values.clamp(min=0) + EPS) + 1 / (values.clamp(min=0) + EPS)).sum())


PROXIES: dict[str, Callable[[nn.Module, Batch], float]] = {
    "parameters": parameters,
    "synflow": synflow,
    "jacobian covariance": jacobian_covariance,
}
