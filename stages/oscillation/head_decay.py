"""A fixed decay a head, from one of the published schedules over heads and layers.

Equation: o_h = exp(−n_h f_l), with n_h the rate of head h and f_l the factor of layer l
Source: arXiv:2307.08621, section 3.1 (powers); arXiv:2405.17381 (linear, to_last); arXiv:2108.12409 (slopes)
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from eos.record import Transition
from eos.stage import AbstractOscillation, LayerContext, option, options, undecayed, widen

Schedule = Callable[[int, int], float]

RATES: dict[str, Schedule] = {
    "powers": lambda head, heads: -math.log1p(-(2.0 ** (-5 - head))),
    "slopes": lambda head, heads: 2.0 ** (-8 * (head + 1) / heads),
    "linear": lambda head, heads: 8 * (head + 1) / heads,
    "half_lives": lambda head, heads: math.log(2) / 2 ** (1 + 7 * head / max(heads - 1, 1)),
}
FACTORS: dict[str, Schedule] = {
    "one": lambda layer, layers: 1.0,
    "to_zero": lambda layer, layers: 1 - layer / max(layers - 1, 1) + 1e-5,
    "to_last": lambda layer, layers: 1 - layer / layers,
}


class HeadDecay(AbstractOscillation):
    """One constant decay a head; with ``learned`` the schedule is where training starts."""

    @options
    class Options:
        """The schedule. Heads h count from 0 to H − 1, layers l from 0 to L − 1."""

        schedule: Literal["powers", "slopes", "linear", "half_lives"] = option(
            "powers",
            "o_h: powers 1 − 2^(−5−h); slopes exp(−2^(−8(h+1)/H)); linear exp(−8(h+1)/H); half_lives 2 … 256 tokens",
        )
        layer_factor: Literal["one", "to_zero", "to_last"] = option(
            "one", "f_l: one; to_zero 1 − l/(L−1) + 1e-5, the last layer hardly decays; to_last 1 − l/L"
        )
        learned: bool = option(False, "train the logarithm of every head's rate")

    options: Options

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        self.log_rate: nn.Parameter | None = None
        if options.learned:
            self.log_rate = undecayed(self._rates(None).log().float())

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        # Made anew, for a buffer would lose its digits in a model of bfloat16.
        rate = self._rates(x.device) if self.log_rate is None else widen(self.log_rate).exp()
        return Transition(head=-rate.to(torch.promote_types(x.dtype, torch.float32))[None, None])

    def _rates(self, device: torch.device | None) -> Tensor:
        """n_h f_l [H] in float64."""
        heads = self.context.heads
        factor = FACTORS[self.options.layer_factor](self.context.layer, self.context.layers)
        rates = [RATES[self.options.schedule](head, heads) * factor for head in range(heads)]
        return torch.tensor(rates, dtype=torch.float64, device=device)
