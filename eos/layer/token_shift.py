"""Token shift: every projection sees its own mixture of a token and the one before."""

from collections.abc import Sequence

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from eos.config import TokenShift
from eos.parallel import current, tail_before
from eos.stage import undecayed


def previous(
    x: Float[Tensor, "B T D"], *, reset: Bool[Tensor, "B T"] | None, past: Float[Tensor, "B 1 D"] | None
) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B 1 D"]]:
    """x_{t-1}, zero where a document begins, and the last x for what comes next."""
    if past is None:
        group = current()
        past = torch.zeros_like(x[:, :1]) if group is None else tail_before(x, 1, group)
    first = past.to(x.dtype)
    before = torch.cat([first, x[:, :-1]], 1)
    # a copy: a view would keep all of x alive
    return before if reset is None else torch.where(reset[..., None], 0.0, before), x[:, -1:].clone()


class Shift(nn.Module):
    """x_t + μ ∘ (x_{t-1} − x_t) for every target, with a μ in R^D of its own.

    With a rank, μ depends on the data: μ + tanh((x_t + μ_0 ∘ (x_{t-1} − x_t)) A) B.

    Source: arXiv:2305.13048, section 3.1 (fixed); arXiv:2404.05892, section 4.2 (data-dependent)
    """

    def __init__(self, options: TokenShift, width: int, targets: Sequence[str], *, layer: int, layers: int) -> None:
        super().__init__()
        self.targets = tuple(targets)
        # Early channels look back, late ones at the token itself; deeper layers look back less.
        start = 1 - (torch.arange(width) / width) ** (1 - layer / layers)
        self.mix = undecayed(start.repeat(len(targets), 1))
        self.common: nn.Parameter | None = None
        if options.rank is not None:
            self.common = undecayed(start.clone())
            self.down = nn.Linear(width, len(targets) * options.rank, bias=False)
            self.up = nn.Parameter(torch.empty(len(targets), options.rank, width).uniform_(-0.01, 0.01))

    def forward(self, x: Float[Tensor, "B T D"], before: Float[Tensor, "B T D"]) -> dict[str, Float[Tensor, "B T D"]]:
        """What every target sees."""
        change = before - x
        mix: Tensor = self.mix[:, None, None]
        if self.common is not None:
            inner = torch.tanh(self.down(x + self.common * change))
            inner = rearrange(inner, "b t (n r) -> n b t r", n=len(self.targets))
            mix = mix + einsum(inner, self.up, "n b t r, n r d -> n b t d")
        return dict(zip(self.targets, x + mix * change, strict=True))
