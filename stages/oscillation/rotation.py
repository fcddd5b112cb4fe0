"""A fixed or learned turn of every pair of entries at every step: relative positions inside the memory.

Equation: m_p + i·m_{p+K/2} ← exp(−iθ_p) (m_p + i·m_{p+K/2}), θ_p = base^(−2p/K)
Source: arXiv:2104.09864, section 3.2; arXiv:2307.09270, section 3.3 (also cosine and fourier); arXiv:2311.04823,
section 3.2 (over V)
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from eos.record import Transition
from eos.stage import AbstractOscillation, LayerContext, option, options, undecayed


class Rotation(AbstractOscillation):
    """e and s both turned by +θ a step is a memory that turns by −θ."""

    @options
    class Options:
        """The angles."""

        base: float = option(10000.0, "θ_p = base^(−2p/K) radians a step", above=1, high=1e8, log=True)
        learned: bool = option(False, "train θ, one of its own a head")
        form: Literal["rotate", "cosine"] = option(
            "rotate", "rotate: turn K/2 pairs (p, p + K/2); cosine: K pairs, e and s padded with zeros by couple = pad"
        )
        over: Literal["key", "value"] = option(
            "key",
            "key: an angle for every pair of K; value: for every entry v of V, base^(−2v/V), all pairs alike",
        )
        turned: Literal["all", "low", "high"] = option(
            "all",
            "low or high: the half of the angles with the lower or higher frequencies turns, the other stays still",
        )
        frequencies: Literal["geometric", "fourier"] = option(
            "geometric", "geometric: base^(−2p/K); fourier: 2πp/K, which permutes K entries, with couple = fourier"
        )

    options: Options

    @classmethod
    def refuse(cls, options: Options, context: LayerContext) -> str | None:
        if options.over == "value" and (options.form == "cosine" or options.frequencies == "fourier"):
            return "over=value has pairs of its own: form=rotate and geometric frequencies"
        if options.frequencies == "fourier" and options.form == "rotate":
            return "frequencies=fourier needs form=cosine, and couple=fourier, which makes K pairs"
        if options.turned != "all" and (options.learned or options.frequencies == "fourier"):
            return "half of the angles turn (turned=low or high) only where they are geometric and not learned"
        odd = options.form == "rotate" and context.key_size % 2
        return f"a rotation turns pairs: K must be even, got K = {context.key_size}" if odd else None

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__(options, context)
        self.theta: nn.Parameter | None = None
        if options.learned:
            self.theta = undecayed(self._angles(None).float().repeat(context.heads, 1))

    def forward(self, x: Tensor, e: Tensor) -> Transition:
        # Made anew, for a buffer would lose its digits in a model of bfloat16.
        theta = self._angles(x.device) if self.theta is None else self.theta
        phase = -theta.to(torch.promote_types(x.dtype, torch.float32))[None, None]
        return Transition(phase=phase if self.options.over == "key" else phase[:, :, :, None])

    def _angles(self, device: torch.device | None) -> Tensor:
        """θ [1,N] in float64."""
        options, key, value = self.options, self.context.key_size, self.context.value_size
        pairs = key // 2 if options.form == "rotate" else key
        count, size = (pairs, key) if options.over == "key" else (value, value)
        place = torch.arange(count, dtype=torch.float64, device=device)
        theta = (
            options.base ** (-2 * place / size) if options.frequencies == "geometric" else 2 * math.pi * place / size
        )
        if options.turned != "all":
            low = place >= count // 2
            theta = theta * (low if options.turned == "low" else ~low)
        return theta[None]
