"""Everything that a report says of a study, and the sentences that say it."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from optuna.trial import TrialState

from search.report.budget import Best, best
from search.report.contexts import Difference, differences
from search.report.effects import Effect, Fit, fit
from search.report.importances import Importance, importances
from search.report.interactions import Interaction, Refuses, interactions
from search.report.observed import Observation, Observed, panel
from search.report.table import between, counted, ended, number, probability

#: Effects of other choices that the answer names beside the clearest one, and seeds of a rerun.
NAMED, RERUN = 2, 5


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The analysis of a study.

    Arguments:
        observed: its trials.
        folder: of its runs, as commands name it.
        fit: effects of the levels of its choices.
        differences: of trials that differ in one choice alone.
        interactions: of pairs of choices.
        importances: of parameters.
        best: for each range of each cost.
        refusals: why combinations that the design refuses are not marked; empty where they are.
    """

    observed: Observed
    folder: Path
    fit: Fit
    differences: list[Difference]
    interactions: list[Interaction]
    importances: list[Importance]
    best: list[Best]
    refusals: str


def learn(observed: Observed, folder: Path, *, refuses: Refuses | None, refusals: str = "") -> Learned:
    """Analyse a study."""
    used = panel(observed)
    return Learned(
        observed=observed,
        folder=folder,
        fit=fit(used),
        differences=differences(observed),
        interactions=interactions(observed, used, refuses),
        importances=importances(observed),
        best=best(observed),
        refusals=refusals,
    )


def counts(observed: Observed) -> str:
    """How many trials there are, by how they ended."""
    named = {
        "complete": len(observed.complete),
        "not finite": observed.not_finite,
        "pruned": observed.count(TrialState.PRUNED),
        "failed": observed.count(TrialState.FAIL),
        "running or waiting": observed.unfinished,
    }
    total = len(observed.ended) + observed.unfinished
    return f"{counted(total, 'trial')}: " + ", ".join(f"{count} {name}" for name, count in named.items() if count)


def answer(learned: Learned) -> str:
    """What matters and how sure that is, then the best trial, in some sentences; nothing without its interval."""
    return f"{_effects_sentence(learned)} {_best_sentence(learned)}"


def _effects_sentence(learned: Learned) -> str:
    found = learned.fit
    told = [effect for effect in found.effects if effect.value is not None]
    if found.trials < 2:
        return "One complete trial: there is nothing to compare it with."
    if not told:
        return f"No two levels of a choice can be compared: {found.trials} trials tell none of them apart."
    clear = sorted((effect for effect in told if effect.clear), key=_size, reverse=True)
    if clear:
        seen = {clear[0].factor}
        more = []
        for effect in clear[1:]:
            if effect.factor not in seen:
                seen.add(effect.factor)
                more.append(effect)
        sentence = f"Clearest: {_worth(learned, clear[0])}, {_rests(learned, clear[0])}."
        if more:
            sentence += f" Then {'; '.join(_worth(learned, effect) for effect in more[:NAMED])}."
        return sentence
    halves = [effect.interval.half for effect in told if effect.interval is not None]
    typical = (
        f"the typical interval is ± {number(median(halves), median(halves))}" if halves else "nothing has an interval"
    )
    largest = max(told, key=_size)
    test = "" if largest.p_holm is None else f", p {_equals(largest.p_holm)} by Holm"
    sentence = (
        f"No level is distinguishable from the mean of its choice: {_sample(found)}; {typical}, and the largest effect "
        f"is {_worth(learned, largest)}{test}."
    )
    over_trials = [effect for effect in told if effect.over_trials is not None]
    strongest = min(over_trials, key=_p_of_trials, default=None)
    if found.seeds > 1 and strongest is not None and _p_of_trials(strongest) * found.comparisons < 0.05:
        sentence += (
            f" Over trials alone {strongest.factor}={strongest.level} would stand out, with "
            f"{between(strongest.over_trials, signed=True)}; {found.seeds} seeds are too few to agree."
        )
    return sentence


def _size(effect: Effect) -> float:
    return abs(effect.value or 0.0)


def _p_of_trials(effect: Effect) -> float:
    return 1.0 if effect.over_trials is None else effect.over_trials.p


def _sample(found: Fit) -> str:
    return f"{counted(found.trials, 'trial')}, {'one seed' if found.seeds == 1 else f'{found.seeds} seeds'}"


def _worth(learned: Learned, effect: Effect) -> str:
    value = number(effect.value, effect.interval.half if effect.interval else None, signed=True)
    interval = "(no interval)" if effect.interval is None else between(effect.interval, signed=True)
    return f"{effect.factor}={effect.level} {value} {interval}"


def _rests(learned: Learned, effect: Effect) -> str:
    metric, found = learned.observed.record.quality.metric, learned.fit
    levels = sum(each.factor == effect.factor and each.value is not None for each in found.effects)
    comparisons = "one comparison" if found.comparisons == 1 else f"{found.comparisons} comparisons"
    return (
        f"{metric} against the mean of {levels} levels ({_sample(found)}, p {_equals(effect.p_holm)} after Holm's "
        f"correction over {comparisons}; + is better)"
    )


def _equals(p: float | None) -> str:
    text = probability(p)
    return text if text.startswith("<") else f"= {text}"


def _best_sentence(learned: Learned) -> str:
    first = learned.best[0]
    winner, quality = first.winner, learned.observed.record.quality
    word = "highest" if quality.higher else "lowest"
    half = None if first.interval is None else first.interval.half
    value = f"{number(winner.quality, half)} {between(first.interval)}" if first.interval else number(winner.quality)
    seeds = len(winner.seeds)
    sample = f"{seeds} seeds" if seeds > 1 else "one seed, so no interval"
    if seeds > 1 and first.interval is None:
        sample += ", all the same"
    sentence = f"The {word} validation {quality.metric} is trial {winner.number}'s ({winner.shown}): {value} ({sample})"
    if first.test is not None:
        test_half = None if first.test_interval is None else first.test_interval.half
        test = number(first.test, test_half)
        sentence += f"; on the test part {test}{f' {between(first.test_interval)}' if first.test_interval else ''}"
    if first.trials > 1:
        sentence += f". It was picked as the {word} of {first.trials}, so its validation flatters it"
        if first.ties:
            others = "one other is" if first.ties == 1 else f"{first.ties} others are"
            sentence += f", and {others} not told apart from it"
    return f"{sentence}."


def notes(learned: Learned) -> list[str]:
    """What a reader must know before believing the numbers."""
    observed, record = learned.observed, learned.observed.record
    found = []
    random = {"tpe": record.search.startup, "gp": record.search.startup, "nsga2": 0, "nsga3": 0}
    if len(observed.ended) > random.get(record.search.sampler, len(observed.ended)):
        found.append(
            f"Trials are not an ablation: the sampler ({record.search.sampler}) visits good regions more often, and "
            "effects hold for where it was."
        )
    if pruned := observed.count(TrialState.PRUNED):
        found.append(
            f"Pruned trials ({pruned}) are left out of everything but the history: they were the worse ones, so bad "
            "levels look milder than they are."
        )
    if observed.not_finite:
        found.append(f"Trials whose quality is not finite ({observed.not_finite}) are left out.")
    if reasons := observed.reasons():
        listed = "; ".join(f"{count} × {' '.join(why.split())[:160]}" for why, count in reasons[:3])
        found.append(ended(f"Failed trials are left out: {listed}"))
    if learned.fit.seeds == 1:
        found.append("One seed a trial: intervals are by what the additive model leaves over trials.")
    elif learned.fit.seeds < RERUN:
        found.append(
            f"{learned.fit.seeds} seeds: intervals over seeds are wide; a level is called clear where both agree."
        )
    if record.search.objectives != ["quality"]:
        found.append(f"Importances, effects and interactions are of {record.quality.metric} alone.")
    for pair in learned.interactions:
        if pair.p_holm is not None and pair.p_holm < 0.05:
            found.append(
                f"{pair.first} and {pair.second} depend on each other (p {_equals(pair.p_holm)} by Holm): what a level "
                "is worth differs with the other; see their combinations."
            )
    if learned.fit.covariates:
        found.append(f"Effects allow for {', '.join(learned.fit.covariates)} by a line and a square in the model.")
    found += [f"{note[0].upper()}{note[1:]}." for note in learned.fit.notes]
    if learned.refusals:
        found.append(ended(f"Refused combinations are not marked: {learned.refusals}"))
    return found


def rerun(observed: Observed, folder: Path, winner: Observation) -> list[str]:
    """The commands that train the winner with seeds that it was not picked by."""
    first = 1 + max(winner.seeds, default=observed.record.base.training.seed)
    seeds = ",".join(map(str, range(first, first + RERUN)))
    plugins = [part for plugin in observed.record.plugins for part in ("--plugins", plugin)]
    return [
        shlex.join(["eos", *plugins, "search", "export", str(folder), str(winner.number), "--name", "winner"]),
        shlex.join(["eos", *plugins, "--plugins", "plugin", "train", "experiment=winner", f"seeds=[{seeds}]"]),
    ]
