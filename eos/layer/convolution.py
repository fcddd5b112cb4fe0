"""The short convolution: each channel's weighted sum of its last few values."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from eos.config import ShortConvolution
from eos.parallel import current, tail_before
from eos.stage import activate


class _Taps(torch.autograd.Function):
    """Σ_j w_j ∘ x_{t−j}, with sums in place: autograd would hold a tensor for every tap."""

    @staticmethod
    def forward(ctx: Any, seen: Tensor, weight: Tensor, same: Tensor | None) -> Tensor:
        """seen [B,P+T,F], the past first; weight [P+1,F]; same [P+1,B,T], whether x_{t−j} is of the same document."""
        ctx.save_for_backward(seen, weight, same)
        y = weight[0] * seen[:, len(weight) - 1 :]
        for lag, x in enumerate(_lagged(seen, same, len(weight))):
            if lag:
                y.addcmul_(weight[lag], x)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, None]:
        """The gradients of ``seen`` and ``weight``."""
        seen, weight, same = ctx.saved_tensors
        reach, length = len(weight) - 1, dy.shape[1]
        dseen, dweight = torch.zeros_like(seen), []
        for lag, x in enumerate(_lagged(seen, same, len(weight))):
            kept = dy if same is None else torch.where(same[lag, ..., None], dy, 0.0)
            dseen[:, reach - lag :][:, :length].addcmul_(weight[lag], kept)
            dweight.append((dy * x).sum((0, 1)))
        return dseen, torch.stack(dweight), None


def _lagged(seen: Tensor, same: Tensor | None, taps: int) -> Iterator[Tensor]:
    """x_{t−j} for every lag j [B,T,F], zero where it is of another document."""
    length = seen.shape[1] - taps + 1
    for lag in range(taps):
        x = seen[:, taps - 1 - lag :][:, :length]
        yield x if same is None else torch.where(same[lag, ..., None], x, 0.0)


class CausalConvolution(nn.Module):
    """y_t = φ(Σ_j w_j ∘ x_{t−j} + b), j < size, within a document.

    Source: arXiv:2312.00752, section 3.4.
    """

    def __init__(self, options: ShortConvolution, channels: int) -> None:
        super().__init__()
        self.activation = options.activation
        bound = options.size**-0.5
        # weight[j] meets x_{t-j}
        self.weight = nn.Parameter(torch.empty(options.size, channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(channels)) if options.bias else None

    @property
    def shape(self) -> tuple[int, int]:
        """[size − 1, channels]: what is remembered of the past."""
        return self.weight.shape[0] - 1, self.weight.shape[1]

    def forward(
        self, x: Float[Tensor, "B T F"], *, reset: Bool[Tensor, "B T"] | None, past: Float[Tensor, "B P F"] | None
    ) -> tuple[Float[Tensor, "B T F"], Float[Tensor, "B P F"]]:
        """The convolution of x that follows ``past``, and the past of what comes next."""
        length, reach = x.shape[1], self.shape[0]
        if past is None:
            group = current()
            empty = x.new_zeros(x.shape[0], *self.shape)
            past = empty if group is None else tail_before(x, reach, group, reset=reset)
        seen = torch.cat([past.to(x.dtype), x], 1)
        document = same = None
        if reset is not None:
            document = torch.cat([reset.new_zeros(reset.shape[0], reach), reset], 1).cumsum(1)
            lags = range(reach + 1)
            same = torch.stack([document[:, reach - lag :][:, :length] == document[:, reach:] for lag in lags])
        dtype = torch.promote_types(seen.dtype, self.weight.dtype)
        y: Tensor = _Taps.apply(seen.to(dtype), self.weight.to(dtype), same)  # type: ignore[no-untyped-call]
        past = seen[:, length:].clone()  # a view would keep all of it alive
        if document is not None:
            past = torch.where((document[:, length:] == document[:, -1:])[..., None], past, 0.0)
        return activate(self.activation, y if self.bias is None else y + self.bias), past
