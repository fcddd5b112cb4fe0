"""A study as the dashboard shows it: plain data, read once. Registered as an entry point of ``eos.studies``."""

import math
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search.place import FOLDERS, located
from search.report.budget import best
from search.report.importances import FEWEST, importances
from search.report.learned import rerun
from search.report.observed import Observed, observe
from search.storage import StudyError, without_password
from search.study import REASON, RETRY_OF, RUNS, SECONDS, lost

_STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def read_study(place: str) -> dict[str, Any]:
    """The study in a search's folder, or the one that a storage's URL holds.

    Raises:
        StudyError: there is none, or more than one.
    """
    own = {"storage": place} if "://" in place or place.endswith((".log", ".journal")) else {}
    study, folder = located(None if own else place, own)
    trials = [_trial(trial) for trial in study.trials if not lost(trial)]
    observed, note = None, None
    try:
        observed = observe(study)
    except StudyError as error:
        note = str(error)
    else:
        if len(observed.complete) < FEWEST:
            note = f"importances need {FEWEST} complete trials, and {len(observed.complete)} are there"
    quality = study.record.quality
    return {
        "name": study.name,
        "url": without_password(study.url),
        "folder": str(folder),
        "objectives": [
            {"name": name, "higher": name == quality.metric and quality.higher} for name in study.record.objectives
        ],
        "states": {state: sum(trial["state"] == state for trial in trials) for state in _STATES.values()},
        "trials": trials,
        "importances": {} if observed is None or note else _importances(observed),
        "note": note,
        "rerun": [] if observed is None else rerun(observed, folder, best(observed)[0].winner),
        "command": f"optuna-dashboard {shlex.quote(without_password(study.url))}",
    }


def _trial(trial: FrozenTrial) -> dict[str, Any]:
    state, values = _STATES[trial.state], None
    if trial.state == TrialState.COMPLETE and all(map(math.isfinite, trial.values)):
        values = list(trial.values)
    steps = [(step, value) for step, value in sorted(trial.intermediate_values.items()) if math.isfinite(value)]
    folder = Path(FOLDERS) / f"{trial.user_attrs.get(RETRY_OF, trial.number):04d}"
    return {
        "number": trial.number,
        "state": state,
        "values": values,
        "last": {"step": steps[-1][0], "value": steps[-1][1]} if steps else None,
        "params": trial.params,
        "seconds": trial.user_attrs.get(SECONDS),
        "reason": trial.user_attrs.get(REASON),
        "folders": [str(folder / run["folder"]) for run in trial.user_attrs.get(RUNS, ())],
    }


def _importances(observed: Observed) -> dict[str, list[dict[str, Any]]]:
    """By method, the share of each parameter, of the trials that have it."""
    found: dict[str, list[dict[str, Any]]] = {"fANOVA": [], "PED-ANOVA": []}
    for each in importances(observed):
        counts = {"used": each.trials, "left_out": len(observed.complete) - each.trials}
        for method, share in (("fANOVA", each.fanova), ("PED-ANOVA", each.ped_anova)):
            if share is not None:
                found[method].append({"name": each.name, **asdict(share), **counts})
    return found
