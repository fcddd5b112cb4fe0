"""What an architecture search found: report.md, its tables as CSV and LaTeX, and the front as a picture."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eos.training.files import replacing
from search.nas.architecture import Architecture
from search.nas.search import Search
from search.report.interval import mean_interval, student
from search.report.style import FIRST, GREY, INK, METADATA, SECOND, STYLE, WIDTH
from search.report.table import INTERVALS, Table, amount, between, columns, markdown, number, probability, two

UNITS = {"latency": "latency (ms)", "state": "state (bytes)", "parameters": "parameters", "flops": "FLOPs a token"}
#: Of the fronts of the search and its controls: how they are drawn.
LOOKS: dict[str, dict[str, Any]] = {
    "found": {"color": FIRST, "marker": "o", "linestyle": "-"},
    "random": {"color": GREY, "marker": "x", "linestyle": ":"},
    "softmax only": {"color": SECOND, "marker": "s", "linestyle": "--"},
    "linear only": {"color": INK, "marker": "^", "linestyle": "-."},
}


def write_report(search: Search) -> list[str]:
    """Write what there is to tell into the search's folder; the names of the files."""
    folder, against = search.folder, search.space.nas.against
    tables, drawn = [], False
    if folder.done("evolve"):
        fronts = folder.read("evolve")["fronts"]
        tables.append(_front_table(fronts, against))
        compared = folder.read("retrain")["compared"] if folder.done("retrain") else []
        _draw(fronts, compared, search)
        drawn = True
        if compared:
            tables.append(_compared_table(compared, search))
    lines = [f"# Networks found on {markdown(search.space.task_name)}", "", *_told(search), ""]
    if drawn:
        lines += ["![Quality against cost, the front in steps](front.svg)", ""]
    texts = {"report.md": "\n".join([*lines, *(table.to_markdown() for table in tables)])}
    for table in tables:
        texts |= {f"{table.name}.csv": table.to_csv(), f"{table.name}.tex": table.to_latex()}
    for name, text in texts.items():
        with replacing(folder.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [*texts, *([f"front.{kind}" for kind in METADATA] if drawn else [])]


def _told(search: Search) -> list[str]:
    """How each phase went, a line each."""
    folder, found = search.folder, []
    space = search.space
    found.append(f"The space holds {space.size:.3g} networks of the mixers {', '.join(space.mixers)}.")
    if folder.done("table"):
        check = folder.read("table")["check"]
        found.append(
            f"Latency of {check['networks']} networks by the sum of their parts: {100 * check['mean_error']:.1f} % off "
            f"on average, {100 * check['largest_error']:.1f} % at most, Kendall's τ {two(check['tau'])} with what was "
            "measured whole."
        )
    if folder.done("supernet"):
        left = folder.read("supernet")
        taus = ", ".join(two(tau) for tau in left["taus"][1:])
        found.append(f"Shared weights were trained for {left['steps']:,} steps; τ of one look and the next: {taus}.")
    if folder.done("score"):
        left = folder.read("score")
        spent = left["shared_flops"] + left["scoring_flops"]
        found.append(
            f"Training and scoring {left['networks']:,} networks with shared weights took {spent:.3g} FLOPs, 1/"
            f"{left['alone_flops'] / spent:.0f} of what training each from scratch would have taken."
        )
    if folder.done("rank"):
        left = folder.read("rank")
        quality, latency, table = left["quality"], left["latency"], left["latency_by_table"]
        others = ", ".join(f"{name} {two(tau)}" for name, tau in left["proxies"].items())
        found.append(
            f"The ranker's τ on {len(quality['places'])} networks it did not learn from: {two(quality['tau'])} (slope "
            f"of truth on prediction {two(quality['slope'])}); of untrained networks: {others}. Of latency: ranker "
            f"{two(latency['tau'])}, sum of parts {two(table['tau'])}."
        )
    return [f"* {markdown(line)}" for line in found]


def _front_table(fronts: Mapping[str, Sequence[Mapping[str, Any]]], against: str) -> Table:
    rows = [
        [name, str(Architecture.from_plain(each["network"])), each["loss"], *each["cost"].values()]
        for name, members in fronts.items()
        for each in members
    ]
    shown = [[row[0], row[1], number(row[2]), amount(row[3]), amount(row[5]), number(row[6])] for row in rows]
    return Table(
        name="front",
        title="Fronts",
        caption=f"Of the search and its controls, each with as many evaluations; loss as predicted, in nats a target, "
        f"against {UNITS[against]}.",
        columns=columns(
            {
                "search": "which search found it",
                "network": "its layers",
                "loss": "predicted, nats a target",
                "parameters": "trained numbers",
                "flops": "of training, a token",
                "state": "bytes that decoding keeps",
                "latency": "ms of a forward pass, the sum of its parts",
            }
        ),
        rows=rows,
        header=["search", "network", "loss", "parameters", "state", "ms"],
        shown=shown,
    )


def _values(row: Mapping[str, Any], search: Search) -> list[float]:
    """The test's main metric of each run."""
    found: list[float] = row["metrics"]["test"][search.space.task.standard.metric]["values"]
    return found


def _compared_table(compared: Sequence[Mapping[str, Any]], search: Search) -> Table:
    standard = search.space.task.standard
    sign = 1 if standard.higher else -1
    rows, shown, held = [], [], list[float]()
    for row in compared:
        values = _values(row, search)
        if row["name"].startswith("found"):
            held = values
        mean, interval = fmean(values), mean_interval(values)
        apart = [sign * (a - b) for a, b in zip(held, values, strict=True)]
        difference = None
        if len(apart) > 1 and not row["name"].startswith("found"):
            difference = student(fmean(apart), stdev(apart) / len(apart) ** 0.5, len(apart) - 1, scale=abs(mean))
        network = str(Architecture.from_plain(row["network"]))
        half = None if interval is None else interval.half
        p = None if difference is None else difference.p
        rows.append(
            [
                row["name"],
                network,
                mean,
                *((None, None) if interval is None else (interval.low, interval.high)),
                len(values),
                row["measured_latency"],
                row["cost"]["parameters"],
                row["cost"]["state"],
                *((None, None) if difference is None else (difference.low, difference.high)),
                p,
            ]
        )
        shown.append(
            [
                row["name"],
                network,
                number(mean, half) + ("" if half is None else f" ± {number(half, half)}"),
                str(len(values)),
                number(row["measured_latency"]),
                between(difference, signed=True),
                probability(p),
            ]
        )
    direction = "more" if standard.higher else "less"
    return Table(
        name="compared",
        title="From scratch",
        caption=f"{standard.metric} on the test part, {direction} is better; {INTERVALS} over seeds; better by: the "
        "found network's lead over a network laid out by hand of as much predicted cost, paired by seed",
        columns=columns(
            {
                "network": "found, or laid out by hand to cost as much",
                "layers": "its layers",
                "mean": f"{standard.metric} over seeds",
                "low": "end of its interval",
                "high": "end of its interval",
                "seeds": "runs",
                "latency": "ms of a forward pass, measured whole",
                "parameters": "trained numbers",
                "state": "bytes that decoding keeps",
                "better_low": "end of the interval of the found network's lead",
                "better_high": "end of the interval of the found network's lead",
                "p": "that there is no lead, paired t-test, not corrected",
            }
        ),
        rows=rows,
        header=["network", "layers", standard.metric, "seeds", "ms", "better by", "p"],
        shown=shown,
    )


def _draw(
    fronts: Mapping[str, Sequence[Mapping[str, Any]]], compared: Sequence[Mapping[str, Any]], search: Search
) -> None:
    """Predicted fronts on the left, what came of training from scratch on the right."""
    against = search.space.nas.against
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.9))
        axes = figure.subplots(1, 2 if compared else 1, squeeze=False)[0]
        for name, members in fronts.items():
            x = [each["cost"][against] for each in members]
            axes[0].step(x, [each["loss"] for each in members], where="post", label=name, markersize=4, **LOOKS[name])
        axes[0].set(xlabel=UNITS[against], ylabel="predicted loss (nats a target)")
        axes[0].legend(frameon=False)
        if compared:
            _draw_compared(axes[1], compared, search)
        for kind, metadata in METADATA.items():
            with replacing(search.folder.path / f"front.{kind}") as temporary:
                figure.savefig(temporary, format=kind, metadata=metadata)


def _draw_compared(axes: Axes, compared: Sequence[Mapping[str, Any]], search: Search) -> None:
    looks = {"found": LOOKS["found"], "softmax": LOOKS["softmax only"], "linear": LOOKS["linear only"]}
    looks["every 4th softmax"] = {"color": SECOND, "marker": "D", "linestyle": "none"}
    told: set[str] = set()
    for row in compared:
        kind = "found" if row["name"].startswith("found") else row["name"].partition(" like ")[0]
        values = _values(row, search)
        interval = mean_interval(values)
        look = {**looks[kind], "linestyle": "none"}
        axes.errorbar(
            [row["measured_latency"]],
            [fmean(values)],
            yerr=None if interval is None else [[interval.half]] * 2,
            label=None if kind in told else kind,
            markersize=5,
            capsize=2,
            **look,
        )
        told.add(kind)
    axes.set(xlabel="latency (ms), measured", ylabel=f"{search.space.task.standard.metric}, from scratch")
    axes.legend(frameon=False)
