"""Sampling from a language model, one token at a time in constant memory."""

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eos.errors import DataError, RecipeError
from eos.models.decoding import Decoding, cuda_graph
from eos.models.language_model import LanguageModel


def stream(
    model: LanguageModel,
    prompt: Int[Tensor, "B T"],
    *,
    tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    capture: bool = True,
) -> Iterator[Int[Tensor, " B"]]:
    """Sample ``tokens`` tokens that continue the prompt, each yielded as soon as it is drawn.

    Arguments:
        prompt: T ≥ 1 tokens a row, read in one pass.
        tokens: how many to draw, ≥ 0.
        temperature: divides the logits, ≥ 0; 0 takes the most likely token.
        top_k: draw among the k most likely tokens, k ≥ 1.
        top_p: draw among the fewest tokens whose probabilities sum to at least p, 0 < p ≤ 1.
        seed: of the generator that draws.
        capture: on a GPU, run the steps of a model with a constant cache as a CUDA graph.

    Raises:
        DataError: an empty prompt.
        RecipeError: a setting out of range.
    """
    if not prompt.shape[1]:
        raise DataError("a prompt needs at least one token")
    for name, value, right, allowed in (
        ("tokens", tokens, tokens >= 0, "≥ 0"),
        ("temperature", temperature, temperature >= 0, "≥ 0"),
        ("top_k", top_k, top_k is None or top_k >= 1, "≥ 1"),
        ("top_p", top_p, top_p is None or 0 < top_p <= 1, "in 0 < p ≤ 1"),
    ):
        if not right:
            raise RecipeError(f"{name} must be {allowed}, got {value}")
    return _draw(model, prompt, tokens, temperature, top_k, top_p, seed, capture)


def generate(
    model: LanguageModel,
    prompt: Int[Tensor, "B T"],
    *,
    tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    capture: bool = True,
) -> Int[Tensor, "B tokens"]:
    """The same tokens as :func:`stream`, all at once and without the prompt."""
    drawn = stream(
        model, prompt, tokens=tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, capture=capture
    )
    return torch.stack([*drawn], 1) if tokens else prompt[:, :0]


def _draw(
    model: LanguageModel,
    prompt: Tensor,
    tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: int,
    capture: bool,
) -> Iterator[Tensor]:
    generator = torch.Generator(prompt.device).manual_seed(seed)
    decoding = Decoding(model, prompt.shape[0], capture=cuda_graph if prompt.is_cuda and capture else None)
    given = prompt
    training = model.training
    model.eval()
    try:
        for _ in range(tokens):
            with torch.cuda.device(prompt.device) if prompt.is_cuda else nullcontext():
                logits = decoding(given)
            if temperature == 0:
                token = logits.argmax(-1)
            else:
                kept = _truncated(logits / temperature, top_k, top_p)
                token = torch.multinomial(kept.softmax(-1), 1, generator=generator)[:, 0]
            given = token[:, None]
            yield token
    finally:
        model.train(training)


def _truncated(logits: Float[Tensor, "B vocabulary"], top_k: int | None, top_p: float | None) -> Tensor:
    """The logits with −inf in place of the tokens that top_k and top_p leave out."""
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p is not None and top_p < 1:
        ordered, order = logits.sort(descending=True)
        probabilities = ordered.softmax(-1)
        # a token stays while those before it sum to less than p, so that one always stays
        left_out = probabilities.cumsum(-1) - probabilities >= top_p
        logits = logits.masked_fill(left_out.gather(-1, order.argsort(-1)), -torch.inf)
    return logits
