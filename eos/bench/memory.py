"""How time and peak memory grow with the length."""

from collections.abc import Iterator
from functools import partial
from statistics import median

import torch

from eos import engine
from eos.bench.check import Check
from eos.bench.measure import in_turns, peak_bytes
from eos.bench.records import KINDS, Sample, sample

HALF, WHOLE = 8192, 16384
#: More of what is short.
ROUNDS = {"head": 25, "key": 25, "delta": 15, "elementwise": 5}


def checks() -> Iterator[Check]:
    """Growth from T=8192 to 16384, forward and backward; and the elementwise algorithm beside its own tensors."""
    for kind in KINDS:
        halves = {length: sample(kind, length) for length in (HALF, WHOLE)}
        passes = {str(length): partial(_pass, it) for length, it in halves.items()}
        half, whole = in_turns(passes, rounds=ROUNDS[kind]).values()
        yield Check(
            name=f"{kind}: time from T={HALF} to {WHOLE}",
            value=median(w / h for h, w in zip(half, whole, strict=True)),  # of neighbours in time
            bound=2.1,
            side="at most",
            detail=f"{median(half) * 1e3:.3g} and {median(whole) * 1e3:.3g} ms",
        )
        peaks = {length: peak_bytes(train, kind, length) for length in (HALF, WHOLE)}
        yield Check(
            name=f"{kind}: peak memory from T={HALF} to {WHOLE}",
            value=peaks[WHOLE] / peaks[HALF],
            bound=2.1,
            side="at most",
            detail=f"{peaks[HALF] / 2**20:.0f} and {peaks[WHOLE] / 2**20:.0f} MiB",
        )
        if kind == "elementwise":
            yield Check(
                name=f"elementwise, T={WHOLE}: peak memory / inputs, outputs and their gradients",
                value=peaks[WHOLE] / own_bytes(WHOLE),
                bound=2.0,
                side="at most",
                detail=f"{peaks[WHOLE] / 2**20:.0f} and {own_bytes(WHOLE) / 2**20:.0f} MiB",
            )


def train(kind: str, length: int, *, prepare: bool) -> None:
    """One forward and backward pass over a record of this kind; over a short one to prepare."""
    _pass(sample(kind, 64 if prepare else length))


def own_bytes(length: int) -> int:
    """Bytes of the elementwise record's inputs and of y, each once for its value and once for its gradient."""
    it = sample("elementwise", length)
    return 2 * 4 * (sum(leaf.numel() for leaf in it.leaves) + it.direction.numel())


def _pass(it: Sample) -> None:
    y, _ = engine.scan(it.record)
    torch.autograd.grad(y, it.leaves, it.direction)
