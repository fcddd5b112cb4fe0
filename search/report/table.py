"""Tables as CSV with every digit, and as Markdown and LaTeX with those that the intervals support."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.report.interval import Interval

Cell = str | int | float | None
INTERVALS = "95 % intervals by Student's t"
#: Rows that Markdown and LaTeX show; CSV has all.
ROWS = 40
#: Letters beyond which LaTeX breaks a cell into lines.
WRAP = 60
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    # After a row's end, a bracket would be read as that end's argument.
    "[": "{[}",
    "]": "{]}",
    "−": "$-$",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "⊘": r"$\oslash$",
    "→": r"$\to$",
    "–": "--",
    "…": r"\ldots{}",
    "²": r"\textsuperscript{2}",
    "Δ": r"$\Delta$",
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the CSV file: its header, and what stands in it."""

    name: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table in all its forms.

    Arguments:
        name: of its files.
        title: above it.
        caption: n, what the intervals are, and what was corrected.
        columns, rows: of the CSV file.
        header, shown: of Markdown and LaTeX, a row for each of ``rows`` or fewer.
    """

    name: str
    title: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    header: Sequence[str]
    shown: Sequence[Sequence[str]]

    def visible(self) -> list[Sequence[str]]:
        """The header and the rows that are shown, without a last column in which nothing stands."""
        lines = [self.header, *self.shown[:ROWS]]
        return lines if any(line[-1:] != [""] for line in lines) else [line[:-1] for line in lines]

    def to_csv(self) -> str:
        """Full precision; None is an empty cell, and text that a spreadsheet would compute is quoted with ``'``."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([column.name for column in self.columns])
        writer.writerows([[_plain(cell) for cell in row] for row in self.rows])
        return out.getvalue()

    def to_markdown(self) -> str:
        """The title, the rows that are shown, and the caption."""
        lines = [f"## {self.title}", ""]
        if self.shown:
            header, *rows = self.visible()
            lines += [_markdown(header), "|" + " --- |" * len(header), *map(_markdown, rows)]
            lines.append("")
        return "\n".join([*lines, f"{self.caption}{self._rest()} All columns: [{self.name}.csv]({self.name}.csv).", ""])

    def to_latex(self) -> str:
        """A table environment for the package booktabs."""
        header, *rows = self.visible()
        lines = [
            r"% \usepackage[T1]{fontenc}, \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex(f'{self.title}. {self.caption}{self._rest()}')}}}",
            rf"\label{{tab:{self.name}}}",
            rf"\begin{{tabular}}{{{''.join(map(_column, zip(header, *rows, strict=True)))}}}",
            r"\toprule",
            _row(header),
            r"\midrule",
            *map(_row, rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def _rest(self) -> str:
        more = len(self.shown) - ROWS
        return f" {more} rows more stand in the CSV file." if more > 0 else ""


def _column(texts: tuple[str, ...]) -> str:
    r"""A column as wide as its text, of which a long one is broken into lines."""
    return r"p{0.4\linewidth}" if max(map(len, texts)) > WRAP else "l"


def _plain(cell: Cell) -> Cell:
    if isinstance(cell, float) and not math.isfinite(cell):
        return None
    if isinstance(cell, str):
        cell = " ".join(cell.split())
        return f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell
    return cell


def _markdown(cells: Sequence[str]) -> str:
    return "| " + " | ".join(markdown(cell) for cell in cells) + " |"


def markdown(text: str) -> str:
    """Text in a cell, its own signs escaped."""
    text = re.sub(r"([|`*<~\\]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))
    return text.replace("](", "]\\(")


def _row(cells: Sequence[str]) -> str:
    return " & ".join(latex(cell) for cell in cells) + r" \\"


def latex(text: str) -> str:
    """Text with every sign that LaTeX would read as its own escaped."""
    return "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()))


def number(value: float | None, half: float | None = None, *, signed: bool = False) -> str:
    """With the digits that half an interval supports, its first two; four digits where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if half is not None and half > 0 and math.isfinite(half):
        digits = min(12, max(0, 1 - math.floor(math.log10(half))))
        text = f"{abs(round(value, digits)):.{digits}f}"
    else:
        text = f"{abs(value):.4g}"
    zero = not text.strip("0.")
    sign = "" if zero else "−" if value < 0 else "+" if signed else ""
    return f"{sign}{text}"


def two(value: float | None) -> str:
    """With two digits behind the point, as agreements and slopes are told; – where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.2f}"


def between(interval: Interval | None, *, signed: bool = False) -> str:
    """The ends of an interval."""
    if interval is None:
        return "–"
    low, high = (number(end, interval.half, signed=signed) for end in (interval.low, interval.high))
    return f"[{low}, {high}]"


def amount(value: float | None) -> str:
    """A cost: whole from a hundred on, with separators."""
    return number(value) if value is None or abs(value) < 100 else f"{value:,.0f}"


def counted(count: int, name: str) -> str:
    """How many there are of something: 1 trial, 2 trials."""
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def corrected(count: int, name: str) -> str:
    """Over how many a p is corrected; nothing is where there is none."""
    return f"p corrected by Holm over {counted(count, name)}" if count else f"no {name} has a p"


def ended(text: str) -> str:
    """A sentence with one full stop at its end, whatever it ends in."""
    bare = text.rstrip(". ")
    return bare if bare.endswith("…") else f"{bare}."


def probability(p: float | None) -> str:
    """A p with two digits."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.2g}"


def columns(meanings: Mapping[str, str]) -> list[Column]:
    """Columns with these names, and what stands in each."""
    return [Column(name=name, meaning=meaning) for name, meaning in meanings.items()]


def interval_cells(interval: Interval | None) -> list[Cell]:
    """The cells of its ends and its p."""
    return [None, None, None] if interval is None else [interval.low, interval.high, interval.p]
