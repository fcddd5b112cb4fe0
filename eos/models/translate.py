"""Writing what a source becomes: greedily, or by beam search."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from eos.errors import RecipeError
from eos.models.cross_attention import Context
from eos.models.encoder_decoder import EncoderDecoder


@torch.no_grad()
def translate(
    model: EncoderDecoder,
    source: Int[Tensor, "B S"],
    *,
    end: int,
    limits: Int[Tensor, " B"],
    seen: Bool[Tensor, "B S"] | None = None,
    beams: int = 1,
    penalty: float = 1.0,
) -> list[list[int]]:
    """The tokens that a model writes for each source, without the end; the model's mode is as before afterwards.

    Beam search looks for the y of the largest Σ_t log p(y_t | y_<t, x) / |y|^penalty, where |y| counts the end, if it
    was reached: at every step it keeps the ``beams`` likeliest beginnings, finished ones among them. With one beam the
    likeliest token is taken each time.

    Arguments:
        source: tokens of each row.
        end: the token that begins and ends what is written.
        limits: how many tokens a row may have at most, the end counted, ≥ 1.
        seen: false where the source is padding, at its end.
        beams: ≥ 1.
        penalty: 0 favours short ones, 1 compares means.

    Raises:
        RecipeError: a setting out of range.

    Source: arXiv:1609.08144, section 7 (without coverage).
    """
    if beams < 1:
        raise RecipeError(f"beams must be ≥ 1, got {beams}")
    if int(limits.min()) < 1:
        raise RecipeError(f"at least one token is written, got a limit of {int(limits.min())}")
    training = model.training
    model.eval()
    try:
        written, scores = _search(model, source, seen, end, limits, beams)
    finally:
        model.train(training)
    sizes = (written != end).sum(-1)
    ended = sizes < limits[:, None]
    best = (scores / (sizes + ended).float() ** penalty).argmax(1)
    rows = torch.arange(len(best), device=best.device)
    chosen, lengths = written[rows, best].tolist(), sizes[rows, best].tolist()
    return [row[:length] for row, length in zip(chosen, lengths, strict=True)]


def _search(
    model: EncoderDecoder, source: Tensor, seen: Tensor | None, end: int, limits: Tensor, beams: int
) -> tuple[Tensor, Tensor]:
    """What each beam has written [B,beams,T], filled up with ends, and the sum of its logarithms [B,beams]."""
    batch, device = len(source), source.device
    cache = model.cache(tuple(_repeated(context, beams) for context in model.encode(source, seen=seen)))
    # at first all beams are the same, so one alone counts
    scores = torch.full((batch, beams), -torch.inf, device=device)
    scores[:, 0] = 0.0
    written = torch.empty(batch, beams, 0, dtype=torch.long, device=device)
    last = torch.full((batch, beams), end, device=device)
    done = torch.zeros(batch, beams, dtype=torch.bool, device=device)
    first = torch.arange(batch, device=device)[:, None] * beams
    while not done.all():
        logits = model.decode(last.view(-1, 1), cache)[:, -1].float()
        steps = logits.log_softmax(-1).view(batch, beams, -1)
        # what is finished goes on with its end, at no cost
        closed = torch.full_like(steps[:1, :1], -torch.inf)
        closed[..., end] = 0.0
        steps = torch.where(done[..., None], closed, steps)
        scores, places = (scores[..., None] + steps).flatten(1).topk(beams)
        parents, last = places // steps.shape[-1], places % steps.shape[-1]
        if beams > 1:
            cache.reorder((first + parents).flatten())
            written = written.gather(1, parents[..., None].expand(-1, -1, written.shape[2]))
            done = done.gather(1, parents)
        written = torch.cat([written, last[..., None]], 2)
        done = done | (last == end) | (written.shape[2] >= limits)[:, None]
    return written, scores


def _repeated(context: Context, beams: int) -> Context:
    """Every row as often as it has beams."""
    if beams == 1:
        return context
    seen = None if context.seen is None else context.seen.repeat_interleave(beams, 0)
    keys, values = (tensor.repeat_interleave(beams, 0) for tensor in (context.keys, context.values))
    return replace(context, keys=keys, values=values, seen=seen)
