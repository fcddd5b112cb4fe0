"""The learning rate as a function of the share of the budget that is used up."""

import math

from eos.training.config import Schedule, TrainingOptions


def share_used(options: TrainingOptions, *, steps: int | None, step: int, seconds: float) -> float:
    """The share u of the budget used up once the coming step is done, 0 < u ≤ 1 (0 ≤ u with a budget of time alone).

    Arguments:
        steps: the budget in steps, or None when time is the only budget.
        step: steps done.
        seconds: training time so far.
    """
    by_steps = 0.0 if steps is None else (step + 1) / steps
    by_time = 0.0 if options.minutes is None else seconds / (60 * options.minutes)
    return min(1.0, max(by_steps, by_time))


def factor(schedule: Schedule, used: float, *, warmup: float, final: float) -> float:
    """The learning rate as a share of its peak.

    With u the share of the budget used and w the warm-up: u / w while u < w; from there on
    cosine: f + (1 − f) (1 + cos(π (u − w) / (1 − w))) / 2; inverse_sqrt: max(f, √(w / u)); constant: 1.

    Arguments:
        used: u, 0 ≤ u ≤ 1.
        warmup: w, 0 ≤ w < 1; inverse_sqrt needs w > 0 to fall at all from a finite peak.
        final: f, 0 ≤ f ≤ 1.
    """
    if used < warmup:
        return used / warmup
    if schedule == "cosine":
        return final + (1 - final) * (1 + math.cos(math.pi * (used - warmup) / (1 - warmup))) / 2
    if schedule == "inverse_sqrt":
        return max(final, math.sqrt(warmup / used))
    return 1.0
