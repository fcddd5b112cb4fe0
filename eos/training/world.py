"""The processes that train one run together, as torchrun begins them; most runs have one.

Processes in a row share a sequence, ``training.sequence_parts`` of them; such groups share the rows of a step. Every
process makes the whole batch of a step, which is a pure function of seed and step, and takes its part of it. The first
process leads: it alone writes to the run's folder and shows progress.
"""

import datetime as dt
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import HashStore

from eos.config import ModelRecipe, SoftmaxMixer
from eos.errors import EOSError, RunError
from eos.models.layout import resolve_layout
from eos.parallel import SequenceGroup, over, whole
from eos.tasks.task import AbstractTask, Batch
from eos.training.config import TrainingOptions
from eos.training.provenance import versions
from eos.training.torchrun import begun_by_torchrun

T = TypeVar("T")
Number = TypeVar("Number", int, float)

#: How long a process waits for others in a step, and while the first prepares data, before they count as lost.
STEP, PREPARATION = dt.timedelta(seconds=60), dt.timedelta(hours=4)


class ProcessLost(RunError):
    """Another process of the run is gone, or does not answer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """The processes of a run, seen from one of them.

    Arguments:
        rank: this one's place, 0 ≤ rank < size.
        size: how many there are.
        local: how many of them are on this machine.
        parts: processes that share a sequence.
        sharded: each holds a share of the model; one process may.
        sequence: they, where there are several.
        prompt: they all, for small numbers on the CPU; waits no longer than a step.
        patient: they all; waits long.
    """

    rank: int = 0
    size: int = 1
    local: int = 1
    parts: int = 1
    sharded: bool = False
    sequence: SequenceGroup | None = None
    prompt: dist.ProcessGroup | None = None
    patient: dist.ProcessGroup | None = None

    @property
    def leads(self) -> bool:
        """Whether this process writes down what all do."""
        return self.rank == 0

    @property
    def rows(self) -> tuple[int, int]:
        """This process's share of the rows, and how many shares there are."""
        return self.rank // self.parts, self.size // self.parts

    @property
    def begins(self) -> bool:
        """Whether this process has the first part of its sequences, be it the whole."""
        return self.rank % self.parts == 0

    @property
    def summary(self) -> str:
        """For the log; nothing of one process."""
        shared = f", {self.parts} to a sequence" if self.parts > 1 else ""
        shared += ", with a share of the model each" if self.sharded else ""
        return f", one of {self.size} processes{shared}" if self.size > 1 else ""

    def refuse(self, task: AbstractTask, model: ModelRecipe, options: TrainingOptions) -> None:
        """Refuse what cannot be shared out equally.

        Raises:
            RunError: with the reason.
        """
        if options.sequence_parts != self.parts:
            raise RunError(
                f"training.sequence_parts={options.sequence_parts} needs processes that torchrun begins for one run"
            )
        if (options.strategy == "fsdp") is not self.sharded:
            raise RunError("training.strategy=fsdp is there for eos train with one seed alone; take ddp")
        shares = self.rows[1]
        if options.rows % (shares * options.accumulate):
            raise RunError(
                f"training.rows={options.rows} do not divide into {shares} processes with training.accumulate="
                f"{options.accumulate} equal parts each; take another number of rows, or of processes"
            )
        if self.sequence is None:
            return
        batch = task.train_batch(options.order, 0, 1)
        if batch.targets.shape != batch.inputs.shape[:2] or batch.arguments().keys() - {"reset"}:
            raise RunError(
                f"training.sequence_parts={self.parts} needs a task that asks for tokens of plain rows, not for a "
                "class or a translation; spread rows alone (training.sequence_parts=1)"
            )
        if task.length % self.parts:
            raise RunError(
                f"a row of {task.length} tokens does not divide into training.sequence_parts={self.parts}; take "
                "another task.length"
            )
        sizes = [self.tokens(next(iter(task.evaluation_batches(split, 1)))) for split in ("validation", "test")]
        least = min(task.length // self.parts, *(batch.inputs.shape[1] for batch in sizes))
        if (reach := _looks_back(model)) > least:
            raise RunError(
                f"training.sequence_parts={self.parts} leaves parts of {least} tokens, and a short convolution looks "
                f"back at {reach}: take fewer parts, or a longer task.length"
            )

    def part(self, batch: Batch) -> Batch:
        """What this process computes of a batch: some of the rows, and of these some of the tokens."""
        if self.size == 1:
            return batch
        place, shares = self.rows
        rows = batch.inputs.shape[0] // shares
        return self.tokens(batch.rows(slice(place * rows, (place + 1) * rows)))

    def tokens(self, batch: Batch) -> Batch:
        """This process's part of every row."""
        if self.sequence is None:
            return batch
        length = batch.inputs.shape[1]
        if length % self.parts:
            raise RunError(f"rows of {length} tokens do not divide into training.sequence_parts={self.parts}")
        size, place = length // self.parts, self.rank % self.parts
        mine = slice(place * size, (place + 1) * size)
        reset = None if batch.reset is None else batch.reset[:, mine]
        return replace(batch, inputs=batch.inputs[:, mine], targets=batch.targets[:, mine], reset=reset)

    def whole(self, x: Tensor) -> Tensor:
        """All tokens of rows of which every process has a part [B,T/parts]."""
        return x if self.sequence is None else whole(x, self.sequence, axis=1)

    def together(self) -> AbstractContextManager[None]:
        """What is computed inside is computed of sequences whose parts the processes have."""
        return over(self.sequence)

    def sum(self, x: Tensor) -> Tensor:
        """The sum of the x of all processes."""
        if self.size > 1:
            x = x.clone()
            dist.all_reduce(x)
        return x

    def maximum(self, number: Number) -> Number:
        """The largest of the numbers of all processes."""
        if self.size == 1:
            return number
        # not on a GPU, which nobody waits for at every step
        held = torch.tensor(number, dtype=torch.float64)
        dist.all_reduce(held, dist.ReduceOp.MAX, group=self.prompt)
        return type(number)(held.item())

    def gather(self, value: T) -> list[T]:
        """The values of all processes, by rank."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self.patient)
        return found

    def wait(self) -> None:
        """Wait until all are here, however long that takes."""
        self.gather(None)

    def lead(self, do: Callable[[], T]) -> T:
        """What the first process gets by doing something; the others wait for it, however long it takes.

        Raises:
            RunError: it raised, and so do all.
        """
        if self.size == 1:
            return do()
        told: list[Any] = [None, None]
        failure: BaseException | None = None
        if self.leads:
            try:
                told[0] = do()
            except BaseException as error:  # noqa: BLE001 - raised again below, once the others know
                failure, told[1] = error, str(error) or type(error).__name__
        dist.broadcast_object_list(told, src=0, group=self.patient)
        if failure is not None:
            raise failure
        if told[1] is not None:
            raise RunError(told[1])
        found: T = told[0]
        return found


#: A run of one process.
ALONE = World()


def _looks_back(model: ModelRecipe) -> int:
    """How many tokens before its own a short convolution or a token shift of the recipe sees."""
    mixers = [model.mixers[name] for name in set(resolve_layout(model))]
    shorts = [mixer.short_convolution for mixer in mixers if not isinstance(mixer, SoftmaxMixer)]
    return max([1, *(short.size - 1 for short in shorts if short is not None)])


@contextmanager
def _loss_named() -> Iterator[None]:
    """Turn what a connection says that another process has left into a sentence."""
    try:
        yield
    except EOSError:
        raise
    except RuntimeError as error:
        # gloo raises no error of its own, and names itself
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        first = str(error).partition("\n")[0]
        raise ProcessLost(
            f"another process of this run is gone, or has not answered within {STEP.seconds} seconds ({first})"
        ) from error


@contextmanager
def assembled(options: TrainingOptions) -> Iterator[World]:
    """The processes that torchrun has begun, once all are here; this one alone where it has not.

    Raises:
        RunError: they do not divide, or have other versions of what numbers depend on.
        ProcessLost: one of them is, now or inside of the ``with`` block.
    """
    size = begun_by_torchrun()
    parts = options.sequence_parts
    if size % parts:
        raise RunError(
            f"training.sequence_parts={parts} does not divide {size} process{'es' * (size > 1)}: begin a multiple of "
            f"it, as in torchrun --nproc-per-node {parts} --no-python eos train …"
        )
    if size == 1 and options.strategy == "ddp":
        yield ALONE
        return
    cuda = options.device != "cpu" and torch.cuda.is_available()
    local = int(os.environ["LOCAL_WORLD_SIZE"]) if size > 1 else 1
    if cuda and local > torch.cuda.device_count():
        raise RunError(
            f"{local} processes on a machine of {torch.cuda.device_count()} GPUs: begin one for each, or take "
            "training.device=cpu"
        )
    backend = "nccl" if cuda else "gloo"
    with _loss_named():
        if size == 1:
            dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
        else:
            if cuda:
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            dist.init_process_group(backend, timeout=STEP)
        try:
            yield _world(options, size, local)
        finally:
            dist.destroy_process_group()


def _world(options: TrainingOptions, size: int, local: int) -> World:
    rank, parts = dist.get_rank(), options.sequence_parts
    sequence = None
    if parts > 1:
        # every process makes every group, in the same order
        groups = [dist.new_group(list(range(first, first + parts)), timeout=STEP) for first in range(0, size, parts)]
        sequence = SequenceGroup(processes=groups[rank // parts], form=options.sequence_form)
    world = World(
        rank=rank,
        size=size,
        local=local,
        parts=parts,
        sharded=options.strategy == "fsdp",
        sequence=sequence,
        prompt=dist.new_group(backend="gloo", timeout=STEP),
        patient=dist.new_group(backend="gloo", timeout=PREPARATION),
    )
    every = world.gather(versions())
    for place, theirs in enumerate(every):
        if theirs != every[0]:
            names = sorted(name for name in theirs | every[0] if theirs.get(name) != every[0].get(name))
            odd = ", ".join(f"{name} {theirs.get(name)} and not {every[0].get(name)}" for name in names)
            raise RunError(f"process {place} has other versions than the first: {odd}")
    return world
