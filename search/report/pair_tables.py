"""Tables of pairs of choices."""

from collections.abc import Sequence

from search.report.learned import Learned
from search.report.table import Cell, Table, columns, corrected, counted, number, probability


def interactions_table(learned: Learned) -> Table:
    """Whether pairs of choices depend on each other."""
    rows: list[Sequence[Cell]] = []
    shown = []
    for each in learned.interactions:
        if (test := each.test) is None:
            continue
        rows.append([each.first, each.second, *test.degrees, test.gain, test.f, test.p, each.p_holm, test.note])
        shown.append(
            [f"{each.first} × {each.second}", number(test.gain, 0.1, signed=True), probability(each.p_holm), test.note]
        )
    tested = sum(each.p_holm is not None for each in learned.interactions)
    return Table(
        name="interactions",
        title="Interactions",
        caption=f"Gain in adjusted R² when the products of two choices, of the cells that were seen, join the additive "
        f"model of all choices, with the F-test that they bring nothing; {counted(learned.fit.trials, 'trial')}, means "
        f"over seeds; {corrected(tested, 'pair')}.",
        columns=columns(
            {
                "first": "a choice",
                "second": "another one",
                "terms": "degrees of freedom of their products",
                "left": "degrees of freedom of the error",
                "gain": "of adjusted R²",
                "f": "statistic",
                "p": "that products bring nothing",
                "p_holm": "corrected over pairs",
                "note": "why there is no test",
            }
        ),
        rows=rows,
        header=["pair", "gain in adj. R²", "p (Holm)", ""],
        shown=shown,
    )


def cells_table(learned: Learned) -> Table:
    """Every combination of two levels."""
    rows: list[Sequence[Cell]] = []
    shown = []
    for pair in learned.interactions:
        for cell in pair.cells:
            state = "refused" if cell.refused else "seen" if cell.trials else "not seen"
            rows.append(
                [
                    pair.first,
                    cell.first,
                    pair.second,
                    cell.second,
                    cell.trials,
                    cell.mean,
                    cell.deviation,
                    state,
                    cell.refused,
                ]
            )
            if cell.trials:
                mean = number(cell.mean, cell.deviation)
                shown.append([f"{pair.first}={cell.first}", f"{pair.second}={cell.second}", str(cell.trials), mean])
    return Table(
        name="cells",
        title="Combinations",
        caption=f"Mean of {learned.observed.record.quality.metric} over the complete trials of a combination, as they "
        "came: options and other choices differ between cells. Combinations that were not seen, and those that the "
        "design refuses, stand in the CSV file.",
        columns=columns(
            {
                "first": "a choice",
                "first_level": "its value",
                "second": "another choice",
                "second_level": "its value",
                "trials": "complete ones",
                "mean": "of the metric over them",
                "deviation": "standard deviation of their values",
                "state": "seen, not seen, or refused by the design",
                "reason": "why it is refused",
            }
        ),
        rows=rows,
        header=["", "", "trials", "mean"],
        shown=shown,
    )
