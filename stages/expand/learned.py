"""A learned parameter that does not depend on the data, shared by all steps.

Equation: e_t = φ(E), E in R^K or R^{K×V} a head
Source: arXiv:2405.17383, section 3 (data-independent expand); arXiv:2111.00396, section 3.3 (legs)
"""

from typing import Literal

import torch
from torch import Tensor, nn

from eos.stage import AbstractExpand, Activation, LayerContext, activate, legs, option, options


class LearnedExpand(AbstractExpand):
    """e = φ(E), with E starting from 0.1 · N(0, 1), from ones, or as HiPPO."""

    @options
    class Options:
        """The parameter's shape and activation."""

        over: Literal["key", "key_value"] = option("key", "key: [K], rank-one writes; key_value: [K,V], per channel")
        activation: Activation = option("none", "φ, elementwise")
        start: Literal["normal", "ones", "legs"] = option(
            "normal", "where it starts: 0.1 · N(0, 1), ones, or the B of HiPPO-LegS (real parts, then imaginary ones)"
        )

    options: Options

    @classmethod
    def refuse(cls, options: Options, context: LayerContext) -> str | None:
        odd = options.start == "legs" and context.key_size % 2
        return f"complex entries are pairs: K must be even, got K = {context.key_size}" if odd else None

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        groups, key = context.groups, context.key_size
        shape = (groups, key, context.value_size) if options.over == "key_value" else (groups, key)
        match options.start:
            case "normal":
                state = 0.1 * torch.randn(shape)
            case "ones":
                state = torch.ones(shape)
            case "legs":
                b = legs(key // 2)[2]
                state = torch.cat([b.real, b.imag]).float().view(1, key, *[1] * (len(shape) - 2)).expand(shape).clone()
        self.state = nn.Parameter(state)

    @property
    def features(self) -> int:
        """It does not read x."""
        return 0

    def forward(self, z: Tensor) -> Tensor:
        return activate(self.options.activation, self.state)[None, None]
