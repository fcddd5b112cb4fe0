"""Tables of effects: of levels, of choices, and with all else equal."""

from collections.abc import Sequence

from optuna.trial import TrialState

from search.report.learned import Learned
from search.report.table import (
    INTERVALS,
    Cell,
    Table,
    between,
    columns,
    corrected,
    counted,
    interval_cells,
    number,
    probability,
)


def effects_table(learned: Learned) -> Table:
    """Every level against the mean over the levels of its choice."""
    found, metric = learned.fit, learned.observed.record.quality.metric
    order = {name: place for place, name in enumerate(dict.fromkeys(effect.factor for effect in found.effects))}
    effects = sorted(
        found.effects, key=lambda each: (order[each.factor], each.value is None, -(each.value or 0.0), each.level)
    )
    lost = {each: _ended(learned, each.factor, each.level) for each in effects}
    rows: list[Sequence[Cell]] = []
    shown = []
    for each in effects:
        seeds = found.seeds if each.value is not None else None
        ends = [*interval_cells(each.over_seeds), *interval_cells(each.over_trials)]
        rows.append(
            [
                each.factor,
                each.level,
                each.trials,
                *lost[each],
                seeds,
                each.value,
                *ends,
                each.p,
                each.p_holm,
                each.note,
            ]
        )
        half = each.interval.half if each.interval else None
        shown.append(
            [
                each.factor,
                each.level,
                str(each.trials),
                number(each.value, half, signed=True),
                between(each.over_seeds, signed=True),
                between(each.over_trials, signed=True),
                probability(each.p_holm),
                each.note,
            ]
        )
    sample = "one seed" if found.seeds == 1 else f"{found.seeds} seeds"
    over = counted(found.comparisons, "comparison")
    larger = f"p is the larger of the two, corrected by Holm over {over}" if found.comparisons else "Nothing has a p"
    return Table(
        name="effects",
        title="Marginal effects",
        caption=f"{metric}, each level against the mean over the levels of its choice, + is better; least squares "
        f"over {counted(found.trials, 'trial')}, {sample}. {INTERVALS}: over seeds (the same trials, other seeds) and "
        f"over trials (by what the additive model leaves, {_degrees(found.degrees)}). {larger}.",
        columns=columns(
            {
                "choice": "parameter that is chosen",
                "level": "its value",
                "trials": "complete trials with it, of those in the model",
                "pruned": "pruned trials with it, left out",
                "failed": "failed trials with it, left out",
                "seeds": "seeds that effects were fitted for",
                "effect": "against the mean over levels, in units of the metric; + is better",
                "seeds_low": "lower end over seeds",
                "seeds_high": "upper end over seeds",
                "seeds_p": "p over seeds",
                "trials_low": "lower end over trials",
                "trials_high": "upper end over trials",
                "trials_p": "p over trials",
                "p": "the larger p",
                "p_holm": "corrected over all levels of all choices",
                "note": "why something is missing",
            }
        ),
        rows=rows,
        header=["choice", "level", "trials", "effect", "over seeds", "over trials", "p (Holm)", ""],
        shown=shown,
    )


def _degrees(degrees: int) -> str:
    return "1 degree of freedom" if degrees == 1 else f"{degrees} degrees of freedom"


def _ended(learned: Learned, name: str, level: str) -> tuple[int, int]:
    states = [trial.state for trial in learned.observed.ended if str(trial.params.get(name)) == level]
    return states.count(TrialState.PRUNED), states.count(TrialState.FAIL)


def explained_table(learned: Learned) -> Table:
    """What each choice brings to the additive model."""
    rows: list[Sequence[Cell]] = []
    shown = []
    for each in sorted(learned.fit.explained, key=lambda each: -(each.test.gain or 0.0)):
        test = each.test
        rows.append([each.factor, each.levels, *test.degrees, test.gain, test.f, test.p, each.p_holm, test.note])
        shown.append(
            [each.factor, str(each.levels), number(test.gain, 0.1, signed=True), probability(each.p_holm), test.note]
        )
    return Table(
        name="choices",
        title="What each choice explains",
        caption=f"Gain in adjusted R² when a choice joins the additive model of all others, with the F-test that it "
        f"brings nothing; {counted(learned.fit.trials, 'trial')}, means over seeds; "
        f"{corrected(sum(each.test.p is not None for each in learned.fit.explained), 'choice')}.",
        columns=columns(
            {
                "choice": "parameter that is chosen",
                "levels": "of it that occur",
                "terms": "degrees of freedom of its levels beside the other choices",
                "left": "degrees of freedom of the error",
                "gain": "of adjusted R²",
                "f": "statistic",
                "p": "that it brings nothing",
                "p_holm": "corrected over choices",
                "note": "why there is no test",
            }
        ),
        rows=rows,
        header=["choice", "levels", "gain in adj. R²", "p (Holm)", ""],
        shown=shown,
    )


def differences_table(learned: Learned) -> Table:
    """Pairs of levels with all else equal."""
    rows: list[Sequence[Cell]] = []
    shown = []
    for each in learned.differences:
        ends = interval_cells(each.interval)
        rows.append(
            [each.factor, each.level, each.other, each.contexts, each.pairs, each.value, *ends, each.p_holm, each.note]
        )
        half = each.interval.half if each.interval else None
        shown.append(
            [
                each.factor,
                f"{each.level} − {each.other}",
                f"{each.contexts} · {each.pairs}",
                number(each.value, half, signed=True),
                between(each.interval, signed=True),
                probability(each.p_holm),
                each.note,
            ]
        )
    none = "" if rows else " No two trials differ in one choice alone."
    return Table(
        name="differences",
        title="Differences with all else equal",
        caption=f"Pairs of levels in trials that differ in this choice and its own options alone, paired by seed; + "
        f"where the first is better. {INTERVALS} over contexts, of one context over its seeds; "
        f"{corrected(sum(each.p_holm is not None for each in learned.differences), 'difference')}.{none}",
        columns=columns(
            {
                "choice": "parameter that is chosen",
                "level": "its value",
                "other": "the value that it is compared with",
                "contexts": "settings of all else in which both were run",
                "pairs": "of runs with the same seed",
                "difference": "mean over contexts, level − other, + where level is better",
                "low": "lower end",
                "high": "upper end",
                "p": "of the t-test",
                "p_holm": "corrected over all differences with a test",
                "note": "what it rests on, where that is less than several contexts",
            }
        ),
        rows=rows,
        header=["choice", "levels", "contexts · pairs", "difference", "95 %", "p (Holm)", ""],
        shown=shown,
    )
