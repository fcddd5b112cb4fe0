"""One run, as its folder tells it: read as far as it can be, whatever version wrote it and however it ended."""

import datetime as dt
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from eos.compose.reader import read_recipe
from eos.dashboard.log import Log, read_log
from eos.errors import EOSError, RunError
from eos.training.files import read_json
from eos.training.folder import RunFolder
from eos.training.learned import Learned, read_learned

Status = Literal["ok", "running", "stopped", "failed", "diverged", "pruned"]

#: Seconds without a write after which a run without a result is taken for a killed one.
STALE = 600.0
#: What a result says of itself, as the page says it.
_STATUS: dict[str, Status] = {"finished": "ok", "stopped": "stopped", "abandoned": "pruned", "failed": "failed"}
#: Of what is shown of a result, its kinds.
_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("steps", "best_step", "parameters", "state_bytes", "peak_memory_bytes", "tokens"), int),
    **dict.fromkeys(("training_flops_per_token", "decoding_flops_per_token", "wall_seconds"), (int, float)),
    **dict.fromkeys(("metrics", "standard"), dict),
    **dict.fromkeys(("status", "device", "error"), str),
}
#: What the error of a run that lost its numbers says.
_DIVERGED = "not finite"


class UnreadableRun(EOSError, ValueError):
    """A folder whose run cannot be read, with the reason."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What stands in a run's folder.

    Arguments:
        path: of the folder.
        recipe: the data of recipe.yaml.
        result: of result.json; empty while there is none.
        start: the last start that run.json tells of.
        digest: of the task's data; empty where the task has none.
        log: its curves.
        learned: what the trained model shows of itself; None before the end, and of earlier versions.
        status: how it stands.
        reason: why it is not ok.
        written: seconds since 1970 of the last write to its log.
        warnings: what could not be read.
    """

    path: Path
    recipe: Mapping[str, Any]
    result: Mapping[str, Any]
    start: Mapping[str, Any]
    digest: str
    log: Log
    learned: Learned | None
    status: Status
    reason: str | None
    written: float
    warnings: list[str] = field(default_factory=list)


def read_run(path: Path, *, now: float | None = None) -> Run:
    """The run in a folder.

    Raises:
        UnreadableRun: its recipe cannot be read; anything else that is damaged is a warning.
    """
    folder, warnings = RunFolder(path), list[str]()
    try:
        recipe = read_recipe(folder.recipe)
        for part in ("model", "task", "training"):
            if not isinstance(recipe.get(part), dict):
                raise UnreadableRun(f"{folder.recipe.name} has no {part}")
    except (EOSError, RecursionError) as error:
        raise UnreadableRun(str(error)) from error
    told = _mapping(folder.result, warnings)
    result = _sound(told, folder.result.name, warnings)
    starts = _mapping(folder.record, warnings).get("starts")
    start = starts[-1] if isinstance(starts, list) and starts and isinstance(starts[-1], dict) else {}
    try:
        log = read_log(folder.metrics)
    except OSError as error:
        log = Log()
        warnings.append(f"{folder.metrics.name} cannot be read: {error.strerror}")
    if log.broken:
        warnings.append(f"{log.broken} lines of {folder.metrics.name} are damaged and left out")
    written = _written(folder)
    status, reason = _status(result, age=(time.time() if now is None else now) - written)
    if not told and folder.result.exists():
        status, reason = "failed", f"{folder.result.name} is damaged: how the run ended is not known"
    return Run(
        path=path,
        recipe=recipe,
        result=result,
        start=start,
        digest=str(_mapping(path / "task.json", warnings).get("digest") or ""),
        log=log,
        learned=_learned(folder.learned, warnings),
        status=status,
        reason=reason,
        written=written,
        warnings=warnings,
    )


def state_of(path: Path) -> object:
    """Equal for two looks at a folder between which :func:`read_run` gives the same."""
    folder = RunFolder(path)
    files = (folder.recipe, folder.metrics, folder.result, folder.record, folder.learned)
    times = [path.stat().st_mtime_ns if path.exists() else None for path in files]
    return times, time.time() - _written(folder) < STALE


def metrics(run: Run) -> tuple[dict[str, float | None], dict[str, str]]:
    """The final metrics as ``part/name``, or those of the latest validation; and what those are that are no number."""
    found: dict[str, float | None] = {}
    named = run.result.get("metrics")
    for part, values in named.items() if isinstance(named, dict) else ():
        if isinstance(values, dict):
            found |= {f"{part}/{name}": _number(value) for name, value in values.items()}
    if not found:
        curves = run.log.curves.items()
        found = {name: float(curve.values[-1]) for name, curve in curves if name.startswith("validation/")}
    odd = {name: "not finite" if value is None else str(value) for name, value in found.items() if not finite(value)}
    return {name: value if finite(value) else None for name, value in found.items()}, odd


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return math.inf


def finite(value: float | None) -> bool:
    """Whether there is a number that JSON can hold."""
    return value is not None and math.isfinite(value)


def _status(result: Mapping[str, Any], *, age: float) -> tuple[Status, str | None]:
    if not result:
        if age < STALE:
            return "running", None
        when = dt.timedelta(seconds=round(age))
        return "stopped", f"it has no result, and nothing was written for {when}: killed, or its machine is gone"
    status = _STATUS.get(str(result.get("status")), "failed")
    reason = result.get("error")
    if status == "failed" and _DIVERGED in str(reason):
        status = "diverged"
    if status == "stopped" and not reason:
        reason = f"stopped by signal {result['signal']}" if result.get("signal") else "stopped"
    return status, None if reason is None else str(reason)


def _written(folder: RunFolder) -> float:
    times = [path.stat().st_mtime for path in (folder.recipe, folder.metrics, folder.result) if path.exists()]
    return max(times, default=0.0)


def _mapping(path: Path, warnings: list[str]) -> dict[str, Any]:
    """The mapping in a JSON file; empty where there is none, and with a warning where it is something else."""
    try:
        data = read_json(path)
    except FileNotFoundError:
        return {}
    except (RunError, OSError, UnicodeDecodeError, RecursionError) as error:
        warnings.append(f"{path.name} cannot be read: {error}")
        return {}
    if not isinstance(data, dict):
        warnings.append(f"{path.name} is not what a run writes")
        return {}
    return data


def _sound(result: dict[str, Any], name: str, warnings: list[str]) -> dict[str, Any]:
    """The result without what is of another kind than a run writes."""
    for key, kinds in _KINDS.items():
        value = result.get(key)
        if value is None:
            continue
        if not isinstance(value, kinds) or isinstance(value, bool) or (isinstance(value, float) and not finite(value)):
            warnings.append(f"{key} of {name} is not what a run writes")
            del result[key]
    return result


def _learned(path: Path, warnings: list[str]) -> Learned | None:
    if not path.exists():
        return None
    try:
        return read_learned(path)
    except (RunError, OSError, ValueError) as error:
        warnings.append(f"{path.name} cannot be read: {str(error).splitlines()[0]}")
        return None
