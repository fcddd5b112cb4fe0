"""Combinations of two choices as coloured maps."""

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
#: Pairs that are drawn; columns from which cells show their mean alone; levels from which a pair is not drawn.
PANELS, MANY, TOO_MANY = 3, 9, 33


def cells_figure(learned: Learned) -> Figure | None:
    """Means of the pairs that depend on each other most surely, against the mean of all that was seen."""
    seen = [pair for pair in learned.interactions if any(cell.trials for cell in pair.cells) and _drawable(pair)][
        :PANELS
    ]
    if not seen:
        return None
    sizes = [(len({c.first for c in pair.cells}), len({c.second for c in pair.cells})) for pair in seen]
    heights = [ROW * rows + 1.1 for rows, _ in sizes]
    figure = Figure(figsize=(WIDTH, sum(heights)))
    axes = figure.subplots(len(seen), 1, squeeze=False, height_ratios=heights)[:, 0]
    everything = [each.quality for each in learned.observed.complete]
    middle, sign = float(np.mean(everything)), learned.observed.sign
    gains = [abs(cell.mean - middle) for pair in seen for cell in pair.cells if cell.mean is not None]
    limit = float(np.quantile(gains, 0.98)) or 1.0
    for axis, pair in zip(axes, seen, strict=True):
        _map(axis, pair, middle=middle, limit=limit, sign=sign)
    metric = learned.observed.record.quality.metric
    figure.supxlabel(
        f"mean {metric}; blue: better than {middle:.3g}, the mean of all trials.  "
        "·  not seen   ⊘  refused   (n)  trials, where not 1",
        fontsize=7,
    )
    return figure


def _drawable(pair: Interaction) -> bool:
    return max(len({c.first for c in pair.cells}), len({c.second for c in pair.cells})) < TOO_MANY


def _map(axis: Axes, pair: Interaction, *, middle: float, limit: float, sign: int) -> None:
    rows = list(dict.fromkeys(cell.first for cell in pair.cells))
    columns = list(dict.fromkeys(cell.second for cell in pair.cells))
    grid = np.full((len(rows), len(columns)), np.nan)
    for cell in pair.cells:
        at = rows.index(cell.first), columns.index(cell.second)
        if cell.mean is None:
            axis.text(at[1], at[0], "⊘" if cell.refused else "·", ha="center", va="center", color=INK, fontsize=9)
            continue
        grid[at] = sign * (cell.mean - middle)
        ink = _ink(grid[at] / limit)
        count = f" ({cell.trials})" if cell.trials > 1 and len(columns) < MANY else ""
        size = 7 if len(columns) < MANY else 5
        axis.text(
            at[1], at[0], f"{number(cell.mean, limit)}{count}", ha="center", va="center", color=ink, fontsize=size
        )
    axis.imshow(grid, cmap=DIVERGING, vmin=-limit, vmax=limit, aspect="auto")
    axis.set_yticks(range(len(rows)), rows)
    axis.set_xticks(
        range(len(columns)),
        columns,
        rotation=30 if len(columns) > 5 else 0,
        ha="right" if len(columns) > 5 else "center",
    )
    axis.set_title(f"{pair.first} × {pair.second}", loc="left")


def _ink(place: float) -> str:
    """Black or white, whichever stands out more from the colour at a place of −1 … 1."""
    red, green, blue, _ = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in DIVERGING((place + 1) / 2)
    )
    return INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else "white"
