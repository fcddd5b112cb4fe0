"""The runs that a scaling law is of: what each was trained with, and what it reached."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from eos.errors import RunError
from eos.training.folder import RunFolder
from eos.training.group import is_group, runs_of
from eos.training.result import Result, read_result
from eos.training.sweep import is_sweep, read_sweep

#: What runs of one law differ in.
SIZES = ("size", "training.tokens_per_parameter", "tokens_per_parameter", "training.tokens", "tokens", "seed")


@dataclass(frozen=True, kw_only=True)
class Point:
    """A run.

    Arguments:
        model: which law it belongs to.
        parameters: N, outside of embeddings and head.
        tokens: D, that it was trained on.
        compute: C, FLOPs of its training by the cost model.
        loss: of the validation part, nats a target.
        folder: of the run.
        seconds: of its training.
    """

    model: str
    parameters: int
    tokens: int
    compute: float
    loss: float
    folder: Path
    seconds: float

    @property
    def sizes(self) -> tuple[float, float]:
        """N and D."""
        return float(self.parameters), float(self.tokens)


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """Runs by law.

    Arguments:
        points: by model, by compute.
        left_out: of what gave no point, why.
    """

    points: dict[str, list[Point]]
    left_out: list[str]


def read_ladder(path: Path) -> Ladder:
    """The finished runs of a sweep, or of any folder of runs.

    Raises:
        RunError: there is none.
    """
    points: dict[str, list[Point]] = {}
    left_out = []
    for folder, choices in _runs(path):
        result = RunFolder(folder).result
        if not result.is_file():
            left_out.append(f"{folder.relative_to(path)}: not finished")
            continue
        try:
            found = _point(folder, read_result(result), choices)
        except RunError as error:
            found = str(error)
        if isinstance(found, str):
            left_out.append(f"{folder.relative_to(path)}: {found}")
        else:
            points.setdefault(found.model, []).append(found)
    if not points:
        reasons = "; ".join(left_out[:3]) or "there are none"
        raise RunError(f"{path} holds no finished run that a law could be of: {reasons}")
    return Ladder(
        points={model: sorted(found, key=lambda point: point.compute) for model, found in points.items()},
        left_out=left_out,
    )


def _runs(path: Path) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """The folders of runs, with the choices of a sweep that tell laws apart."""
    if not is_sweep(path):
        yield from _told_apart(sorted(each.parent for each in path.rglob("recipe.yaml")))
        return
    for cell in read_sweep(path)[0].cells():
        folder = path / cell.folder
        for run in runs_of(folder) if is_group(folder) else [folder]:
            yield run, {key: value for key, value in cell.choices.items() if key not in SIZES}


def _told_apart(folders: Sequence[Path]) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """Runs that were not chosen together, with what their tasks differ in: a law is of one text."""
    tasks = [_task(folder / "recipe.yaml") for folder in folders]
    names = sorted({name for task in tasks for name in task if len({each.get(name) for each in tasks}) > 1})
    for folder, task in zip(folders, tasks, strict=True):
        yield folder, {f"task.{name}": task.get(name, "null") for name in names}


def _task(recipe: Path) -> dict[str, str]:
    try:
        data = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    task = data.get("task") if isinstance(data, dict) else None
    return {str(name): str(value) for name, value in task.items() if name != "cache"} if isinstance(task, dict) else {}


def _point(folder: Path, result: Result, choices: Mapping[str, str]) -> Point | str:
    """The point of a run, or why there is none."""
    if result.status != "finished":
        return result.error or result.status
    parameters, flops = result.non_embedding_parameters, result.training_flops_per_token
    if parameters is None or flops is None:
        return "its result does not say parameters outside of embeddings: an earlier version wrote it"
    metrics = result.metrics.get("validation", {})
    loss = next((value for name, value in metrics.items() if name.startswith("nats_per")), None)
    if loss is None or not loss > 0:
        return "no cross-entropy that is finite and above 0"
    others = [f"{key}={value}" for key, value in choices.items() if key != "model"]
    model = " ".join([choices.get("model", result.names.get("model", "")), *others])
    return Point(
        model=model,
        parameters=parameters,
        tokens=result.tokens,
        compute=flops * result.tokens,
        loss=loss,
        folder=folder,
        seconds=result.training_seconds,
    )
