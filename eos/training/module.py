"""One training step, and all that a checkpoint must hold of it."""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW

from eos.errors import RunError
from eos.tasks.task import Batch, Counts
from eos.training.config import TrainingOptions
from eos.training.data import StepBatch, parts
from eos.training.evaluation import summed_nats
from eos.training.events import Value
from eos.training.optimizer import adamw, clip_gradients
from eos.training.schedule import factor, share_used
from eos.training.sharding import average_unsharded, shard
from eos.training.state import Clock, TrainingState, random_state, set_random_state
from eos.training.world import ALONE, World

#: From a step and some of its rows to losses in nats, summed over the rows' targets, whose sum is the step's; each is
#: asked for when the gradient of the one before is found.
Losses = Callable[[int, Batch], Iterable[Tensor]]


class TrainingModule(LightningModule):
    """Trains ``model``: one batch of the loader is one optimiser step.

    The optimiser is stepped by hand, so that a step's parts weigh by their targets: with any ``accumulate`` the
    gradient is that of the mean over all targets of the step. A step whose loss or gradient is not finite changes
    nothing, and neither does any step after it: the weights stay the last good ones until :attr:`lost_steps` is
    read, which may be many steps later, because reading waits for the device.

    Arguments:
        steps: the budget in steps, or None when time is the only budget.
        recipe: names and numbers that a checkpoint must have been made with, where it has them.
        losses: what is descended; None: the model's cross-entropy.
        world: the processes that train together.
    """

    _nats: Tensor
    _norm: Tensor
    _lost: Tensor
    _lost_steps: Tensor

    def __init__(
        self,
        model: nn.Module,
        options: TrainingOptions,
        *,
        steps: int | None,
        recipe: Mapping[str, Value] | None = None,
        losses: Losses | None = None,
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self._losses: Losses = losses or (lambda step, rows: [summed_nats(model, rows, options.precision)])
        self.automatic_optimization = False
        self.world = world
        self.model = model
        self.training_options = options
        self.steps = steps
        self.recipe = dict(recipe or {})
        self.state = TrainingState()
        self.clock = Clock()
        self.learning_rate = 0.0
        self._random: dict[str, Any] | None = None
        self._optimizer: AdamW | None = None
        self.register_buffer("_nats", torch.zeros((), dtype=torch.float64), persistent=False)
        self.register_buffer("_norm", torch.zeros(()), persistent=False)
        self.register_buffer("_lost", torch.zeros(()), persistent=False)
        self.register_buffer("_lost_steps", torch.zeros(()), persistent=False)

    def configure_model(self) -> None:
        """Spread the model over the processes where each holds a share."""
        if self.world.sharded:
            assert self.device_mesh is not None
            shard(self.model, self.device_mesh["data_parallel"], self.world)

    def configure_optimizers(self) -> AdamW:
        """AdamW; kept at hand because the trainer's wrapper hides where ``found_inf`` is to be set."""
        self._optimizer = adamw(self.model, self.training_options)
        return self._optimizer

    def transfer_batch_to_device(self, batch: StepBatch, device: torch.device, dataloader_idx: int) -> StepBatch:
        """The batch on the device; the counts are plain numbers."""
        return StepBatch(batch=batch.batch.to(device), counts=batch.counts)

    def training_step(self, batch: StepBatch, batch_idx: int) -> None:
        """Gradient of the mean loss over the step's targets, clipped, and one step of AdamW."""
        options, state, optimizer = self.training_options, self.state, self._optimizer
        assert optimizer is not None
        share = factor(options.schedule, self.share_used(), warmup=options.warmup, final=options.final)
        self.learning_rate = options.learning_rate * share
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate
        optimizer.zero_grad(set_to_none=True)
        nats = torch.zeros((), device=self.device)
        with self.world.together():
            for number, rows in enumerate(parts(self.world.part(batch.batch), options.accumulate), start=1):
                with self._unshared(number < options.accumulate):
                    for loss in self._losses(state.step, rows):
                        # gradients of several processes are averaged, and theirs sum up to the step's
                        self.manual_backward(loss * self.world.size / max(1, batch.counts.targets))
                        nats = nats + loss.detach()
        nats = self.world.sum(nats)
        if self.world.sharded:
            average_unsharded(self.model, self.world)
        self._norm = clip_gradients(self.model, options.clip or math.inf)
        self._lost = torch.maximum(self._lost, 1.0 - (self._norm + nats).isfinite().float())
        # The fused optimiser leaves everything as it is where this is 1, without waiting for the device.
        optimizer.found_inf = self._lost  # type: ignore[attr-defined]
        wrapped = self.optimizers()
        assert not isinstance(wrapped, list)
        wrapped.step()
        self._lost_steps += self._lost
        self._nats += nats
        state.counts += batch.counts
        state.step += 1
        state.tokens += batch.batch.tokens

    def _unshared(self, kept: bool) -> AbstractContextManager[None]:
        """Where the gradients inside stay with this process, until later ones are added."""
        strategy = self.trainer.strategy
        if kept and isinstance(strategy, DDPStrategy):
            assert isinstance(strategy.model, DistributedDataParallel)
            return strategy.model.no_sync()
        return nullcontext()

    def share_used(self) -> float:
        """The share of the budget that is used up when the coming step is done."""
        return share_used(self.training_options, steps=self.steps, step=self.state.step, seconds=self.seconds())

    def seconds(self) -> float:
        """Training time so far; where it decides anything, the same for all processes, which ask at once."""
        seconds = self.clock.seconds()
        return seconds if self.training_options.minutes is None else self.world.maximum(seconds)

    def lost_steps(self) -> int:
        """How many of the latest steps changed nothing, because the first of them was not finite. Waits."""
        return int(self._lost_steps.item())

    def gradient_norm(self) -> float:
        """The norm of the latest gradient, before clipping. Waits."""
        return self._norm.item()

    def take_loss(self) -> tuple[float, Counts]:
        """The summed training loss in nats since the last call, and what it is divided by. Waits."""
        taken = self._nats.item(), self.state.counts
        self._nats.zero_()
        self.state.counts = Counts()
        return taken

    def take_up(self) -> None:
        """Let time and random numbers go on where the checkpoint left them; what was set up since drew some."""
        self.clock = Clock(self.state.seconds)
        if self._random is not None:
            set_random_state(self._random)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the run's position and the random states."""
        self.state.nats = self._nats.item()
        self.state.seconds = self.clock.seconds()
        position = {"state": self.state.to_plain(), "random": self.world.gather(random_state())}
        checkpoint["eos"] = position | {"recipe": self.recipe}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them back.

        Raises:
            RunError: the checkpoint is one of another recipe.
        """
        saved = checkpoint["eos"]
        then = saved.get("recipe", {})
        if other := [name for name in self.recipe if name in then and then[name] != self.recipe[name]]:
            told = "; ".join(f"{name} was {then[name]} and is {self.recipe[name]}" for name in other[:3])
            raise RunError(f"the checkpoint is of another recipe ({told}): put recipe.yaml back, or begin a new run")
        self.state = TrainingState.from_plain(saved["state"])
        self.clock = Clock(self.state.seconds)
        self._nats.fill_(self.state.nats)
        random = saved["random"]
        self._random = random[self.world.rank] if len(random) == self.world.size else None
        if self._random is None:
            # of another number of processes: dropout that no process has drawn before
            torch.manual_seed(hash((self.training_options.seed, self.state.step, self.world.rank)))
