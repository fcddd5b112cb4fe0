"""Tables of parameters, of the best trials, and of all trials."""

from collections.abc import Sequence

from search.report.budget import Best, without_ranges
from search.report.importances import FEWEST, REPEATS, Share
from search.report.interval import Interval
from search.report.learned import Learned
from search.report.observed import UNITS
from search.report.table import INTERVALS, Cell, Table, amount, between, columns, counted, interval_cells, number


def importances_table(learned: Learned) -> Table:
    """What each parameter decides."""

    def spread(share: Share | None) -> str:
        return "–" if share is None else f"{share.value:.2f} ({share.low:.2f} to {share.high:.2f})"

    def parts(share: Share | None) -> list[Cell]:
        return [None, None, None] if share is None else [share.value, share.low, share.high]

    rows: list[Sequence[Cell]] = []
    shown = []
    for each in learned.importances:
        where = "all" if each.everywhere else "having it"
        rows.append([each.name, each.trials, where, *parts(each.fanova), *parts(each.ped_anova), each.note])
        if each.fanova is not None or each.everywhere:
            name = each.name if each.everywhere else f"{each.name} (where it stands)"
            shown.append([name, str(each.trials), spread(each.fanova), spread(each.ped_anova), each.note])
    return Table(
        name="importances",
        title="Importances",
        caption=f"fANOVA: the share of the variance of {learned.observed.record.quality.metric} that a parameter "
        "explains alone, by random forests. PED-ANOVA: its share in what tells the best tenth of the trials (at least "
        f"five) from all. In brackets the range over {REPEATS} resamples of the trials: a spread, not an interval of "
        "confidence. A parameter that some trials lack is judged among those that have it. Below "
        f"{FEWEST} complete trials there are no numbers.",
        columns=columns(
            {
                "parameter": "its name",
                "trials": "complete ones that have it",
                "judged": "among all trials, or among those having it",
                "fanova": "share of the variance explained alone",
                "fanova_low": "smallest over resamples",
                "fanova_high": "largest over resamples",
                "ped_anova": "share in what tells the best trials from all",
                "ped_anova_low": "smallest over resamples",
                "ped_anova_high": "largest over resamples",
                "note": "why there is no number",
            }
        ),
        rows=rows,
        header=["parameter", "trials", "fANOVA", "PED-ANOVA", ""],
        shown=shown,
    )


def best_table(learned: Learned) -> Table:
    """The best of each range of each cost."""
    rows: list[Sequence[Cell]] = []
    shown = []
    for each in learned.best:
        winner, seeds = each.winner, len(each.winner.seeds)
        cost = winner.costs.get(each.cost)
        ends = [*interval_cells(each.interval)[:2], each.test, *interval_cells(each.test_interval)[:2]]
        rows.append(
            [
                *(each.cost or "all", each.low, each.high, each.trials, winner.number, cost, seeds, winner.quality),
                *(*ends, each.ties, winner.shown),
            ]
        )
        shown.append(
            [
                _range(each),
                str(each.trials),
                f"{winner.number}: {winner.shown}",
                _with(winner.quality, each.interval, seeds),
                _with(each.test, each.test_interval, seeds),
                "–" if each.ties is None else str(each.ties),
            ]
        )
    return Table(
        name="best",
        title="Best for each cost",
        caption=f"The {'highest' if learned.observed.record.quality.higher else 'lowest'} validation "
        f"{learned.observed.record.quality.metric} of each range of each cost. It was picked by that number, which "
        f"flatters it: the test part, by which nothing was picked, stands beside it. {INTERVALS} over seeds; one seed "
        "has none. The last column counts trials of the range that are not told apart from it (paired by seed, not "
        f"corrected).{''.join(f' {reason}' for reason in without_ranges(learned.observed))}",
        columns=columns(
            {
                "cost": "which cost, or all trials",
                "low": "smallest cost in the range",
                "high": "largest cost in the range",
                "trials": "in the range",
                "trial": "number of the best",
                "its_cost": "of the best",
                "seeds": "of the best",
                "validation": "its metric on the validation part, mean over seeds",
                "validation_low": "lower end",
                "validation_high": "upper end",
                "test": "its metric on the test part, mean over seeds",
                "test_low": "lower end",
                "test_high": "upper end",
                "ties": "others in the range that are not told apart from it",
                "choices": "of the best",
            }
        ),
        rows=rows,
        header=["range", "trials", "best by validation", "validation", "test", "not told apart"],
        shown=shown,
    )


def _range(each: Best) -> str:
    if not each.cost:
        return "all trials"
    if each.low == each.high:
        return f"{amount(each.low)} {UNITS[each.cost]}"
    return f"{amount(each.low)} – {amount(each.high)} {UNITS[each.cost]}"


def _with(value: float | None, interval: Interval | None, seeds: int) -> str:
    if value is None:
        return "–"
    if interval is None:
        return f"{number(value)} ({'one seed' if seeds < 2 else 'no variance'})"
    return f"{number(value, interval.half)} {between(interval)}"


def trials_table(learned: Learned) -> Table:
    """Every complete trial."""
    rows: list[Sequence[Cell]] = []
    names = list(UNITS)
    for each in learned.observed.complete:
        tests = list(each.tests.values())
        test = sum(tests) / len(tests) if tests else None
        rows.append(
            [each.number, each.quality, test, len(each.seeds), *[each.costs.get(name) for name in names], each.shown]
        )
    return Table(
        name="trials",
        title="Trials",
        caption=f"{counted(len(rows), 'complete trial')} {'stands' if len(rows) == 1 else 'stand'} in the CSV file.",
        columns=columns(
            {
                "trial": "its number",
                "validation": "metric on the validation part, mean over seeds",
                "test": "metric on the test part, mean over seeds",
                "seeds": "runs at the learning rate that was chosen",
                **UNITS,
                "choices": "stages, and options that are not as by default",
            }
        ),
        rows=rows,
        header=[],
        shown=[],
    )
