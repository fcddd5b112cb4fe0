"""Decoding: flat in time and memory, and the same logits as the parallel form."""

import statistics
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from eos import registry
from eos.bench.check import Check
from eos.compose import build, load_model_recipe
from eos.config import EOSMixer
from eos.models import Cache

TOKENS = 4096
QUARTER = TOKENS // 4
SIZES = ("layers=2", "width=64")


def checks() -> Iterator[Check]:
    """For every recipe without softmax: the last against the first 1,024 tokens, cache bytes, and logits."""
    for name in registry.recipes("model"):
        recipe = load_model_recipe(name, SIZES)
        if all(isinstance(recipe.mixers[each], EOSMixer) for each in recipe.mixers):
            yield from _recipe(name)


def _recipe(name: str) -> Iterator[Check]:
    torch.manual_seed(0)
    model = build(name, SIZES, vocabulary=256).eval()
    tokens = torch.randint(256, (1, TOKENS))
    start, end = model.cache(1), model.cache(1)
    seconds: dict[str, list[float]] = {"first": [], "last": []}
    decoded: list[Tensor] = []
    size = 0

    def step(cache: Cache, t: int, quarter: str) -> Tensor:
        before = time.perf_counter()
        logits: Tensor = model(tokens[:, t : t + 1], cache=cache)
        seconds[quarter].append(time.perf_counter() - before)
        return logits

    with torch.no_grad():
        model(tokens[:, : TOKENS - QUARTER], cache=end)  # read at once, which leaves the cache as decoding does
        for t in range(QUARTER):  # in turns, so that both see the same machine
            decoded.append(step(start, t, "first"))
            size = size or start.bytes
            step(end, TOKENS - QUARTER + t, "last")
        difference = (torch.cat(decoded, 1) - model(tokens[:, :QUARTER])).abs().max().item()
    first, last = (statistics.median(seconds[quarter]) for quarter in ("first", "last"))
    yield Check(
        name=f"{name}: time a token, last quarter of {TOKENS:,} / first",
        value=last / first,
        bound=1.15,
        side="at most",
        detail=f"{last * 1e3:.3g} ms a token",
    )
    yield Check(
        name=f"{name}: bytes of the cache, last token / first",
        value=end.bytes / size,
        bound=1.0,
        side="at most",
        detail=f"{end.bytes:,} bytes",
    )
    yield Check(
        name=f"{name}: decoded against parallel logits, {QUARTER:,} tokens",
        value=difference,
        bound=1e-4,
        unit="",
        side="at most",
    )
