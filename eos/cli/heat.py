"""A map of metrics that stand for two numbers each, such as a length and a depth: colours on a terminal."""

from collections.abc import Mapping

from rich.style import Style
from rich.table import Table
from rich.text import Text

from eos.tasks.grading import PLACE


def heat(metrics: Mapping[str, float]) -> Table | None:
    """Rows and columns of metrics named ``accuracy_LENGTHxPAIRS`` or ``accuracy_LENGTH_depth_DEPTH``; None without any.

    Values are in 0 … 1; what was not measured is left empty.
    """
    cells: dict[tuple[int, int], float] = {}
    word = ""
    for name, value in metrics.items():
        if (place := PLACE.fullmatch(name)) is not None:
            cells[int(place["row"]), int(place["column"])] = value
            word = "pairs" if place["between"] == "x" else "depth"
    if not cells:
        return None
    columns = sorted({column for _, column in cells})
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(f"length \\ {word}", style="bold", justify="right")
    for column in columns:
        table.add_column(str(column), justify="right")
    for row in sorted({row for row, _ in cells}):
        values = [cells.get((row, column)) for column in columns]
        table.add_row(str(row), *(Text() if value is None else _shaded(value) for value in values))
    return table


def _shaded(value: float) -> Text:
    """The value on a ground from red over yellow to green."""
    share = min(max(value, 0.0), 1.0)
    red, green = round(200 * min(1.0, 2 - 2 * share)), round(170 * min(1.0, 2 * share))
    return Text(f"{value:.3f}", style=Style(color="white", bgcolor=f"rgb({red},{green},60)", bold=True))
