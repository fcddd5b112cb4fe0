"""What each level of a choice is worth beside the others, and what each choice explains."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from search.report.interval import Interval, holm, mean_interval, student
from search.report.linear import Design, Factor, Nested, nested
from search.report.observed import Panel
from search.report.table import counted

#: Degrees of freedom that numbers must leave for the error; with fewer, they are left out of the model.
LEFT = 5


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A level against the mean over the levels of its choice; + is better.

    Arguments:
        factor: the choice.
        level: its value.
        trials: with this level.
        value: the effect; None where the trials do not tell it.
        over_seeds: its interval over seeds, the trials being the same; None with one seed.
        over_trials: its interval by what the additive model leaves over trials.
        p: the larger of the two.
        p_holm: after Holm's correction over all levels of all choices.
        note: why something is missing.
    """

    factor: str
    level: str
    trials: int
    value: float | None
    over_seeds: Interval | None = None
    over_trials: Interval | None = None
    p: float | None = None
    p_holm: float | None = None
    note: str = ""

    @property
    def interval(self) -> Interval | None:
        """That over seeds; with one seed that over trials."""
        return self.over_seeds or self.over_trials

    @property
    def clear(self) -> bool:
        """Whether it stands out from zero, after the correction."""
        return self.p_holm is not None and self.p_holm < 0.05


@dataclass(frozen=True, kw_only=True)
class Explained:
    """What a choice brings to the additive model of all others."""

    factor: str
    levels: int
    test: Nested
    p_holm: float | None


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The additive model of a study.

    Arguments:
        effects: of every level that occurs.
        explained: of every choice.
        trials, seeds: that it was fitted to; one seed also where trials have no record of seeds.
        comparisons: that Holm's correction is over.
        degrees: of freedom left over trials.
        covariates: numbers that stand in the model beside the choices.
        notes: what was left out.
    """

    effects: list[Effect]
    explained: list[Explained]
    trials: int
    seeds: int
    comparisons: int
    degrees: int
    covariates: list[str]
    notes: list[str]


def numbers_of(panel: Panel) -> tuple[Panel, list[str]]:
    """The panel without its numbers where too little would be left for the error; and a note of that."""
    if not panel.covariates or Design(panel.factors, panel.numbers).degrees >= LEFT:
        return panel, []
    bare = replace(panel, numbers=panel.numbers[:, :0], covariates=[])
    names = ", ".join(panel.covariates)
    return bare, [f"too few trials to allow for {names}, which varied too: effects may be mixed with it"]


def fit(panel: Panel) -> Fit:
    """Effects by least squares, for each seed apart and over the means of trials."""
    panel, notes = numbers_of(panel)
    design = Design(panel.factors, panel.numbers)
    raw: list[Effect] = []
    families: list[int] = []
    for each in panel.factors:
        found = _effects(panel, design, each)
        told = sum(effect.value is not None for effect in found)
        # Two levels are one comparison, seen from both sides.
        families += [len(raw) if told == 2 else len(raw) + place for place in range(len(found))]
        raw += found
    effects, comparisons = _corrected(raw, families)
    if panel.left_out:
        verb = "is" if panel.left_out == 1 else "are"
        notes.append(f"{counted(panel.left_out, 'trial')} without the seeds {list(panel.seeds)} {verb} left out")
    return Fit(
        effects=effects,
        explained=_explained(panel, design),
        trials=design.rows,
        seeds=panel.values.shape[1],
        comparisons=comparisons,
        degrees=design.degrees,
        covariates=panel.covariates,
        notes=notes,
    )


def _effects(panel: Panel, design: Design, each: Factor) -> list[Effect]:
    counts = each.counts()
    classes = design.classes(each.name)
    main = max(classes, key=lambda members: (sum(counts[level] for level in members), len(members)))
    contrasts = design.against_mean(each.name, main)
    by_seed = contrasts @ (design.inverse @ panel.values)
    means = panel.values.mean(axis=1)
    spread = np.sqrt(((contrasts @ design.inverse) ** 2).sum(axis=1))
    deviation = math.sqrt(design.residual(means) / design.degrees) if design.degrees else math.nan
    scale = float(np.abs(panel.values).max())
    found = []
    for level, (label, trials) in enumerate(zip(each.levels, counts, strict=True)):
        if level not in main or len(main) == 1:
            other = next((first for first in main if first != level), (level + 1) % len(counts))
            names = ", ".join(design.confounded(each.name, level, other)) or "the numbers that varied"
            note = f"not told apart from {names}"
            found.append(Effect(factor=each.name, level=label, trials=trials, value=None, note=note))
            continue
        row = main.index(level)
        value = float(by_seed[row].mean())
        over_seeds = mean_interval(by_seed[row].tolist(), scale=scale)
        over_trials = student(value, float(spread[row]) * deviation, design.degrees, scale=scale)
        known = [interval.p for interval in (over_seeds, over_trials) if interval is not None]
        note = ""
        if not design.degrees:
            note = "no trials left over for an error"
        elif over_trials is None or (over_seeds is None and panel.values.shape[1] > 1):
            note = "no variance, no test"
        found.append(
            Effect(
                factor=each.name,
                level=label,
                trials=trials,
                value=value,
                over_seeds=over_seeds,
                over_trials=over_trials,
                p=max(known) if known and not note.startswith("no variance") else None,
                note=note,
            )
        )
    return found


def _corrected(raw: Sequence[Effect], families: Sequence[int]) -> tuple[list[Effect], int]:
    """Holm's correction, where effects of one family are one comparison."""
    firsts = sorted({family for family, effect in zip(families, raw, strict=True) if effect.p is not None})
    values: list[float | None] = []
    for first in firsts:
        members = [effect.p for family, effect in zip(families, raw, strict=True) if family == first]
        values.append(max(p for p in members if p is not None))
    adjusted = dict(zip(firsts, holm(values), strict=True))
    effects = [
        replace(effect, p_holm=adjusted[family]) if effect.p is not None else effect
        for family, effect in zip(families, raw, strict=True)
    ]
    return effects, len(firsts)


def _explained(panel: Panel, design: Design) -> list[Explained]:
    means = panel.values.mean(axis=1)
    tests = []
    for each in panel.factors:
        others = [other for other in panel.factors if other is not each]
        tests.append(nested(means, Design(others, panel.numbers), design))
    adjusted = holm([test.p for test in tests])
    return [
        Explained(factor=each.name, levels=len(each.levels), test=test, p_holm=p)
        for each, test, p in zip(panel.factors, tests, adjusted, strict=True)
    ]
