"""An empty token of weight one before the first of every document."""

from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from eos.errors import CompositionError
from eos.parallel import current
from eos.record import Transition


def with_null_token(
    transition: Transition, e: Tensor, *, reset: Bool[Tensor, "B T"] | None, begun: Bool[Tensor, " 1"] | None
) -> Transition:
    """M starts from 0, not from −∞: where a document begins, g ← log(1 + exp g), and e ← exp(g) / (1 + exp g) ∘ e.

    Arguments:
        transition: with log_gate g [B,T,H,P] and a normaliser that sums.
        e: as it is written, for its number of entries over K.
        reset: where documents begin.
        begun: whether there were tokens before; None means there were not.

    Raises:
        CompositionError: there is no such log_gate.
    """
    g = transition.log_gate
    if g is None or transition.stabilise != "sum":
        raise CompositionError("null_token=true needs weights that sum to one: an oscillation with a log_gate")
    if transition.head is not None or transition.key is not None:
        raise CompositionError("null_token=true needs weights that do not fade, for the empty token's would too")
    first = torch.zeros(g.shape[1], dtype=torch.bool, device=g.device)
    group = current()
    first[0] = group is None or group.rank == 0
    begins = first[None] if begun is None else first[None] & ~begun[:, None]
    begins = (begins if reset is None else begins | reset)[..., None, None]
    grown = torch.logaddexp(g, torch.zeros_like(g))
    share = torch.where(begins, (g - grown).exp(), 1.0)
    share = torch.cat([share, share], -1) if 2 * share.shape[-1] == e.shape[3] else share
    gate = share[..., None] if transition.gate is None else transition.gate * share[..., None]
    return replace(transition, log_gate=torch.where(begins, grown, g), gate=gate)
