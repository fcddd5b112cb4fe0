"""A learned parameter that does not depend on the data, shared by all steps.

Equation: e_t = φ(E), E in R^K or R^{K×V} a head
Source: arXiv:2405.17383, section 3 (data-independent expand)
"""

from typing import Literal

import torch
from torch import Tensor, nn

from eos.stage import AbstractExpand, Activation, LayerContext, activate, option, options


class LearnedExpand(AbstractExpand):
    """e = φ(E), with E starting from 0.1 · N(0, 1)."""

    @options
    class Options:
        """The parameter's shape and activation."""

        over: Literal["key", "key_value"] = option("key", "key: [K], rank-one writes; key_value: [K,V], per channel")
        activation: Activation = option("none", "φ, elementwise")

    options: Options

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        channels = (context.value_size,) if options.over == "key_value" else ()
        self.state = nn.Parameter(0.1 * torch.randn(context.groups, context.key_size, *channels))

    @property
    def features(self) -> int:
        """It does not read x."""
        return 0

    def forward(self, z: Tensor) -> Tensor:
        return activate(self.options.activation, self.state)[None, None]
