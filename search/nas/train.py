"""Trains the network that shares its weights, until the ranking of some networks inside it holds still."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau
from torch import Tensor
from torch.nn import functional as F

from eos.compose.run import RunRecipe
from eos.tasks.task import IGNORED, Batch
from eos.training.config import TrainingOptions
from eos.training.evaluation import compute, evaluate, nats_of
from eos.training.files import replacing
from eos.training.fit import fit, torch_device
from eos.training.folder import RunFolder
from eos.training.module import TrainingModule
from eos.training.report import AbstractReport
from eos.training.state import seed_everything
from eos.training.stopping import StopRequest
from search.nas.architecture import Architecture
from search.nas.space import Space
from search.nas.supernet import Supernet

Recipe = RunRecipe[TrainingOptions]


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a ranking was like.

    Arguments:
        step: of training.
        losses: nats a target of every probe, in their order.
        tau: Kendall's τ with the look before; None of the first.
    """

    step: int
    losses: list[float]
    tau: float | None


class Probes:
    """Ranks the same networks again and again, and keeps every look in a file.

    Arguments:
        path: of the looks, one line each.
        module: whose model is a supernet; told where training is over.
        stop: a look is given up where a stop was asked for.
    """

    def __init__(self, supernet: Supernet, *, path: Path, module: TrainingModule, stop: StopRequest) -> None:
        self._supernet = supernet
        self._path = path
        self._module = module
        self._stop = stop
        chosen, draw = supernet.space.nas.supernet, np.random.default_rng([supernet.space.nas.seed, 1])
        self.networks = [supernet.space.random(draw) for _ in range(chosen.probes)]

    def __call__(self, step: int, metrics: Mapping[str, float]) -> None:
        """Look; what an interrupted run saw after its last checkpoint is seen anew."""
        looks = [look for look in read_looks(self._path) if look.step < step]
        losses = []
        for network in self.networks:
            if self._stop.signal is not None:
                return
            losses.append(loss_of(self._supernet, network, self._module.training_options))
        tau = float(kendalltau(looks[-1].losses, losses).statistic) if looks else None
        looks.append(Look(step=step, losses=losses, tau=tau))
        with replacing(self._path) as temporary:
            temporary.write_text("".join(f"{json.dumps(asdict(look))}\n" for look in looks))
        self._module.state.reached = is_stable(looks, self._supernet.space)


def read_looks(path: Path) -> list[Look]:
    """The looks in a file; none where there is none."""
    if not path.exists():
        return []
    return [Look(**json.loads(line)) for line in path.read_text().splitlines()]


def is_stable(looks: Sequence[Look], space: Space) -> bool:
    """Whether the last looks all rank as those before them do."""
    chosen = space.nas.supernet
    last = [look.tau for look in looks[-chosen.looks :]]
    return len(last) == chosen.looks and all(tau is not None and tau >= chosen.threshold for tau in last)


def loss_of(supernet: Supernet, network: Architecture, options: TrainingOptions) -> float:
    """Nats a target of a network on the validation part, with shared weights; the usual network is selected then."""
    supernet.select(network)
    task = supernet.space.task
    found = evaluate(
        supernet,
        task,
        "validation",
        rows=options.evaluation_rows,
        precision=options.precision,
        tokens=supernet.space.nas.supernet.tokens,
    )
    supernet.rest()
    return found.loss


def networks_of(space: Space, step: int) -> list[Architecture]:
    """The networks that a step trains: a largest, a smallest and some random ones, whatever steps came before."""
    draw = np.random.default_rng([space.nas.seed, 2, step])
    return [space.largest(draw), space.smallest(draw), *(space.random(draw) for _ in range(space.nas.supernet.random))]


def sandwich(supernet: Supernet, options: TrainingOptions, step: int, batch: Batch) -> Iterator[Tensor]:
    """The losses of a largest, a smallest and some random networks, each an equal share of the step's.

    With distillation, what is not the largest has the divergence from the largest's predictions as its loss.

    Source: arXiv:1903.05134, section 3 (the sandwich rule, in-place distillation)
    """
    networks, distil = networks_of(supernet.space, step), supernet.space.nas.supernet.distil
    taught: Tensor | None = None
    for network in networks:
        supernet.select(network)
        logits = compute(supernet, batch, options.precision)
        if taught is None:
            loss = nats_of(logits, batch)
            if distil:
                taught = logits.detach().softmax(-1)
        else:
            asked = (batch.targets != IGNORED).flatten()
            loss = F.cross_entropy(logits.flatten(0, -2)[asked], taught.flatten(0, -2)[asked], reduction="sum")
        yield loss / len(networks)
    supernet.rest()


def train_supernet(
    space: Space, base: Recipe, folder: RunFolder, *, stop: StopRequest, report: AbstractReport
) -> tuple[Supernet, int]:
    """The network with its weights trained, from the folder's last checkpoint on where there is one; and its steps.

    ``stop`` tells whether it was stopped before its end.

    Arguments:
        base: rows, learning rate, precision, device and what is computed again; the budget is the space's.

    Raises:
        RunError: a step was not finite, or the disk is full.
    """
    chosen = space.nas.supernet
    options = replace(
        base.training.for_steps(chosen.steps),
        validate_every=min(chosen.every, chosen.steps),
        patience=None,
        stop_at=None,
    )
    seed_everything(options.seed)
    supernet = Supernet(space, recompute=options.recompute)
    module = TrainingModule(
        supernet, options, steps=chosen.steps, losses=lambda step, rows: sandwich(supernet, options, step, rows)
    )
    probes = Probes(supernet, path=folder.path / "looks.jsonl", module=module, stop=stop)
    fit(
        module,
        space.task,
        folder=folder,
        device=torch_device(options.device),
        stop=stop,
        report=report,
        watch=probes,
    )
    return supernet, module.state.step
