"""Drives Lightning's trainer through a run's folder."""

import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

import torch
from lightning.pytorch import Trainer

from eos.compose.cost import cost_of
from eos.config import ModelRecipe
from eos.errors import RunError
from eos.tasks.task import AbstractTask
from eos.training.bookkeeping import Bookkeeping, Watch
from eos.training.config import Device, TrainingOptions
from eos.training.data import TrainingData
from eos.training.events import Value
from eos.training.folder import RunFolder
from eos.training.module import TrainingModule
from eos.training.report import AbstractReport
from eos.training.stopping import StopRequest
from eos.training.strategies import processes


def fit(
    module: TrainingModule,
    task: AbstractTask,
    *,
    folder: RunFolder,
    device: torch.device,
    stop: StopRequest,
    report: AbstractReport,
    watch: Watch | None = None,
    hyperparameters: Mapping[str, Value] | None = None,
) -> None:
    """Train from the folder's latest checkpoint, or from the start where there is none; ``module`` ends on ``device``.

    Its state then tells how far it came, and ``stop`` whether it was stopped. Where validations were asked for, the
    last step is validated too, unless training was stopped.

    Arguments:
        hyperparameters: what TensorBoard compares the run by.

    Raises:
        RunError: a step was not finite or needed too much memory, the disk is full, or the folder is damaged.
        RunAbandoned: ``watch`` raised it.
    """
    options = module.training_options
    with (
        quiet_lightning(),
        closing(
            Bookkeeping(
                folder,
                task,
                module=module,
                stop=stop,
                report=report,
                watch=watch,
                hyperparameters=hyperparameters or {},
            )
        ) as bookkeeping,
    ):
        trainer = Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            **processes(module.world, device),
            max_epochs=-1,
            max_steps=-1 if module.steps is None else module.steps,
            callbacks=[bookkeeping],
            # Logs, checkpoints, validations and bars are the bookkeeping's.
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            use_distributed_sampler=False,
        )
        folder.checkpoints.path.mkdir(parents=True, exist_ok=True)
        listed = folder.checkpoints.index.exists()
        saved, damaged = module.world.lead(folder.checkpoints.latest)
        if saved is not None:
            unchecked = "" if listed else f", unchecked: {folder.checkpoints.index}, with its checksum, is lost"
            report.note(f"going on from {saved.name}{unchecked}")
        for path in damaged:
            report.note(f"{path} is damaged: going on from {saved}")
        try:
            trainer.fit(module, datamodule=TrainingData(task, options), ckpt_path=saved)
        except torch.OutOfMemoryError as error:
            raise RunError(
                f"step {module.state.step + 1} needs more memory than {device} has; compute its {options.rows} rows in "
                f"more parts (training.accumulate is {options.accumulate}), or lower training.rows or task.length"
            ) from error
        module.to(device)
        bookkeeping.open_log()  # of a run that had no step left to take
        state = module.state
        if stop.signal is None and options.validate_every is not None and state.validated_step != state.step:
            bookkeeping.validate()


def budget_in_steps(task: AbstractTask, model: ModelRecipe, options: TrainingOptions) -> int | None:
    """The budget in steps, or None when time is the only budget."""
    parameters = 0
    if options.tokens_per_parameter is not None:
        parameters = cost_of(model, make=task.model, length=task.length, grid=task.grid).non_embedding
    return steps_of(options, length=task.length, parameters=parameters)


def steps_of(options: TrainingOptions, *, length: int, parameters: int) -> int | None:
    """The budget in steps of rows of so many tokens, for so many parameters outside of embedding and head."""
    tokens: float | None = options.tokens
    if options.tokens_per_parameter is not None:
        tokens = options.tokens_per_parameter * parameters
    return options.steps if tokens is None else math.ceil(tokens / (options.rows * length))


def torch_device(device: Device) -> torch.device:
    """The device that a recipe's word stands for.

    Raises:
        RunError: there is no CUDA device where one is asked for.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise RunError("training.device is cuda, but PyTorch finds no CUDA device; choose auto or cpu")
    return torch.device("cuda" if device != "cpu" and available else "cpu")


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's advice to itself: it concerns defaults that a run sets on purpose."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
