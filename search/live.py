"""How a search stands, as a table: the best so far, what is running, and how long it will take."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from optuna.trial import FrozenTrial, TrialState
from rich.console import Group
from rich.table import Table
from rich.text import Text

from eos.training.report import duration
from search.study import CHOICES, LOST, REASON, SECONDS, Study, StudyRecord, fixed, lost

#: Rows of the best.
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a study stands.

    Arguments:
        wanted: trials that are asked for.
        complete, pruned, failed, running, waiting: how many there are of each.
        left: seconds until the last ends, as the ones before took; None where none has ended.
    """

    wanted: int
    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int
    left: float | None

    @property
    def ended(self) -> int:
        """Trials that count and have ended."""
        return self.complete + self.pruned + self.failed


def standing(trials: Sequence[FrozenTrial], wanted: int, *, workers: int = 1) -> Standing:
    """How these trials stand, where so many workers go on with them."""
    counted = [trial for trial in trials if not lost(trial)]
    count = {state: sum(trial.state == state for trial in counted) for state in TrialState}
    took = [trial.user_attrs[SECONDS] for trial in counted if SECONDS in trial.user_attrs]
    open_ = count[TrialState.WAITING] + count[TrialState.RUNNING]
    return Standing(
        wanted=wanted,
        complete=count[TrialState.COMPLETE],
        pruned=count[TrialState.PRUNED],
        failed=count[TrialState.FAIL],
        running=count[TrialState.RUNNING],
        waiting=count[TrialState.WAITING],
        left=statistics.fmean(took) * open_ / max(1, workers) if took else None,
    )


def status_line(now: Standing, *, at_work: bool = True) -> str:
    """The counts in a line; while workers are at work with the time left, else with what waits."""
    parts = [f"{now.ended} of {now.wanted} trials"]
    parts += [f"{number} {name}" for name, number in (("pruned", now.pruned), ("failed", now.failed)) if number]
    if now.running:
        parts.append(f"{now.running} running")
    if not at_work and now.waiting:
        parts.append(f"{now.waiting} waiting")
    if at_work and now.left and now.waiting + now.running:
        parts.append(f"about {duration(now.left)} left")
    return ", ".join(parts)


def choices_of(trial: FrozenTrial) -> str:
    """Its stages, and what of its options is not as declared; what it was given where it has not begun."""
    return str(trial.user_attrs.get(CHOICES) or " ".join(f"{name}={value}" for name, value in fixed(trial).items()))


def ranked(trials: Sequence[FrozenTrial], record: StudyRecord) -> list[FrozenTrial]:
    """Finished trials, the best first; with several objectives those of the front, then the others, by the first."""
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    costs = {trial.number: _costs(trial, record) for trial in done}
    return sorted(done, key=lambda trial: (not _on_front(trial.number, costs), costs[trial.number][0]))


def _costs(trial: FrozenTrial, record: StudyRecord) -> tuple[float, ...]:
    """Its objectives, of each of which less is better."""
    signs = (-1 if name == "quality" and record.quality.higher else 1 for name in record.search.objectives)
    return tuple(sign * value for sign, value in zip(signs, trial.values, strict=True))


def _on_front(number: int, costs: Mapping[int, tuple[float, ...]]) -> bool:
    """Whether no other trial is as good in every objective and better in one."""
    own = costs[number]
    return not any(
        other != own and all(theirs <= mine for theirs, mine in zip(other, own, strict=True))
        for other in costs.values()
    )


def best_table(trials: Sequence[FrozenTrial], record: StudyRecord, *, rows: int = SHOWN) -> Table:
    """The best trials with their objectives and their choices; of several objectives, which are on the front."""
    order = ranked(trials, record)
    several = len(record.objectives) > 1
    costs = {trial.number: _costs(trial, record) for trial in order}
    caption = f"the best {rows} of {len(order)}" if len(order) > rows else None
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
        caption=caption,
        caption_style="dim",
        caption_justify="left",
    )
    table.add_column("trial", justify="right")
    for name in record.objectives:
        table.add_column(name, justify="right")
    if several:
        table.add_column("front")
    table.add_column("choices", overflow="fold")
    for trial in order[:rows]:
        values = [f"{value:.4g}" for value in trial.values]
        if several:
            values.append("yes" if _on_front(trial.number, costs) else "")
        table.add_row(str(trial.number), *values, Text(choices_of(trial)))
    return table


def failures(trials: Sequence[FrozenTrial], *, most: int = SHOWN) -> list[str]:
    """Why trials failed, a line for each reason, the most frequent first; trials that were lost are run again."""
    reasons: dict[str, list[int]] = {}
    for trial in trials:
        if trial.state == TrialState.FAIL and LOST not in trial.user_attrs:
            reasons.setdefault(str(trial.user_attrs.get(REASON, "no reason is known")), []).append(trial.number)
    ordered = sorted(reasons.items(), key=lambda pair: -len(pair[1]))
    lines = [f"trial {', '.join(map(str, numbers))} failed: {reason[:300]}" for reason, numbers in ordered[:most]]
    return [*lines, *([f"{len(ordered) - most} more reasons"] if len(ordered) > most else [])]


def live_view(study: Study, *, workers: int) -> Group:
    """The whole picture, as it is now."""
    trials = study.trials
    now = standing(trials, study.wanted, workers=workers)
    parts: list[Table | Text] = [Text(f"study {study.name}: {status_line(now)}", style="bold")]
    if now.complete:
        parts.append(best_table(trials, study.record))
    running = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            steps = max(trial.intermediate_values, default=None)
            seen = "" if steps is None else f"step {steps}: {trial.intermediate_values[steps]:.4g}"
            since = trial.datetime_start
            took = "" if since is None else duration(max(0.0, (datetime.now() - since).total_seconds()))
            running.add_row(f"{trial.number}", "running", took, seen, Text(choices_of(trial)))
    if running.row_count:
        parts.append(running)
    parts += map(Text, failures(trials, most=1))
    return Group(*parts)


def ended_line(study: Study, number: int) -> str:
    """What came of a trial, for a log that is no terminal."""
    trial = next(trial for trial in study.trials if trial.number == number)
    now = standing(study.trials, study.wanted)
    match trial.state:
        case TrialState.COMPLETE:
            named = zip(study.record.objectives, trial.values, strict=True)
            came = "  ".join(f"{name} {value:.4g}" for name, value in named)
        case TrialState.PRUNED | TrialState.FAIL:
            came = f"{trial.state.name.lower()}: {trial.user_attrs.get(REASON, '')}"
        case _:
            came = "stopped"
    return f"trial {number}  {came}  {choices_of(trial)}  ({status_line(now)})"
