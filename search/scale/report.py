"""What a ladder of runs says, written down: report.md, tables as CSV and LaTeX, a figure, and scale.json for the
dashboard.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eos.dashboard.ladders import LADDER
from eos.training.files import replacing, write_json
from search.report.style import FIRST, GREY, INK, METADATA, SECOND, STYLE, WIDTH
from search.report.table import Cell, Table, amount, columns, markdown, number
from search.scale.runs import Ladder, Point
from search.scale.study import PFLOPS_DAY, Range, Study, study

#: How models are told apart without colour, too.
LOOKS = [(FIRST, "o", "-"), (SECOND, "s", "--"), (INK, "^", "-."), (GREY, "D", ":")]


def write_report(ladder: Ladder, path: Path, *, draws: int = 200) -> list[str]:
    """Fit the laws of a ladder and write them into its folder; the names of the files."""
    studies = {model: study(points, draws=draws) for model, points in ladder.points.items()}
    tables = [_laws(studies), _budgets(studies), _runs(ladder)]
    lines = ["# Scaling laws", "", *_told(ladder, studies), "", "![Loss against compute](scale.svg)", ""]
    texts = {"report.md": "\n".join([*lines, *(table.to_markdown() for table in tables if table.shown)])}
    for table in tables:
        texts |= {f"{table.name}.csv": table.to_csv(), f"{table.name}.tex": table.to_latex()}
    for name, text in texts.items():
        with replacing(path / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    _draw(studies, path)
    write_json(path / LADDER, {model: plain(found, path) for model, found in studies.items()})
    return [*texts, *(f"scale.{kind}" for kind in METADATA), LADDER]


def plain(found: Study, path: Path) -> dict[str, Any]:
    """A study as JSON holds it."""

    def point(each: Point) -> dict[str, Any]:
        folder = str(each.folder.relative_to(path)) if each.folder.is_relative_to(path) else str(each.folder)
        return asdict(each) | {"folder": folder}

    data = asdict(found)
    data |= {name: [point(each) for each in getattr(found, name)] for name in ("points", "frontier")}
    return data


def _told(ladder: Ladder, studies: Mapping[str, Study]) -> list[str]:
    """What stands out, a line each."""
    found = []
    for model, one in studies.items():
        least = min(one.points, key=lambda point: point.loss)
        line = f"{model}: {len(one.points)} runs, {len(one.frontier)} on the frontier; best {least.loss:.4f} nats"
        line += f" with {amount(least.parameters)} parameters and {amount(least.tokens)} tokens"
        if one.power is not None:
            sure = "by two budgets alone" if one.exponent is None else _range(one.exponent, 3)
            line += f"; loss falls as C^−{one.power.exponents[0]:.3f} {sure}"
        if one.share is not None:
            line += f"; the best N grows as C^{one.share.parameters:.2f} {_range(one.share.range, 2)}"
        found.append(f"{line}.")
        found += [f"{model}, {reason}." for reason in one.missing]
    if ladder.left_out:
        found.append(f"{len(ladder.left_out)} runs are left out: {'; '.join(ladder.left_out[:5])}.")
    return [f"* {markdown(line)}" for line in found]


def _laws(studies: Mapping[str, Study]) -> Table:
    rows: list[list[Cell]] = []
    shown = []
    for model, one in studies.items():
        for name, law, ranges in (
            ("L = β C^−α", one.power, [one.exponent]),
            ("L = E + β C^−α", one.floored, []),
            ("L = E + A N^−a + B D^−b", one.both, list(one.exponents or [])),
        ):
            if law is None:
                continue
            exponents = [*law.exponents, None][:2]
            ends: list[Cell] = [end for each in ranges if each is not None for end in each]
            floor = law.floor if law.floor > 1e-6 else None
            rows.append(
                [model, name, floor, *[*law.coefficients, None][:2], *exponents, *[*ends, *[None] * 4][:4],
                 law.residual, len(one.frontier) if len(law.exponents) == 1 else len(one.points)]
            )  # fmt: skip
            told = [
                number(value) + (f" {_range(each, 3)}" if each is not None else "")
                for value, each in zip(law.exponents, [*ranges, None, None], strict=False)
            ]
            shown.append([model, name, number(floor), ", ".join(map(number, law.coefficients)), ", ".join(told),
                          number(law.residual)])  # fmt: skip
    return Table(
        name="laws",
        title="Laws",
        caption="C in petaFLOP/s-days, by the cost model; N parameters outside of embedding and head; D tokens; L nats "
        "a target of the validation part. Huber's loss on log L; 95 % ranges of runs drawn with replacement.",
        columns=columns(
            {
                "model": "whose runs",
                "law": "its form",
                "floor": "E, nats",
                "first_coefficient": "β or A",
                "second_coefficient": "B",
                "first_exponent": "α or a",
                "second_exponent": "b",
                "first_low": "2.5 % of the first exponent",
                "first_high": "97.5 % of it",
                "second_low": "2.5 % of the second",
                "second_high": "97.5 % of it",
                "residual": "root mean square of what is left of log L",
                "runs": "that it was fitted to",
            }
        ),
        rows=rows,
        header=["model", "law", "E", "coefficients", "exponents", "residual"],
        shown=shown,
    )


def _budgets(studies: Mapping[str, Study]) -> Table:
    rows: list[list[Cell]] = []
    shown = []
    for model, one in studies.items():
        for spent in one.budgets:
            best = spent.best
            rows.append([model, spent.compute, best.parameters, *spent.parameters, best.tokens, best.loss, *spent.loss])
            shown.append(
                [model, f"{spent.compute:.2e}", f"{best.parameters:.3g} {_range(spent.parameters)}",
                 f"{best.tokens:.3g}", f"{best.loss:.4f} {_range(spent.loss, 3)}"]
            )  # fmt: skip
    return Table(
        name="budgets",
        title="What a budget buys, spent in the best way",
        caption="By the law of N and D; the largest run's compute, ten times and a hundred times it. Beyond the runs "
        "this is extrapolation: the ranges are of the fit alone, and know nothing of other learning rates or data.",
        columns=columns(
            {
                "model": "whose law",
                "compute": "FLOPs",
                "parameters": "the best N",
                "parameters_low": "2.5 %",
                "parameters_high": "97.5 %",
                "tokens": "the best D",
                "loss": "expected, nats a target",
                "loss_low": "2.5 %",
                "loss_high": "97.5 %",
            }
        ),
        rows=rows,
        header=["model", "FLOPs", "best N", "best D", "loss"],
        shown=shown,
    )


def _runs(ladder: Ladder) -> Table:
    every = [point for points in ladder.points.values() for point in points]
    return Table(
        name="runs",
        title="Runs",
        caption="By model and compute.",
        columns=columns(
            {
                "model": "which law it belongs to",
                "parameters": "N",
                "tokens": "D",
                "compute": "FLOPs",
                "loss": "nats a target of the validation part",
                "seconds": "of training",
                "folder": "of the run",
            }
        ),
        rows=[
            [each.model, each.parameters, each.tokens, each.compute, each.loss, each.seconds, str(each.folder)]
            for each in every
        ],
        header=["model", "N", "D", "FLOPs", "loss", "seconds"],
        shown=[
            [each.model, amount(each.parameters), amount(each.tokens), f"{each.compute:.2e}", f"{each.loss:.4f}",
             amount(each.seconds)]
            for each in every
        ],
    )  # fmt: skip


def _draw(studies: Mapping[str, Study], path: Path) -> None:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.0))
        left, right = figure.subplots(1, 2)
        for (model, one), (color, marker, line) in zip(studies.items(), LOOKS * len(studies), strict=False):
            _loss(left, model, one, color=color, marker=marker, line=line)
            _best(right, one, color=color, marker=marker, line=line)
        left.set(xscale="log", yscale="log", xlabel="training compute (FLOPs)", ylabel="loss (nats a target)")
        right.set(xscale="log", yscale="log", xlabel="training compute (FLOPs)", ylabel="parameters")
        right.set_title("best size for a budget, and runs on the frontier")
        left.set_title("runs (faint), frontier, power law")
        left.legend(frameon=False)
        for kind, metadata in METADATA.items():
            with replacing(path / f"scale.{kind}") as temporary:
                figure.savefig(temporary, format=kind, metadata=metadata)


def _loss(axes: Axes, model: str, one: Study, *, color: str, marker: str, line: str) -> None:
    axes.plot([each.compute for each in one.points], [each.loss for each in one.points], marker, color=color, alpha=0.3)
    axes.plot(
        [each.compute for each in one.frontier], [each.loss for each in one.frontier], marker, color=color, label=model
    )
    if one.power is not None:
        compute = np.geomspace(one.points[0].compute, one.points[-1].compute, 50)
        axes.plot(compute, [one.power(each / PFLOPS_DAY) for each in compute], line, color=color)


def _best(axes: Axes, one: Study, *, color: str, marker: str, line: str) -> None:
    axes.plot([each.compute for each in one.frontier], [each.parameters for each in one.frontier], marker, color=color)
    if one.budgets:
        compute = [spent.compute for spent in one.budgets]
        axes.plot(compute, [spent.best.parameters for spent in one.budgets], line, color=color)
        low, high = zip(*(spent.parameters for spent in one.budgets), strict=True)
        axes.fill_between(compute, low, high, color=color, alpha=0.12, linewidth=0)


def _range(ends: Range, digits: int | None = None) -> str:
    low, high = ends
    return f"[{low:.3g}, {high:.3g}]" if digits is None else f"[{low:.{digits}f}, {high:.{digits}f}]"
