"""A network of sines that sees where in the window a lag is, under an exponential window with a rate a channel.

Equation: h_j = exp(−|r j|/(L−1)) f([j/(L−1), cos(ω_b 2πj/L), −sin(ω_b 2πj/L)]), f = W sin(ν ∘ (… sin(ν ∘ (W · + b))))
Source: arXiv:2302.10866, section 3.3 and appendix D.3
"""

import math

import torch
from torch import Tensor, nn

from eos.stage import AbstractResponse, LayerContext, full_precision, linear, option, options, spread, undecayed, widen


class Implicit(AbstractResponse):
    """Rates start spread so that the slowest falls to 1 % at 1.5 L, the fastest at 0.3 L. They are trained here."""

    @options
    class Options:
        """The window and the network."""

        length: int = option(2048, "L, the window in tokens, the length of training", low=2, high=10**7)
        bands: int = option(8, "sines and cosines that tell places apart", low=1, high=512)
        hidden: int = option(64, "width of the network", low=1, high=1024)
        layers: int = option(2, "hidden layers after the first", low=0, high=16)
        frequency: float = option(10.0, "ν at the start, one for every unit", above=0, high=1000, log=True)

    options: Options

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        hidden, channels = options.hidden, context.heads * context.value_size
        self.first = nn.Linear(2 * options.bands + 1, hidden)
        self.inner = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(options.layers))
        self.last = nn.Linear(hidden, channels, bias=False)
        self.frequency = undecayed(torch.full((hidden,), options.frequency))
        fall = -math.log(0.01)
        self.rate = undecayed(spread(fall / 1.5, fall / 0.3, channels))

    def forward(self, lags: Tensor) -> Tensor:
        window = self.options.length
        lags = lags[:, None]
        bands = torch.linspace(1e-4, self.options.bands - 1, self.options.bands, dtype=lags.dtype, device=lags.device)
        angle = torch.remainder(2 * math.pi * lags / window * bands, 2 * math.pi)
        places = torch.cat([lags / (window - 1), angle.cos(), -angle.sin()], -1)
        places = places.to(widen(self.first.weight).dtype)
        with full_precision(lags):
            z = torch.sin(self.frequency * linear(self.first, places))
            for layer in self.inner:
                z = torch.sin(self.frequency * linear(layer, z))
            return linear(self.last, z).mT

    def log_decay(self) -> Tensor | None:
        return -widen(self.rate).abs() / (self.options.length - 1)
