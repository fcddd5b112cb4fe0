"""What the page shows of a run's memories: lengths and periods in tokens."""

import math
from collections.abc import Iterator
from typing import Any

from eos.training.learned import Kept, Learned


def memory_pictures(run: int, learned: Learned | None) -> Iterator[dict[str, Any]]:
    """One for every layer that keeps a memory; none of a run that does not tell."""
    for kept in learned.memory if learned is not None else ():
        yield {
            "run": run,
            "layer": kept.layer,
            "mixer": kept.mixer if kept.stack == "blocks" else f"{kept.stack} {kept.mixer}",
            "learned": kept.learned,
            "erase": kept.erase,
            "length": kept.length,
            "over": kept.over,
            "decay_tokens": [
                [_rounded(-1 / value) if value < 0 else None for value in head] for head in kept.log_decay
            ],
            "period_tokens": _periods(kept),
        }


def _periods(kept: Kept) -> list[list[float | None]] | None:
    if kept.phase is None:
        return None
    return [[_rounded(2 * math.pi / value) if value > 0 else None for value in head] for head in kept.phase]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
