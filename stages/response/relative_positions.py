"""A network that sees the lag alone, times a fixed decay: the relative position encoder of Toeplitz networks.

Equation: h_j = γ^|j| f(j), f = a network of ReLU layers, each normalised before its activation, from j to every channel
Source: arXiv:2305.04749, sections 3.2 and 3.3
"""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from eos.stage import AbstractResponse, LayerContext, full_precision, linear, option, options, widen


class RelativePositions(AbstractResponse):
    """It is asked for any lag, so a model may be used on longer sequences than it was trained on."""

    @options
    class Options:
        """The network and the decay."""

        hidden: int = option(64, "width of the network", low=1, high=1024)
        layers: int = option(6, "hidden layers", low=0, high=16)
        decay: float = option(0.99, "γ; 1 means none", above=0, high=1)

    options: Options

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        hidden, channels = options.hidden, context.heads * context.value_size
        self.first = nn.Linear(1, hidden)
        self.inner = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(options.layers))
        self.last = nn.Linear(hidden, channels)

    def forward(self, lags: Tensor) -> Tensor:
        # Lags go into the thousands, which bfloat16 cannot tell apart.
        with full_precision(lags):
            z = linear(self.first, lags[:, None].to(widen(self.first.weight).dtype))
            for layer in (*self.inner, self.last):
                z = linear(layer, F.relu(F.rms_norm(z, z.shape[-1:], eps=1e-6)))
        return z.mT

    def log_decay(self) -> Tensor | None:
        if self.options.decay == 1:
            return None
        return widen(self.last.weight).new_full((1,), math.log(self.options.decay))
