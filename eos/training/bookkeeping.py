"""What happens between two steps: a row of the log, a validation, a stop, a checkpoint; in this order."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from eos.errors import RunError
from eos.tasks.task import AbstractTask, Standard
from eos.training.data import parts
from eos.training.evaluation import Progress, evaluate, summed_nats
from eos.training.events import Value
from eos.training.folder import RunFolder
from eos.training.guard import first_not_finite
from eos.training.log import MetricsLog
from eos.training.module import TrainingModule
from eos.training.report import AbstractReport
from eos.training.sharding import keep
from eos.training.stopping import EvaluationAbandoned, StopRequest

#: Told the step and the metrics of every validation; may raise :class:`~eos.training.stopping.RunAbandoned`.
Watch = Callable[[int, Mapping[str, float]], None]


class Bookkeeping(Callback):
    """Keeps a run's folder so that the run can be killed at any moment and go on.

    What a checkpoint refers to (rows of the log, the best weights) is on disk before it; what it no longer refers to
    is deleted after it.
    """

    def __init__(
        self,
        folder: RunFolder,
        task: AbstractTask,
        *,
        module: TrainingModule,
        stop: StopRequest,
        report: AbstractReport,
        watch: Watch | None,
        hyperparameters: Mapping[str, Value],
    ) -> None:
        self._folder = folder
        self._task = task
        self._hyperparameters = hyperparameters
        self._module = module
        self._options = module.training_options
        self._world = module.world
        self._log: MetricsLog | None = None
        self._stop = stop
        self._report = report
        self._watch = watch
        self._rate_since: tuple[float, int] | None = None
        self._saved_step: int | None = None
        # Found once: a trivial method's figure may take a while.
        self._standard: Standard | None = None

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()

    def open_log(self) -> None:
        """Open the log where the checkpoint left it, once."""
        if self._log is None and self._world.leads:
            state = self._module.state
            self._log = MetricsLog(self._folder.metrics, length=state.log_bytes, seconds=state.seconds)
            self._log.events.begin(self._hyperparameters)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The checkpoint is loaded: open the log where it stood, and do what a stopped run had left to do there."""
        state = self._module.state
        self.open_log()
        self._saved_step = state.step or None
        self._stop.listen()
        self._module.take_up()
        if self._validation_due() and state.validated_step != state.step:
            self.validate()
            self._save(trainer)
        trainer.should_stop = self._is_over()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Time the steps from one row of the log to the next, without what lies between."""
        if self._rate_since is None:
            self._rate_since = (self._module.clock.seconds(), self._module.state.tokens)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A row of the log, a validation, a stop, a checkpoint, where they are due."""
        module, options = self._module, self._options
        step = module.state.step
        if step % options.log_every == 0:
            self._write_row()
        improved = self._validation_due() and self.validate()
        trainer.should_stop = self._is_over()
        if improved or trainer.should_stop or step == module.steps or step % options.checkpoint_every == 0:
            self._save(trainer)
        self._report.step(step=step, used=module.share_used(), seconds=module.clock.seconds())

    def validate(self) -> bool:
        """Validate this step and keep its weights if none was better; whether that is so. A stop gives it up."""
        module, options, state = self._module, self._options, self._module.state
        self._refuse_lost_steps()
        try:
            found = evaluate(
                module.model,
                self._task,
                "validation",
                rows=options.evaluation_rows,
                precision=options.precision,
                tokens=options.validation_tokens,
                each=self._between_batches,
                world=self._world,
            )
        except EvaluationAbandoned:
            return False
        values = {f"validation/{name}": value for name, value in found.metrics.items()}
        if self._log is not None:
            self._log.write(step=state.step, seconds=module.clock.seconds(), values=values)
        self._report.evaluated("validation", state.step, found.metrics)
        state.validated_step = state.step
        state.reached = self._reached(found.metrics)
        if self._watch is not None:
            self._watch(state.step, found.metrics)
        # A loss that is not a number is not better than any.
        if not (math.isfinite(found.loss) and (state.best_loss is None or found.loss < state.best_loss)):
            state.stale += 1
            return False
        state.best_step, state.best_loss, state.stale = state.step, found.loss, 0
        keep(module.model, self._folder.checkpoints.best(state.step), self._world)
        return True

    def _reached(self, metrics: dict[str, float]) -> bool:
        """Whether the goal of training is."""
        goal = self._options.stop_at
        if goal is None:
            return False
        if self._standard is None:
            self._standard = self._task.standard
        standard = self._standard
        if standard.metric not in metrics:
            raise RunError(
                f"training.stop_at waits for {standard.metric}, which validations do not tell ({', '.join(metrics)}); "
                "set it to null, and use patience"
            )
        value = metrics[standard.metric]
        return value >= goal if standard.higher else value <= goal

    def _between_batches(self, done: Progress) -> None:
        self._stop.abandon_evaluation(self._world)
        self._report.evaluating("validation", done)

    def _validation_due(self) -> bool:
        every, step = self._options.validate_every, self._module.state.step
        return every is not None and step > 0 and step % every == 0

    def _is_over(self) -> bool:
        """Whether training ends here, by a signal, time, patience or goal; the trainer counts the steps."""
        options, module = self._options, self._module
        self._stop.agree(self._world)
        return (
            self._stop.signal is not None
            or (options.minutes is not None and module.seconds() >= 60 * options.minutes)
            or (options.patience is not None and module.state.stale >= options.patience)
            or module.state.reached
        )

    def _write_row(self) -> None:
        module = self._module
        self._refuse_lost_steps()
        nats, counts = module.take_loss()
        seconds = module.clock.seconds()
        values = {f"train/{name}": value for name, value in self._task.metrics(nats, counts).items()}
        values["train/learning_rate"] = module.learning_rate
        values["train/gradient_norm"] = module.gradient_norm()
        assert self._rate_since is not None
        began, tokens = self._rate_since
        values["train/tokens_per_second"] = (module.state.tokens - tokens) / (seconds - began)
        self._rate_since = None
        if self._log is not None:
            self._log.write(step=module.state.step, seconds=seconds, values=values)
        self._report.row(values)

    def _save(self, trainer: Trainer) -> None:
        state = self._module.state
        self._refuse_lost_steps()
        if self._log is not None:
            self._log.synchronise()
            state.log_bytes = self._log.length
        trainer.save_checkpoint(self._folder.checkpoints.at(state.step))
        self._saved_step = state.step
        self._world.lead(lambda: self._folder.checkpoints.add(state.step, best_step=state.best_step))

    def _refuse_lost_steps(self) -> None:
        """Raise when a step was not finite; one process computes its batch again to find out where that began."""
        module = self._module
        lost = module.lost_steps()
        if not lost:
            return
        good = module.state.step - lost
        seen = "loss or gradient are not finite"
        if self._world.size == 1:
            seen = self._seen_again(good)
        saved = "nothing was saved"
        if self._saved_step is not None:
            saved = f"the last good checkpoint is {self._folder.checkpoints.at(self._saved_step)}"
        raise RunError(f"step {good + 1}: {seen}; {saved}. Lower training.learning_rate or training.clip.")

    def _seen_again(self, good: int) -> str:
        """What is not finite where the step after so many good ones is computed again; it needs the memory of one."""
        module, options = self._module, self._options
        batch = self._task.train_batch(options.order, good, options.rows).to(module.device)
        losses = (
            partial(summed_nats, module.model, rows, options.precision) for rows in parts(batch, options.accumulate)
        )
        place = next(filter(None, (first_not_finite(module.model, loss) for loss in losses)), None)
        return f"{place} not finite" if place else "loss or gradient are not finite, though they are when repeated"
