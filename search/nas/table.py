"""What the parts of a network cost: parameters, FLOPs and state exactly, latency as measured on this device.

A network's cost is that of its blocks, one by one, and of the rest (embedding, final norm, head), which depends on the
width alone. So the cost of any network is a sum of a few hundred numbers.
"""

import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from eos.compose.model import flat
from eos.models.block import Block
from eos.tasks.task import Batch
from eos.training.config import Precision
from eos.training.files import read_json, write_json
from eos.training.latency import timed
from eos.training.provenance import device_name
from search.nas.architecture import Architecture, Layer
from search.nas.space import Space

_STACKS = ("layers", "encoder")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a network, or a part of one, costs.

    Arguments:
        parameters: trained numbers; those that layers share are counted in each.
        flops: of training, a token.
        state: bytes that decoding keeps of a sequence; 0 where nothing is decoded.
        latency: milliseconds of a forward pass of one row of the validation part.
    """

    parameters: float
    flops: float
    state: float
    latency: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(**{name: value + getattr(other, name) for name, value in asdict(self).items()})

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(**{name: value - getattr(other, name) for name, value in asdict(self).items()})


@dataclass(frozen=True)
class Part:
    """A block, by what it is made of and where it stands; the rest of a network where ``layer`` is None.

    Arguments:
        width: D.
        layer: the block's.
        stack: ``layers``, or ``encoder`` beside a decoder.
    """

    width: int
    layer: Layer | None = None
    stack: str = "layers"

    @property
    def key(self) -> str:
        """The same for equal parts."""
        return json.dumps([self.width, self.stack, None if self.layer is None else asdict(self.layer)])


@dataclass(frozen=True, kw_only=True)
class Table:
    """The costs of all parts of a space.

    Arguments:
        costs: by key.
        measured: where and how latency was.
    """

    costs: Mapping[str, Cost]
    measured: Mapping[str, Any] = field(default_factory=dict)

    def of(self, network: Architecture) -> Cost:
        """The sum over a network's parts."""
        total = self.costs[Part(network.width).key]
        for stack in _STACKS:
            for layer in getattr(network, stack) or ():
                total = total + self.costs[Part(network.width, layer, stack).key]
        return total


def parts(space: Space) -> list[Part]:
    """All parts of a space."""
    found = []
    stacks = _STACKS if space.nas.encoder_depth else _STACKS[:1]
    for width in space.nas.width:
        found.append(Part(width))
        for name in space.mixers:
            for heads, key in space.shapes[name, width]:
                for ratio in space.nas.ratios:
                    layer = Layer(mixer=name, heads=heads, key_size=key, ratio=ratio)
                    found += [Part(width, layer, stack) for stack in stacks]
    return found


def measure(
    space: Space,
    *,
    device: torch.device,
    precision: Precision,
    cache: Path,
    each: Callable[[int, int], None] = lambda done, of: None,
) -> Table:
    """The table of a space; what was measured before on such a device is taken from ``cache``.

    Arguments:
        device: where latency is measured.
        precision: of activations.
        cache: a folder.
        each: told how many parts are done, and how many there are.
    """
    marks = fingerprint(space, device, precision)
    path = cache / f"{hashlib.sha256(json.dumps(marks, sort_keys=True).encode()).hexdigest()[:16]}.json"
    cache.mkdir(parents=True, exist_ok=True)
    known: dict[str, dict[str, float]] = read_json(path)["costs"] if path.exists() else {}
    wanted = parts(space)
    clock = _Clock(space, device, precision)
    for done, part in enumerate(wanted):
        each(done, len(wanted))
        if part.key not in known:
            known[part.key] = asdict(clock.cost(part))
            # So that what is measured outlives an interruption.
            if done % 20 == 0:
                write_json(path, {"measured": marks, "costs": known})
    each(len(wanted), len(wanted))
    write_json(path, {"measured": marks, "costs": known})
    return Table(costs={part.key: Cost(**known[part.key]) for part in wanted}, measured=marks)


def fingerprint(space: Space, device: torch.device, precision: Precision) -> dict[str, Any]:
    """What latency depends on, beside the parts themselves."""
    own = {name: value for name, value in flat(space.model).items() if name not in ("layers", "width", "layout")}
    return {
        "device": device_name(device),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "precision": precision,
        "task": space.task_name,
        "length": space.task.length,
        "vocabulary": space.task.vocabulary,
        "model": own,
        "mixers": {name: flat(mixer) for name, mixer in space.mixers.items()},
        "encoder": bool(space.nas.encoder_depth),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


class _Clock:
    """Costs of parts, from networks of one and two blocks."""

    def __init__(self, space: Space, device: torch.device, precision: Precision) -> None:
        self._space = space
        self._device = device
        self._precision = precision
        self._batch: Batch = next(iter(space.task.evaluation_batches("validation", 1))).to(device)

    def cost(self, part: Part) -> Cost:
        if part.layer is None:
            one = self._network(Part(part.width, self._some(part.width), "layers"), 1)
            return self._counted(one, self.latency(one)) - self._blocks(one)
        one, two = self._network(part, 1), self._network(part, 2)
        return self._counted(two, self._block(one, part)) - self._counted(one, 0.0)

    def _blocks(self, network: Architecture) -> Cost:
        """Of all blocks of a network."""
        costs = [
            self.cost(Part(network.width, layer, stack)) for stack in _STACKS for layer in getattr(network, stack) or ()
        ]
        return sum(costs[1:], costs[0])

    def _some(self, width: int) -> Layer:
        name = next(iter(self._space.mixers))
        heads, key = self._space.shapes[name, width][0]
        return Layer(mixer=name, heads=heads, key_size=key, ratio=self._space.nas.ratios[0])

    def _network(self, part: Part, count: int) -> Architecture:
        """So many blocks of a part, and one of something else in the other stack where there are two."""
        assert part.layer is not None
        other = (self._some(part.width),)
        stacks: dict[str, tuple[Layer, ...] | None]
        stacks = {"layers": other, "encoder": other if self._space.nas.encoder_depth else None}
        stacks[part.stack] = (part.layer,) * count
        return Architecture(width=part.width, layers=stacks["layers"] or (), encoder=stacks["encoder"])

    def _counted(self, network: Architecture, latency: float) -> Cost:
        cost = self._space.cost(network)
        return Cost(parameters=cost.parameters, flops=cost.training.flops, state=cost.memory, latency=latency)

    def latency(self, network: Architecture) -> float:
        """Of a whole network."""
        model = self._built(network)
        return self._timed(lambda: model(self._batch.inputs, **self._batch.arguments()))

    def _block(self, network: Architecture, part: Part) -> float:
        """Of the one block of a part in a network, called as the network calls it."""
        model = self._built(network)
        blocks = {path: module for path, module in model.named_modules() if isinstance(module, Block)}
        if self._space.nas.encoder_depth:
            inside = part.stack == "encoder"
            blocks = {path: module for path, module in blocks.items() if path.startswith("encoder.") == inside}
        (block,) = blocks.values()
        called: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        hook = block.register_forward_pre_hook(
            lambda _, inputs, arguments: called.append((inputs, arguments)), with_kwargs=True
        )
        with torch.no_grad():
            model(self._batch.inputs, **self._batch.arguments())
        hook.remove()
        inputs, arguments = called[0]
        return self._timed(lambda: block(*inputs, **arguments))

    def _timed(self, run: Callable[[], object]) -> float:
        return timed(run, device=self._device, precision=self._precision)

    def _built(self, network: Architecture) -> nn.Module:
        with torch.random.fork_rng():
            model = self._space.task.model(self._space.recipe(network))
        return model.to(self._device).eval()


def latencies(
    space: Space, networks: list[Architecture], *, device: torch.device, precision: Precision
) -> Iterator[float]:
    """Milliseconds of a forward pass of each network, whole."""
    clock = _Clock(space, device, precision)
    for network in networks:
        yield clock.latency(network)
