"""A run, from its recipe to its result."""

import contextlib
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from eos import registry
from eos.compose import refuse
from eos.compose.cost import ModelCost, cost_of
from eos.compose.run import RunRecipe, read_run_recipe, save_run_recipe
from eos.errors import CompositionError, RunError
from eos.tasks.task import AbstractTask, Split
from eos.training.bookkeeping import Watch
from eos.training.config import TrainingOptions
from eos.training.evaluation import Evaluation, Progress, evaluate
from eos.training.events import Events, Value, hyperparameters
from eos.training.files import disk_full_named, read_json, replacing, write_json
from eos.training.fit import budget_in_steps, fit, torch_device
from eos.training.folder import RunFolder
from eos.training.learned import learned
from eos.training.module import TrainingModule
from eos.training.provenance import device_name, peak_memory, provenance
from eos.training.recompute import recompute_blocks
from eos.training.report import AbstractReport, report_on
from eos.training.result import Result, Status, plain, result_if_readable
from eos.training.sharding import first_weights, save_whole, take
from eos.training.state import seed_everything
from eos.training.stopping import EvaluationAbandoned, RunAbandoned, StopRequest
from eos.training.world import ALONE, World

Recipe = RunRecipe[TrainingOptions]
HELD_OUT: tuple[Split, ...] = ("validation", "test")


def train(
    recipe: Recipe,
    path: Path,
    *,
    console: Console | None = None,
    command: Sequence[str] = (),
    watch: Watch | None = None,
    world: World = ALONE,
) -> Result:
    """Begin a run in a new folder.

    Arguments:
        recipe: what to train, on what, how.
        path: the run's folder, which must not exist yet.
        console: where to show progress; None shows nothing.
        command: the command line, kept in run.json.
        watch: told the step and the metrics of every validation; may raise RunAbandoned.
        world: the processes that train together; the first of them writes to the folder.

    Returns:
        The result, which also stands in the folder; its status is stopped where SIGINT or SIGTERM came, and abandoned
        where ``watch`` gave it up.

    Raises:
        RunError: the folder exists, the disk is full, or the numbers stopped being finite.
        DataError: the data cannot be used; the folder is not made.
        RecipeError: the model cannot be built; the folder is not made.
    """
    if reason := refuse(recipe.model, causal=make_task(recipe).causal):
        raise CompositionError(reason)
    device = torch_device(recipe.training.device)
    folder = RunFolder(path)
    new = [parent for parent in path.parents if not parent.exists()]
    with ExitStack() as lock:

        def begin() -> None:
            folder.create()
            lock.enter_context(folder.locked())
            try:
                with replacing(folder.recipe) as temporary:
                    save_run_recipe(recipe, temporary)
                prepared.extend(_prepared(folder, recipe, world))
            except BaseException:
                # Nothing was trained: a half-made folder would only stand in the way of the next try.
                shutil.rmtree(path)
                with contextlib.suppress(OSError):  # another run may have come into one meanwhile
                    for parent in new:
                        parent.rmdir()
                raise

        prepared: list[Any] = []
        world.lead(begin)
        module, task = prepared or _prepared(folder, recipe, world)
        world.wait()
        return _complete(folder, recipe, module, task, device=device, console=console, command=command, watch=watch)


def resume(
    path: Path,
    *,
    console: Console | None = None,
    command: Sequence[str] = (),
    watch: Watch | None = None,
    world: World = ALONE,
) -> Result:
    """Go on with a run from its latest checkpoint; one that has finished is left as it is.

    Raises:
        RunError: there is no run, another process is training in it, or as for :func:`train`.
        DataError: the data cannot be used, or is not what the run was begun with.
    """
    folder = RunFolder(path)
    recipe = recipe_of(folder)
    device = torch_device(recipe.training.device)
    with ExitStack() as lock:

        def begin() -> Result | None:
            lock.enter_context(folder.locked())
            result = result_if_readable(folder.result)
            if result is not None and result.status == "finished":
                return result
            prepared.extend(_prepared(folder, recipe, world))
            return None

        prepared: list[Any] = []
        if (done := world.lead(begin)) is not None:
            if console is not None and world.leads:
                console.print(f"run {path} has finished already: nothing is trained")
            return done
        module, task = prepared or _prepared(folder, recipe, world)
        world.wait()
        return _complete(folder, recipe, module, task, device=device, console=console, command=command, watch=watch)


def recipe_of(folder: RunFolder) -> Recipe:
    """The recipe of a run.

    Raises:
        RunError: there is no run.
    """
    folder.require()
    return read_run_recipe(folder.recipe, training=TrainingOptions)


def make_task(recipe: Recipe) -> AbstractTask:
    """The task of a recipe, not prepared yet."""
    task: AbstractTask = registry.task(recipe.task.name).load()(recipe.task.options)
    return task


def _evaluate_part(
    model: torch.nn.Module,
    task: AbstractTask,
    split: Split,
    options: TrainingOptions,
    *,
    stop: StopRequest,
    report: AbstractReport,
    world: World,
) -> Evaluation:
    """Evaluate on as much of a held-out part as ``options.evaluation_tokens`` says.

    Raises:
        EvaluationAbandoned: a stop was asked for.
    """

    def each(done: Progress) -> None:
        stop.abandon_evaluation(world)
        report.evaluating(split, done)

    return evaluate(
        model,
        task,
        split,
        rows=options.evaluation_rows,
        precision=options.precision,
        tokens=options.evaluation_tokens,
        each=each,
        generated=True,
        world=world,
    )


def _prepared(folder: RunFolder, recipe: Recipe, world: World) -> tuple[TrainingModule, AbstractTask]:
    task = make_task(recipe)
    task.prepare(folder.path)
    # What cannot make a batch is said before anything is trained.
    task.train_batch(recipe.training.order, 0, recipe.training.rows)
    world.refuse(task, recipe.model, recipe.training)
    steps = budget_in_steps(task, recipe.model, recipe.training)
    # Seeded after the data, whose making may draw numbers or, from a cache, may not.
    seed_everything(recipe.training.seed)
    with first_weights(world):
        model = task.model(recipe.model)
    if recipe.training.recompute:
        recompute_blocks(model)
    if world.size > 1:
        # dropout is every process's own
        torch.manual_seed(recipe.training.seed + world.rank)
    return TrainingModule(model, recipe.training, steps=steps, recipe=_made_from(recipe), world=world), task


def _made_from(recipe: Recipe) -> dict[str, Value]:
    """What a run goes on with as it was begun; how it is trained, and where its data lie, may change."""
    free = ("training.", "task.source", "task.cache")
    return {name: value for name, value in hyperparameters(recipe).items() if not name.startswith(free)}


def _complete(
    folder: RunFolder,
    recipe: Recipe,
    module: TrainingModule,
    task: AbstractTask,
    *,
    device: torch.device,
    console: Console | None,
    command: Sequence[str],
    watch: Watch | None,
) -> Result:
    """Train to the end of the budget, evaluate, and write down how it went."""
    world = module.world
    if world.leads:
        folder.result.unlink(missing_ok=True)
        _record_start(folder, recipe, device, command)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with StopRequest() as stop, report_on(console if world.leads else None, steps=module.steps) as report:
        report.note(f"run {folder.path} on {device_name(device)}{world.summary}")
        report.note(task.summary)
        try:
            try:
                fit(
                    module,
                    task,
                    folder=folder,
                    device=device,
                    stop=stop,
                    report=report,
                    watch=watch,
                    hyperparameters=hyperparameters(recipe),
                )
                result = _finish(folder, recipe, module, task, device=device, stop=stop, report=report)
            except RunAbandoned as reason:
                result = _result("abandoned", recipe, module, device, error=str(reason))
            if world.leads:
                result.write(folder.result)
        except Exception as error:
            # On a full disk this fails too, and the first error has said so already.
            if world.leads:
                with contextlib.suppress(RunError):
                    _result("failed", recipe, module, device, error=str(error)).write(folder.result)
            raise
    return result


def _finish(
    folder: RunFolder,
    recipe: Recipe,
    module: TrainingModule,
    task: AbstractTask,
    *,
    device: torch.device,
    stop: StopRequest,
    report: AbstractReport,
) -> Result:
    """Keep the weights of the best validation, or the last ones where there was none or they are asked for, and
    evaluate them.
    """
    state, world, options = module.state, module.world, recipe.training
    trained_for = module.clock.seconds()
    if recipe.training.keep == "best" and state.best_step is not None and state.best_step != state.step:
        take(module.model, folder.checkpoints.best(state.best_step), world)
    save_whole(module.model, folder.weights, world)
    found: dict[Split, Evaluation] = {}
    try:
        for split in HELD_OUT:
            found[split] = _evaluate_part(module.model, task, split, options, stop=stop, report=report, world=world)
    except EvaluationAbandoned:
        found = {}
    cost = cost_of(recipe.model, make=task.model, length=task.length, grid=task.grid, device=device.type)
    result = replace(
        _result("finished" if found else "stopped", recipe, module, device, found=found),
        training_seconds=trained_for,
        non_embedding_parameters=cost.non_embedding,
        training_flops_per_token=cost.training.flops,
        decoding_flops_per_token=cost.decoding.flops if task.causal else None,
        state_bytes=cost.memory if task.causal else None,
        state_bytes_per_token=cost.growth if task.causal else None,
        standard=asdict(task.standard),
        signal=None if found else stop.signal,
    )
    # a row or a model that several processes share may be too large for one
    if found and world.leads and world.sequence is None and not world.sharded:
        _show(folder, recipe, module, task, result, cost)
    return result


def _show(
    folder: RunFolder, recipe: Recipe, module: TrainingModule, task: AbstractTask, result: Result, cost: ModelCost
) -> None:
    """Write what people look at beside the numbers."""
    options = recipe.training
    found = learned(
        module.model, recipe.model, task, cost, precision=options.precision, tokens=options.sample, seed=options.seed
    )
    found.write(folder.learned)
    with disk_full_named(folder.path), contextlib.closing(Events(folder.path)) as events:
        events.end(result, found)


def _result(
    status: Status,
    recipe: Recipe,
    module: TrainingModule,
    device: torch.device,
    *,
    found: dict[Split, Evaluation] | None = None,
    error: str | None = None,
) -> Result:
    state, found = module.state, found or {}
    seconds = module.clock.seconds()
    return Result(
        status=status,
        names=recipe.names,
        seed=recipe.training.seed,
        metrics={split: plain(each.metrics) for split, each in found.items()},
        targets={split: each.counts.targets for split, each in found.items()},
        steps=state.step,
        tokens=state.tokens,
        best_step=state.best_step,
        parameters=sum(parameter.numel() for parameter in module.model.parameters()),
        training_seconds=seconds,
        wall_seconds=seconds,
        peak_memory_bytes=peak_memory(device),
        device=device_name(device),
        error=error,
    )


def _record_start(folder: RunFolder, recipe: Recipe, device: torch.device, command: Sequence[str]) -> None:
    record: dict[str, Any] = {"seed": recipe.training.seed, "starts": []}
    if folder.record.exists():
        record = read_json(folder.record)
    record["starts"].append(provenance(list(command), device))
    write_json(folder.record, record)
