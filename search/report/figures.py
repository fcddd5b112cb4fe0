"""The figures of a report, as SVG and PDF."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator
from optuna.trial import TrialState

from eos.training.files import replacing
from search.report.budget import costs, front
from search.report.cell_figure import cells_figure
from search.report.effects import Effect
from search.report.importances import Importance, Share
from search.report.interval import Interval, mean_interval
from search.report.learned import Learned
from search.report.observed import UNITS
from search.report.style import FIRST, GREY, INK, METADATA, ROW, SECOND, STYLE, WIDTH

#: Parameters that are drawn; rows that an interval lies above or below its effect.
BARS, OFFSET = 15, 0.17


def figures(learned: Learned, into: Path) -> list[str]:
    """Draw what there is to draw, and take away what an earlier report drew; the names of the figures."""
    drawn = []
    made: dict[str, Callable[[Learned], Figure | None]] = {
        "effects": _effects,
        "cells": cells_figure,
        "importances": _importances,
        "costs": _costs,
        "history": _history,
    }
    with mpl.rc_context(STYLE):
        for name, draw in made.items():
            figure = draw(learned)
            for kind, metadata in METADATA.items():
                path = into / f"{name}.{kind}"
                if figure is None:
                    path.unlink(missing_ok=True)
                    continue
                with replacing(path) as temporary:
                    figure.savefig(temporary, format=kind, metadata=metadata)
            if figure is not None:
                drawn.append(name)
    return drawn


def _effects(learned: Learned) -> Figure | None:
    """Every level of every choice on one axis, its two intervals one above the other."""
    told = [effect for effect in learned.fit.effects if effect.value is not None]
    names = list(dict.fromkeys(effect.factor for effect in told))
    if not names:
        return None
    groups = [sorted((e for e in told if e.factor == name), key=_value) for name in names]
    heights = [len(group) + 1.2 for group in groups]
    figure = Figure(figsize=(WIDTH, ROW * sum(heights) + 0.6))
    axes = figure.subplots(len(groups), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    limit = _limit(told)
    for axis, name, group in zip(axes, names, groups, strict=True):
        axis.axvline(0, color=GREY, linewidth=0.8)
        for row, effect in enumerate(group):
            # One above the other: the wider would hide the narrower.
            beside = OFFSET if effect.over_seeds is not None and effect.over_trials is not None else 0.0
            for interval, at, width, colour in (
                (effect.over_trials, row - beside, 1.0, GREY),
                (effect.over_seeds, row + beside, 2.2, FIRST),
            ):
                if interval is not None:
                    _bar(axis, at, interval.low, interval.high, limit, width=width, colour=colour)
            axis.plot(
                _value(effect), row, "o", color=INK, markersize=4, markerfacecolor=INK if effect.clear else "white"
            )
        axis.set_yticks(range(len(group)), [f"{effect.level}  ({effect.trials})" for effect in group])
        axis.set_ylim(-0.7, len(group) - 0.3)
        axis.set_title(f"{name} (trials)", loc="left")
    axes[-1].set_xlim(-limit, limit)
    seeds = "blue: 95 % over seeds; " if learned.fit.seeds > 1 else ""
    metric = learned.observed.record.quality.metric
    axes[-1].set_xlabel(
        f"{metric} against the mean of the choice, better →\n{seeds}grey: 95 % over trials; filled: p < 0.05 by Holm"
    )
    return figure


def _value(effect: Effect) -> float:
    return effect.value or 0.0


def _limit(told: Sequence[Effect]) -> float:
    """Where the axis ends: at the intervals, or before one that would squeeze all others."""
    ends = [max(abs(i.low), abs(i.high)) for e in told for i in (e.over_seeds, e.over_trials) if i is not None]
    values = max(abs(_value(effect)) for effect in told)
    if not ends:
        return 1.2 * values or 1.0
    return 1.1 * min(max(ends), max(1.3 * values, 2.5 * float(np.quantile(ends, 0.75)))) or 1.0


def _bar(axis: Axes, row: float, low: float, high: float, limit: float, *, width: float, colour: str) -> None:
    """An interval; an end beyond the axis is an arrow."""
    axis.plot([max(low, -limit), min(high, limit)], [row, row], color=colour, linewidth=width, solid_capstyle="butt")
    for end, marker in ((low, "<"), (high, ">")):
        if abs(end) > limit:
            axis.plot(math.copysign(limit, end), row, marker, color=colour, markersize=4, clip_on=False)


def _importances(learned: Learned) -> Figure | None:
    shown = [each for each in learned.importances if each.fanova is not None][:BARS]
    if not shown:
        return None
    figure = Figure(figsize=(WIDTH, ROW * len(shown) * 1.2 + 0.7))
    one, other = figure.subplots(1, 2, sharey=True)
    methods: list[tuple[Axes, str, Callable[[Importance], Share | None]]] = [
        (one, "fANOVA: share of\nthe variance, alone", lambda each: each.fanova),
        (other, "PED-ANOVA: share in what\ntells the best from all", lambda each: each.ped_anova),
    ]
    for axis, title, of in methods:
        for row, each in enumerate(reversed(shown)):
            if (share := of(each)) is not None:
                axis.plot([share.low, share.high], [row, row], color=GREY, linewidth=1.2)
                axis.plot(share.value, row, "o", color=FIRST, markersize=4)
        axis.set_xlim(left=0)
        axis.set_xlabel(f"{title}\n(line: range over resamples)")
    one.set_yticks(range(len(shown)), [f"{each.name}  ({each.trials})" for each in reversed(shown)])
    return figure


def _costs(learned: Learned) -> Figure | None:
    observed = learned.observed
    names = costs(observed)
    if not names:
        return None
    figure = Figure(figsize=(WIDTH, 2.4 * math.ceil(len(names) / 2) + 0.4))
    axes = figure.subplots(math.ceil(len(names) / 2), 2, squeeze=False).ravel()
    for axis, name in zip(axes, names, strict=False):
        held = [each for each in observed.complete if name in each.costs]
        spent = [each.costs[name] for each in held]
        values = [each.quality for each in held]
        intervals = [mean_interval(list(each.seeds.values())) for each in held]
        low, high = _room(values, intervals)
        axis.set_ylim(low, high)
        for at, interval in zip(spent, intervals, strict=True):
            if interval is None:
                continue
            ends = [max(low, interval.low), min(high, interval.high)]
            axis.plot([at, at], ends, color=GREY, linewidth=0.5, alpha=0.8, label="95 % over seeds; arrows: wider")
            for end, marker in ((interval.low, "v"), (interval.high, "^")):
                if not low <= end <= high:
                    edge = low if marker == "v" else high
                    axis.plot(at, edge, marker, color=GREY, markersize=2.5, clip_on=False, label="_")
        axis.plot(spent, values, "o", color=GREY, markersize=3, label="a trial")
        best = front(observed, name)
        x, y = [each.costs[name] for each in best], [each.quality for each in best]
        axis.step(
            [*x, max(spent)], [*y, y[-1]], where="post", color=FIRST, linewidth=1, label="the best that costs no more"
        )
        axis.plot(x, y, "o", color=FIRST, markersize=4)
        if min(spent) > 0 and max(spent) > 10 * min(spent):
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.set_xlabel(UNITS[name])
        axis.set_ylabel(_metric(learned))
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    named = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(list(named.values()), list(named), loc="outside lower center", ncols=3, frameon=False, fontsize=7)
    return figure


def _room(values: Sequence[float], intervals: Sequence[Interval | None]) -> tuple[float, float]:
    """Where an axis of values ends: at their intervals, or before those that would squeeze all values."""
    spread = max(values) - min(values)
    least, most = min(values) - 0.15 * spread, max(values) + 0.15 * spread
    ends = [end for interval in intervals if interval is not None for end in (interval.low, interval.high)]
    low = max(min([least, *ends]), min(values) - spread)
    high = min(max([most, *ends]), max(values) + spread)
    return (low, high) if low < high else (low - 0.1, high + 0.1)


def _metric(learned: Learned) -> str:
    quality = learned.observed.record.quality
    return f"{quality.metric} {'↑' if quality.higher else '↓'}"


def _history(learned: Learned) -> Figure | None:
    observed = learned.observed
    figure = Figure(figsize=(WIDTH, 2.2))
    axis = figure.subplots()
    numbers, values = [each.number for each in observed.complete], [each.quality for each in observed.complete]
    so_far = (np.maximum if observed.sign > 0 else np.minimum).accumulate(values)
    axis.plot(numbers, values, "o", color=GREY, markersize=3, label="complete")
    pruned = [t for t in observed.ended if t.state == TrialState.PRUNED and t.intermediate_values]
    if pruned:
        last = [trial.intermediate_values[max(trial.intermediate_values)] for trial in pruned]
        axis.plot(
            [t.number for t in pruned],
            last,
            "D",
            color=SECOND,
            markersize=3,
            markerfacecolor="none",
            label="pruned, at its last step",
        )
    end = max(numbers[-1], *(trial.number for trial in observed.ended))
    axis.step([*numbers, end], [*so_far, so_far[-1]], where="post", color=FIRST, linewidth=1, label="best so far")
    axis.set_xlabel("trial")
    axis.set_ylabel(_metric(learned))
    axis.legend(frameon=False, fontsize=7)
    return figure
