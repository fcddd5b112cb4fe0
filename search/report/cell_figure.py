"""Combinations of two choices as coloured maps."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from search.report.interactions import Interaction
from search.report.learned import Learned
from search.report.style import FIRST, INK, ROW, SECOND, WIDTH
from search.report.table import number

#: Never red and green; the middle is light.
DIVERGING = LinearSegmentedColormap.from_list("worse to better", [SECOND, "#F4F4F2", FIRST])
#: Pairs that are drawn; levels up to which those that no trial has are drawn too, and from which a pair is not drawn.
PANELS, FEW, TOO_MANY = 3, 6, 33
#: Points of the signs in a cell: at most, and too small to read; and how wide a sign is, of them.
LARGEST, SMALLEST, SIGN = 7.0, 4.5, 0.6


@dataclass(frozen=True)
class _Grid:
    """What is drawn of a pair: all levels of a choice where they are few, else those of which something was seen."""

    pair: Interaction
    rows: list[str]
    columns: list[str]

    @property
    def title(self) -> str:
        """The two choices, and how many levels are not drawn."""
        gone = [
            f"{left} of {name}"
            for name, shown, every in (
                (self.pair.first, self.rows, {cell.first for cell in self.pair.cells}),
                (self.pair.second, self.columns, {cell.second for cell in self.pair.cells}),
            )
            if (left := len(every) - len(shown))
        ]
        without = f"  (without a trial, not drawn: {', '.join(gone)})" if gone else ""
        return f"{self.pair.first} × {self.pair.second}{without}"


def cells_figure(learned: Learned) -> Figure | None:
    """Means of the pairs that depend on each other most surely, against the mean of all that was seen."""
    grids = [_grid(pair) for pair in learned.interactions if any(cell.trials for cell in pair.cells)]
    seen = [grid for grid in grids if max(len(grid.rows), len(grid.columns)) < TOO_MANY][:PANELS]
    if not seen:
        return None
    heights = [ROW * len(grid.rows) + 1.1 for grid in seen]
    figure = Figure(figsize=(WIDTH, sum(heights)))
    axes = figure.subplots(len(seen), 1, squeeze=False, height_ratios=heights)[:, 0]
    everything = [each.quality for each in learned.observed.complete]
    middle, sign = float(np.mean(everything)), learned.observed.sign
    gains = [abs(cell.mean - middle) for grid in seen for cell in grid.pair.cells if cell.mean is not None]
    limit = float(np.quantile(gains, 0.98)) or 1.0
    for axis, grid in zip(axes, seen, strict=True):
        _map(axis, grid, middle=middle, limit=limit, sign=sign)
    metric = learned.observed.record.quality.metric
    figure.supxlabel(
        f"mean {metric}; blue: better than {middle:.3g}, the mean of all trials.  "
        "·  not seen   ⊘  refused   (n)  trials, where not 1",
        fontsize=7,
    )
    return figure


def _grid(pair: Interaction) -> _Grid:
    def shown(every: list[str], seen: set[str]) -> list[str]:
        return every if len(every) <= FEW else [level for level in every if level in seen]

    firsts = list(dict.fromkeys(cell.first for cell in pair.cells))
    seconds = list(dict.fromkeys(cell.second for cell in pair.cells))
    seen = [cell for cell in pair.cells if cell.trials]
    return _Grid(pair, shown(firsts, {cell.first for cell in seen}), shown(seconds, {cell.second for cell in seen}))


def _map(axis: Axes, grid: _Grid, *, middle: float, limit: float, sign: int) -> None:
    rows, columns = grid.rows, grid.columns
    # Inches of a cell, beside the names of the rows.
    wide = (WIDTH - 0.4 - _inches(rows, 8)) / len(columns)
    means = {(cell.first, cell.second): cell for cell in grid.pair.cells if cell.mean is not None}
    plain = {key: number(cell.mean, limit) for key, cell in means.items()}
    texts = {key: f"{plain[key]} ({cell.trials})" if cell.trials > 1 else plain[key] for key, cell in means.items()}
    left = ""
    if _size(texts, wide) < SMALLEST:
        texts, left = plain, "" if texts == plain else "  (trials: cells.csv)"
    size = _size(texts, wide)
    gains = np.full((len(rows), len(columns)), np.nan)
    for cell in grid.pair.cells:
        if cell.first not in rows or cell.second not in columns:
            continue
        at = rows.index(cell.first), columns.index(cell.second)
        if cell.mean is None:
            axis.text(at[1], at[0], "⊘" if cell.refused else "·", ha="center", va="center", color=INK, fontsize=9)
            continue
        gains[at] = sign * (cell.mean - middle)
        if size >= SMALLEST:
            ink, text = _ink(float(np.clip(gains[at] / limit, -1, 1))), texts[cell.first, cell.second]
            axis.text(at[1], at[0], text, ha="center", va="center", color=ink, fontsize=size)
    axis.imshow(gains, cmap=DIVERGING, vmin=-limit, vmax=limit, aspect="auto")
    axis.set_yticks(range(len(rows)), rows)
    turned = _inches(columns, 8) > wide
    axis.set_xticks(
        range(len(columns)),
        columns,
        rotation=0 if not turned else 30 if wide > 2 * ROW else 60,
        ha="right" if turned else "center",
        rotation_mode="anchor",
    )
    axis.set_title(grid.title + (left if size >= SMALLEST else "  (numbers: cells.csv)"), loc="left")


def _inches(texts: Iterable[str], size: float) -> float:
    """How wide the longest is, about."""
    return SIGN * size / 72 * max(map(len, texts))


def _size(texts: Mapping[tuple[str, str], str], wide: float) -> float:
    """Points at which the longest text stands in a cell."""
    return min(LARGEST, LARGEST * 0.9 * wide / _inches(texts.values(), LARGEST))


def _ink(place: float) -> str:
    """Black or white, whichever stands out more from the colour at a place of −1 … 1."""
    red, green, blue, _ = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in DIVERGING((place + 1) / 2)
    )
    return INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else "white"
