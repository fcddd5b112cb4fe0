"""How long a sweep takes: predicted by the cost model, and held against what of it has finished."""

import heapq
import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from eos.compose.cost import ModelCost, cost_of
from eos.compose.rates import Rates, operations, rates, step_seconds
from eos.errors import DataError
from eos.tasks.task import AbstractTask
from eos.training.evaluation import summed_nats
from eos.training.fit import budget_in_steps, torch_device
from eos.training.optimizer import adamw
from eos.training.run import Recipe, make_task
from eos.training.sweep import Point, raised

#: A run takes this many times its steps: batches, logs, checkpoints and validations come on top.
AROUND = 1.2
#: Seconds until a process trains: imports, and data that are made.
START = 6.0
#: Of the steps that are measured: how often each, and at most: tokens, parameters, and numbers held (of 4 bytes).
ROUNDS, TOKENS, LARGEST, HELD = 3, 16384, 200_000_000, 500_000_000
#: What a step holds of a token, roughly: so many times the width in every layer, and the vocabulary.
OF_WIDTH, OF_VOCABULARY = 40, 4


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Seconds of every combination.

    Arguments:
        seconds: by folder; without those that cannot be told, as of those whose steps raise something.
        unknown: why one cannot be told, or None.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    unknown: str | None = None

    def left(
        self, points: Mapping[str, Point], *, waiting: Iterable[str], running: Mapping[str, float], jobs: int
    ) -> float | None:
        """Seconds until all are done, or None where that cannot be told.

        Arguments:
            points: by folder; those that have finished scale what is predicted for the others.
            waiting: folders in the order in which they will begin.
            running: seconds since each that runs began.
            jobs: how many run at once.
        """
        took = {folder: point.seconds for folder, point in points.items() if point.status == "finished"}
        known = [folder for folder, seconds in took.items() if seconds and folder in self.seconds]
        scale = sum(took[folder] for folder in known) / sum(self.seconds[folder] for folder in known) if known else 1.0
        mean = statistics.fmean(seconds for seconds in took.values() if seconds) if any(took.values()) else None

        def whole(folder: str) -> float | None:
            return scale * self.seconds[folder] if folder in self.seconds else mean

        free = [0.0] * jobs
        begun = [(folder, elapsed) for folder, elapsed in running.items()]
        for folder, elapsed in [*begun, *((folder, 0.0) for folder in waiting)]:
            if (seconds := whole(folder)) is None:
                return None
            heapq.heappush(free, heapq.heappop(free) + max(0.0, seconds - elapsed))
        return max(free)


@dataclass(frozen=True, kw_only=True)
class _Case:
    """A combination whose steps can be predicted."""

    recipe: Recipe
    task: AbstractTask
    cost: ModelCost
    device: str

    def predicted(self, machine: Rates, *, rows: int) -> float:
        """Seconds of a step, by the machine's rates."""
        return step_seconds(self.cost, machine, tokens=rows * self.task.length)

    @property
    def rows(self) -> int:
        """How many a step can be measured with; none where one takes more memory than a plan should."""
        model, tokens = self.recipe.model, self.task.length
        held = tokens * (OF_WIDTH * model.layers * model.width + OF_VOCABULARY * self.task.vocabulary)
        return min(self.recipe.training.rows, max(1, TOKENS // tokens), HELD // held)

    def measured(self, *, rows: int) -> float:
        """The same, by the clock."""
        options, device = self.recipe.training, torch.device(self.device)
        model = self.task.model(self.recipe.model).to(device)
        optimizer = adamw(model, options)
        batch = self.task.train_batch(options.order, 0, rows).to(device)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            (summed_nats(model, batch, options.precision) / batch.targets.numel()).backward()
            optimizer.step()

        return _timed(step, self.device, rounds=ROUNDS)


def predict(recipes: Mapping[str, Recipe], *, seeds: int, threads: int | None) -> Prediction:
    """Seconds of combinations: by the cost of their models at this machine's rates, held against steps of a few.

    Arguments:
        recipes: by folder.
        seeds: runs of each, one after the other.
        threads: of a process that trains; None for as many as PyTorch takes.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with ExitStack() as stack:
            cases, unknown = _cases(recipes, stack)
            machine = {device: _rates(device) for device in {case.device for case in cases.values()}}
            over, broken = _over(cases, machine)
    finally:
        torch.set_num_threads(before)
    seconds = {}
    for folder, reason in broken.items():
        del cases[folder]
        unknown = reason
    for folder, case in cases.items():
        options = case.recipe.training
        steps = budget_in_steps(case.task, case.recipe.model, options)
        limits = [] if options.minutes is None else [60 * options.minutes]
        if steps is not None:
            step = over * case.predicted(machine[case.device], rows=options.rows)
            limits.append(AROUND * steps * step)
        seconds[folder] = START + seeds * min(limits)
    return Prediction(seconds=seconds, unknown=unknown)


def _cases(recipes: Mapping[str, Recipe], stack: ExitStack) -> tuple[dict[str, _Case], str | None]:
    """By folder those that can be predicted, and why another cannot; their data stand until the stack is left."""
    costs: dict[str, ModelCost] = {}
    tasks: dict[str, AbstractTask] = {}
    cases, unknown = {}, None
    for folder, recipe in recipes.items():
        asked = repr(recipe.task)
        try:
            task = tasks[asked] if asked in tasks else tasks.setdefault(asked, _ready(recipe, stack))
        except DataError as error:
            unknown = str(error)
            continue
        device = torch_device(recipe.training.device).type
        key = f"{device} {asked} {recipe.model!r}"
        try:
            if key not in costs:
                costs[key] = cost_of(recipe.model, make=task.model, length=task.length, grid=task.grid, device=device)
        except Exception as error:  # noqa: BLE001 - its run will raise the same, and be named
            unknown = raised(error)
            continue
        cases[folder] = _Case(recipe=recipe, task=task, cost=costs[key], device=device)
    return cases, unknown


def _ready(recipe: Recipe, stack: ExitStack) -> AbstractTask:
    """The task of a recipe, with batches to give; what needs data has them made in a folder of the stack's."""
    task = make_task(recipe)
    try:
        task.train_batch(recipe.training.order, 0, 1)
    except DataError:
        task.prepare(Path(stack.enter_context(TemporaryDirectory())))
    return task


def _over(cases: Mapping[str, _Case], machine: Mapping[str, Rates]) -> tuple[float, dict[str, str]]:
    """How much longer a step takes than is predicted: the cheapest, the middle and the dearest tell.

    Returns:
        That; and by folder, why steps could not be taken.
    """

    def whole(folder: str) -> float:
        return cases[folder].predicted(machine[cases[folder].device], rows=cases[folder].recipe.training.rows)

    few = {folder: case.rows for folder, case in cases.items() if case.cost.parameters <= LARGEST}
    small = sorted((folder for folder, rows in few.items() if rows), key=whole)
    took, predicted, broken = 0.0, 0.0, {}
    for folder in [small[index] for index in sorted({0, len(small) // 2, len(small) - 1})] if small else []:
        case, rows = cases[folder], few[folder]
        try:
            took += case.measured(rows=rows)
        except Exception as error:  # noqa: BLE001 - its run will raise the same, and be named
            broken[folder] = raised(error)
            continue
        predicted += case.predicted(machine[case.device], rows=rows)
    return took / predicted if predicted else 1.0, broken


def _rates(device: str) -> Rates:
    return rates({name: _timed(run, device, rounds=1) for name, run in operations(device).items()})


def threads_of_each(jobs: int) -> int | None:
    """The share of the cores of each of several processes; None where PyTorch or the environment decides."""
    if jobs == 1 or "OMP_NUM_THREADS" in os.environ:
        return None
    return max(1, (os.cpu_count() or 1) // jobs)


def _timed(run: Callable[[], object], device: str, *, rounds: int) -> float:
    """The median seconds of some runs, after one to warm up."""
    times = []
    for _ in range(1 + rounds):
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
