"""Decoding: flat in time and memory, and the same logits as the parallel form."""

import statistics
import time
from collections.abc import Iterator

import torch

from eos import registry
from eos.bench.check import Check
from eos.compose import build, load_model_recipe
from eos.config import EOSMixer

TOKENS = 4096
COMPARED = 512
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
    cache = model.cache(1)
    seconds, decoded, sizes = [], [], []
    with torch.no_grad():
        for t in range(TOKENS):
            start = time.perf_counter()
            logits = model(tokens[:, t : t + 1], cache=cache)
            seconds.append(time.perf_counter() - start)
            sizes.append(cache.bytes)
            if t < COMPARED:
                decoded.append(logits)
        difference = (torch.cat(decoded, 1) - model(tokens[:, :COMPARED])).abs().max().item()
    quarter = TOKENS // 4
    first, last = statistics.median(seconds[:quarter]), statistics.median(seconds[-quarter:])
    yield Check(
        name=f"{name}: time a token, last quarter of {TOKENS:,} / first",
        value=last / first,
        bound=1.15,
        side="at most",
        detail=f"{last * 1e3:.3g} ms a token",
    )
    yield Check(
        name=f"{name}: bytes of the cache, last token / first",
        value=sizes[-1] / sizes[0],
        bound=1.0,
        side="at most",
        detail=f"{sizes[-1]:,} bytes",
    )
    yield Check(
        name=f"{name}: decoded against parallel logits, {COMPARED} tokens",
        value=difference,
        bound=1e-4,
        unit="",
        side="at most",
    )
