"""A learned parameter that does not depend on the data, shared by all steps.

Equation: s_t = φ(S), S in R^K or R^{K×V} a head
Source: arXiv:2405.17383, section 3 (data-independent shrink)
"""

from typing import Literal

import torch
from torch import Tensor, nn

from eos.record import Transition
from eos.stage import AbstractShrink, Activation, LayerContext, activate, option, options


class LearnedShrink(AbstractShrink):
    """s = φ(S), with S starting from 0.1 · N(0, 1), or from ones."""

    @options
    class Options:
        """The parameter's shape and activation."""

        over: Literal["key", "key_value"] = option("key", "key: [K], one read a head; key_value: [K,V], per channel")
        activation: Activation = option("none", "φ, elementwise")
        start: Literal["normal", "ones"] = option("normal", "where it starts: 0.1 · N(0, 1), or ones")

    options: Options

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        channels = (context.value_size,) if options.over == "key_value" else ()
        shape = (context.groups, context.key_size, *channels)
        self.state = nn.Parameter(torch.ones(shape) if options.start == "ones" else 0.1 * torch.randn(shape))

    @property
    def features(self) -> int:
        """It does not read x."""
        return 0

    def forward(self, z: Tensor, e: Tensor, transition: Transition) -> Tensor:
        return activate(self.options.activation, self.state)[None, None]
