"""A gate for every entry of the memory made of a data-dependent vector and a learned table.

Equation: log o_t = log_sigmoid((W x_t) ∘ O) / τ, W x_t over K or V, O in R^{K×V}, R^K or R^V
Source: arXiv:2405.17383, section 3 (mixed forms)
"""

from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from eos.record import Transition
from eos.stage import AbstractOscillation, LayerContext, option, options, widen


class MixedGate(AbstractOscillation):
    """The table O starts from 0.1 · N(0, 1): every decay near exp(−0.69/τ)."""

    @options
    class Options:
        """Which axes the data-dependent vector and the table have."""

        over: Literal["key", "value"] = option("value", "the axis of W x_t")
        table: Literal["key_value", "key", "value"] = option("key_value", "the axes of O")
        tau: float = option(16.0, "divides the log-decay; larger means slower", above=0, high=64, log=True)

    options: Options

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        key, value = context.key_size, context.value_size
        size = key if options.over == "key" else value
        table = {"key_value": (key, value), "key": (key, 1), "value": (1, value)}[options.table]
        self.projection = nn.Linear(context.width, context.heads * size, bias=False)
        self.table = nn.Parameter(0.1 * torch.randn(context.heads, *table))

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        axes = "b t h k 1" if self.options.over == "key" else "b t h 1 k"
        step = rearrange(widen(self.projection(x)), f"b t (h k) -> {axes}", h=self.context.heads)
        return Transition(rate=self.table, step=step, link="log_sigmoid", tau=self.options.tau)
