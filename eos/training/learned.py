"""What a trained model shows of itself: how long its memories keep what was written, and a text of its own."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from eos.compose.cost import MixerCost, ModelCost
from eos.compose.equation import memory_equation, read_equation
from eos.config import ModelRecipe
from eos.layer.composition import Composition
from eos.models import LanguageModel, generate
from eos.record import LOG_FLOOR, Recurrence, Transition
from eos.tasks.task import AbstractTask, Batch
from eos.training.config import Precision
from eos.training.evaluation import compute
from eos.training.files import read_json, write_json
from eos.training.latency import latency

#: Held-out tokens over which decays are averaged, as far as one row is not longer.
TOKENS = 2048
#: Seconds that the latency of a run is looked at for: a search has many runs.
GLANCE = 0.1
#: Channels of a head that are kept, at even ranks: a picture shows no more.
CHANNELS = 64
#: Of a text that the model writes: tokens of a held-out text that it goes on with, and how it is drawn.
PROMPT, TEMPERATURE = 16, 0.8
#: Steps at once in a mean that is not the product of means.
_SLICE = 16


@dataclass(frozen=True, kw_only=True)
class Kept:
    """How long the memory of one layer keeps what was written, over some held-out tokens.

    Arguments:
        layer: its index.
        mixer: its name in the recipe.
        stack: "blocks", or "encoder" where it stands in one.
        over: the axes of a head's memory along which decays differ: "head" (none), "K", "V" or "K × V".
        learned: whether training could change the decays.
        erase: whether a write also erases, which the decays do not tell.
        length: tokens of a row.
        log_decay: E[log o] in nats a step, ≤ 0, of each head: its channels from the shortest to the longest, at most
            64 of them at even ranks.
        phase: E[|φ|] in radians a step in the same way; None where nothing turns.
    """

    layer: int
    mixer: str
    stack: str
    over: str
    learned: bool
    erase: bool
    length: int
    log_decay: list[list[float]]
    phase: list[list[float]] | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One mixer as it was run: its memory's equations, none for one without, and the engine's plan as text."""

    equations: list[str]
    plan: str


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What learned.json holds.

    Arguments:
        mixers: by name.
        memory: of all EOS layers.
        samples: texts that the model wrote, their prompt first.
        latency_ms: of a forward pass of one held-out row; None of runs before it was measured.
    """

    mixers: dict[str, Row]
    memory: list[Kept]
    samples: list[str]
    latency_ms: float | None = None

    def write(self, path: Path) -> None:
        """Replace ``path`` by this."""
        write_json(path, asdict(self))


def read_learned(path: Path) -> Learned:
    """What stands in ``path``.

    Raises:
        RunError: it is not JSON.
        ValueError: it is something else.
    """
    return TypeAdapter(Learned).validate_python(read_json(path))


@torch.no_grad()
def learned(
    model: nn.Module,
    recipe: ModelRecipe,
    task: AbstractTask,
    cost: ModelCost,
    *,
    precision: Precision,
    tokens: int,
    seed: int,
) -> Learned:
    """What a trained model shows of itself on the validation part.

    Arguments:
        cost: of the recipe, at the task's length.
        tokens: of the text that it writes, where its task has texts; 0: none.
        seed: of that text.
    """
    training = model.training
    model.eval()
    try:
        device = next(model.parameters()).device
        batch = next(iter(task.evaluation_batches("validation", max(1, TOKENS // task.length)))).to(device)
        return Learned(
            mixers={name: _row(part) for name, part in cost.mixers.items()},
            memory=list(_memories(model, recipe, batch, precision)),
            samples=_samples(model, task, batch, tokens=tokens, seed=seed),
            latency_ms=latency(model, task, precision=precision, seconds=GLANCE),
        )
    finally:
        model.train(training)


def _row(cost: MixerCost) -> Row:
    equations = []
    if isinstance(cost.record, Recurrence):
        equations = [memory_equation(cost.record), read_equation(cost.record)]
    return Row(equations=equations, plan="" if cost.plan is None else str(cost.plan))


def _memories(model: nn.Module, recipe: ModelRecipe, batch: Batch, precision: Precision) -> Iterator[Kept]:
    found: dict[Composition, Transition] = {}

    def keep(module: nn.Module, arguments: Any, outputs: Any) -> None:
        assert isinstance(module, Composition)
        # A layer that looks both ways composes twice: the first pass is the one forwards.
        found.setdefault(module, outputs[0].transition)

    names = {}
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            # What stands before the first block, such as positions, keeps a memory of its own, but is no layer.
            if isinstance(module, Composition) and "blocks" in name.split("."):
                names[module] = name.split(".")[0]
                hooks.callback(module.register_forward_hook(keep).remove)
        compute(model, batch, precision)
    for composition, transition in found.items():
        decay, phase = mean_log_decay(transition), mean_phase(transition)
        if not decay.isfinite().all():
            continue
        heads = composition.context.heads
        stages = list(composition.oscillation.parameters())
        yield Kept(
            layer=composition.context.layer,
            mixer=next((name for name, mixer in recipe.mixers.items() if mixer == composition.mixer), ""),
            stack=names[composition],
            over=_over(decay),
            learned=any(parameter.requires_grad for parameter in stages),
            erase=transition.erase is not None,
            length=batch.inputs.shape[1],
            log_decay=_ranked(decay, heads),
            phase=None if phase is None else _ranked(phase, heads),
        )


def mean_log_decay(transition: Transition) -> Tensor:
    """E[log o] over rows and steps, [H|1, K|K/2|1, V|1], float64; zero where nothing decays."""
    total = torch.zeros(1, 1, 1, dtype=torch.float64)
    for name, axes in (("head", (1, 1)), ("key", (-1, 1)), ("value", (1, -1))):
        part: Tensor | None = getattr(transition, name)
        if part is not None:
            total = total + part.double().mean((0, 1)).reshape(part.shape[2], *axes).cpu()
    for rate, _, step in transition.terms:
        if rate is not None and transition.link == "identity":
            total = total + (rate.double() * step.double().mean((0, 1))).cpu()
        elif rate is not None:
            # log_sigmoid of a mean is not the mean of log_sigmoid; and all steps at once would be a memory each.
            sums = [
                logsigmoid(rate.double() * piece.double()).sum((0, 1)) / transition.tau
                for piece in step.split(_SLICE, dim=1)
            ]
            total = total + (torch.stack(sums).sum(0) / (step.shape[0] * step.shape[1])).cpu()
    return total.clamp(LOG_FLOOR, 0.0)


def mean_phase(transition: Transition) -> Tensor | None:
    """E[|φ|] over rows and steps, [H|1, K/2, V|1], float64; None where nothing turns."""
    if not transition.turns:
        return None
    total = torch.zeros(1, 1, 1, dtype=torch.float64)
    if transition.phase is not None:
        phase = transition.phase.double().abs().mean((0, 1))
        total = total + (phase if phase.dim() == 3 else phase[..., None]).cpu()
    for _, rate, step in transition.terms:
        if rate is not None:
            total = total + (rate.double().abs() * step.double().abs().mean((0, 1))).cpu()
    return total


def _over(decay: Tensor) -> str:
    return {(False, False): "head", (True, False): "K", (False, True): "V", (True, True): "K × V"}[
        decay.shape[1] > 1, decay.shape[2] > 1
    ]


def _ranked(values: Tensor, heads: int) -> list[list[float]]:
    """Of each head, its channels in ascending order; of many, as many at even ranks, the ends among them."""
    rows = values.flatten(1).sort(1).values.expand(heads, -1)
    if rows.shape[1] > CHANNELS:
        rows = rows[:, torch.linspace(0, rows.shape[1] - 1, CHANNELS).round().long()]
    return [[float(f"{value:.4g}") for value in row] for row in rows.tolist()]


def _samples(model: nn.Module, task: AbstractTask, batch: Batch, *, tokens: int, seed: int) -> list[str]:
    """One text of a language model whose tokens are a text's; none of any other."""
    if not tokens or not isinstance(model, LanguageModel) or task.tokenizer() is None:
        return []
    prompt = batch.inputs[:1, :PROMPT]
    written = generate(model, prompt, tokens=tokens, temperature=TEMPERATURE, seed=seed, capture=False)
    return [task.decode([*prompt[0].tolist(), *written[0].tolist()])]
