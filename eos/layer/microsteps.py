"""Several writes a token: an expand stage of its own for every micro-step."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from eos.errors import CompositionError
from eos.stage import AbstractExpand


class MicrostepsExpand(AbstractExpand):
    """e [B,n·T,G,K]: the e of n stages in turn.

    Source: arXiv:2502.10297, section 3.1.
    """

    def __init__(self, stages: Sequence[AbstractExpand]) -> None:
        super().__init__(None, stages[0].context)
        if not stages[0].features:
            raise CompositionError("substeps need an expand stage that reads x: else all micro-steps write alike")
        self.stages = nn.ModuleList(stages)

    @property
    def features(self) -> int:
        """Those of all stages."""
        return len(self.stages) * cast(AbstractExpand, self.stages[0]).features

    def project(self, x: Tensor) -> Tensor:
        """Every stage's own, side by side."""
        return torch.cat([cast(AbstractExpand, stage).project(x) for stage in self.stages], -1)

    def forward(self, z: Tensor) -> Tensor:
        own = z.chunk(len(self.stages), -1)
        return torch.stack([stage(part) for stage, part in zip(self.stages, own, strict=True)], 2).flatten(1, 2)
