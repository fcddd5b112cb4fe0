"""The short convolution: each channel's weighted sum of its last few values."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from eos.config import ShortConvolution
from eos.stage import activate


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
            past = x.new_zeros(x.shape[0], *self.shape)
        seen = torch.cat([past.to(x.dtype), x], 1)
        document = None
        if reset is not None:
            document = torch.cat([reset.new_zeros(reset.shape[0], reach), reset], 1).cumsum(1)
        y = self.weight[0] * x
        for lag in range(1, reach + 1):
            at = slice(reach - lag, reach - lag + length)
            term = self.weight[lag] * seen[:, at]
            if document is not None:
                term = torch.where((document[:, at] == document[:, reach:])[..., None], term, 0.0)
            y = y + term
        past = seen[:, length:].clone()  # a view would keep all of it alive
        if document is not None:
            past = torch.where((document[:, length:] == document[:, -1:])[..., None], past, 0.0)
        return activate(self.activation, y if self.bias is None else y + self.bias), past
