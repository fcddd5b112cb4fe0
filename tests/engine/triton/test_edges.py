"""What the kernels make of pre-activations, interpreted, against torch in float64: outputs, memory, every gradient."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import eos
from eos import EOSLayer, edge
from eos.compose import load_model_recipe
from eos.edge import Edge
from eos.engine.algorithm import AbstractAlgorithm
from eos.engine.edges import made_in_kernels
from eos.engine.sequential import sequential
from eos.engine.structure import structure_of
from eos.engine.triton.elementwise import TritonElementwise
from eos.engine.triton.segments import TritonChunked
from eos.engine.triton.tiles import Scans, Tiles
from eos.engine.windows import run_windows
from eos.models import LanguageModel
from eos.record import Link, Recurrence, Transition
from tests.compare import assert_close
from tests.engine.triton.flags import EDGED, Flags, pairwise
from tests.engine.triton.flags import record as plain
from tests.tolerances import FLOAT32_SHORT

CHUNKED = TritonChunked(Tiles(chunk=8, value=16, scores=16, near=16, far=16))
ELEMENTWISE = TritonElementwise(Scans(forward=4, backward=4, value=8))


#: Of logits, which are drawn of size 4: log-decays from nearly none to some below −88, the floor.
SCALE = 3.0

# 1 / (1 + e^u) of a large u
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in exp2")


class Operands:
    """The leaves of a record with edges, drawn in float64, rounded and then cast."""

    def __init__(self, dtype: torch.dtype, *, rounded: torch.dtype | None = None, device: str = "cpu") -> None:
        self.dtype, self.rounded, self.device = dtype, rounded or torch.float32, device
        self.generator = torch.Generator().manual_seed(3)
        self.found: dict[str, Tensor] = {}

    def __call__(self, name: str, *shape: int, scale: float = 1.0) -> Tensor:
        drawn = scale * torch.randn(*shape, generator=self.generator, dtype=torch.float64)
        self.found[name] = drawn.to(self.rounded).to(self.device, self.dtype).requires_grad_()
        return self.found[name]


def with_edges(flags: Flags, leaf: Operands, **sizes: int) -> tuple[Recurrence, dict[str, Tensor]]:
    """A record of these flags, and its leaves."""
    record = plain(flags, **sizes)
    batch, length, heads, key, value = (record.sizes[axis] for axis in "BTHKV")
    held: dict[str, Tensor | None] = {}
    for name, size in (("key", key), ("value", value)):
        if getattr(flags, name) == "none":
            continue
        z = leaf(name, batch, length, heads, size if getattr(flags, name) == "every" else 1, scale=4.0)
        if name in flags.made.split():
            held[name] = edge.log_sigmoid(z * SCALE, leaf(f"{name} bias", heads, z.shape[-1]), tau=0.35)
        else:
            held[name] = torch.nn.functional.logsigmoid(z)
    if flags.gate:
        decay = held[flags.gate]
        assert decay is not None
        held["gate"] = edge.complement(decay, axis=4 if flags.gate == "key" else 3)
    states = {"i": (length, heads, value), "e": (length, heads, key), "s": (length, heads, key)}
    i, e, s = (leaf(name, batch, *shape) for name, shape in states.items())
    made = Recurrence(
        input=i,
        expand=edge.silu(e) if "e" in flags.silu else e,
        shrink=tuple(edge.silu(s * (j + 1)) if "s" in flags.silu else s * (j + 1) for j in range(flags.reads)),
        transition=Transition(**held),  # type: ignore[arg-type]
        reset=None if record.reset is None else record.reset.to(leaf.device),
        read=flags.read,
    )
    return made, leaf.found


def outcome(made: tuple[Recurrence, dict[str, Tensor]], algorithm: AbstractAlgorithm, name: str) -> Any:
    """Reads, memory and the gradient of every leaf; and the edges that the kernels made."""
    record, leaves = made
    edges = made_in_kernels(structure_of(record), name)
    ys, memories, _ = run_windows(record, algorithm, length=1 << 20, trace=False, edges=edges)
    return _gradients([*ys, memories[-1].value], leaves), edges


def reference(made: tuple[Recurrence, dict[str, Tensor]]) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The same by the sequential form, and the size of the terms of the gradients of pre-activations.

    That of a log-decay is a sum, whose digits are those of its largest terms; slopes weigh strong decays more, which
    have the smallest. That of a bias is summed over batch and time besides.
    """
    record, leaves = made
    t = record.transition
    edges = {name: x for name, x in {"key": t.key, "value": t.value, "step": t.step}.items() if isinstance(x, Edge)}
    ys, memory, _ = sequential(record)
    found = _gradients([*ys, memory.value], leaves | {f"made {name}": x.made() for name, x in edges.items()})
    terms = {}
    for name, x in edges.items():
        slopes = found.pop(f"gradient of made {name}").abs() / x.tau
        terms[f"gradient of {name}"] = SCALE * slopes.max().item()
        terms[f"gradient of {name} bias"] = slopes.sum((0, 1)).max().item()
    return found, terms


def _gradients(outputs: list[Tensor], leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    directions = [torch.randn(y.shape, generator=generator).bfloat16().to(y) for y in outputs]
    grads = torch.autograd.grad(outputs, list(leaves.values()), directions, allow_unused=True, materialize_grads=True)
    found = {f"y[{j}]": y.detach() for j, y in enumerate(outputs)}
    return found | {f"gradient of {leaf}": grad for leaf, grad in zip(leaves, grads, strict=True)}


def check(flags: Flags, algorithm: AbstractAlgorithm, name: str, **sizes: int) -> None:
    exact, terms = reference(with_edges(flags, Operands(torch.float64), **sizes))
    got, edges = outcome(with_edges(flags, Operands(torch.float32), **sizes), algorithm, name)
    want = set(flags.made.split()) | ({f"gate of {flags.gate}"} if flags.gate else set())
    want |= {{"e": "expand", "s": "shrink"}[state] for state in flags.silu.split()}
    assert edges == want
    assert_close(got, exact, FLOAT32_SHORT, terms=terms)


SIZES = {"length": 21, "key": 5, "value": 18}


@pytest.mark.parametrize("flags", pairwise(EDGED), ids=str)
def test_chunks_make_what_torch_makes(flags: Flags) -> None:
    check(flags, CHUNKED, "chunked", **SIZES)


@pytest.mark.slow
@pytest.mark.parametrize("flags", EDGED, ids=str)
def test_chunks_make_every_combination(flags: Flags) -> None:
    check(flags, CHUNKED, "chunked", length=13, key=18, value=5)


def test_segments_make_what_torch_makes() -> None:
    flags = Flags(key="every", value="every", reset=True, made="key value", gate="key", silu="e s")
    check(flags, replace(CHUNKED, segments=2), "chunked", **{**SIZES, "length": 37})


#: Of one decay alone, without silus.
SCANNED = [
    flags for flags in EDGED if "none" in (flags.key, flags.value) and (flags.made or flags.gate) and not flags.silu
]


def test_what_torch_has_made_is_taken_as_made() -> None:
    """Whatever was written to it, or hooked on it, counts."""
    record, _ = with_edges(Flags(key="every", made="key", silu="e"), Operands(torch.float32), **SIZES)
    assert made_in_kernels(structure_of(record), "chunked") == {"key", "expand"}
    record.expand[:, 0] = 0.0
    assert made_in_kernels(structure_of(record), "chunked") == {"key"}
    got, want = (eos.scan(record, backend=name, algorithm="chunked")[0] for name in ("triton", "torch"))
    assert_close({str(j): y for j, y in enumerate(got)}, {str(j): y for j, y in enumerate(want)}, 2 * FLOAT32_SHORT)


@pytest.mark.one_in(5)
@pytest.mark.parametrize("flags", SCANNED, ids=str)
def test_scans_make_what_torch_makes(flags: Flags) -> None:
    check(flags, ELEMENTWISE, "elementwise", length=7, key=3, value=10)


def step_record(leaf: Operands, *, gated: bool, link: Link, reset: bool) -> tuple[Recurrence, dict[str, Tensor]]:
    """rate × step with the step a softplus, that also gates what is written."""
    batch, length, heads, key, value = 2, 7, 2, 3, 10
    step = edge.softplus(leaf("step", batch, length, heads, 1, value, scale=4.0), leaf("step bias", heads, 1, value))
    rate = leaf("rate", heads, key, value)
    transition = Transition(
        rate=rate if link == "log_sigmoid" else -rate.exp(),
        step=step,
        gate=step if gated else None,
        link=link,
        tau=2.0 if link == "log_sigmoid" else 1.0,
    )
    begins = torch.zeros(batch, length, dtype=torch.bool, device=leaf.device)
    begins[:, 3] = reset
    e, s = leaf("e", batch, length, heads, key), leaf("s", batch, length, heads, key)
    i = leaf("i", batch, length, heads, value)
    return Recurrence(input=i, expand=e, shrink=s, transition=transition, reset=begins if reset else None), leaf.found


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("link", ["identity", "log_sigmoid"])
@pytest.mark.parametrize("reset", [True, False])
def test_scans_make_a_step(gated: bool, link: Link, reset: bool) -> None:
    options: Any = {"gated": gated, "link": link, "reset": reset}
    exact, terms = reference(step_record(Operands(torch.float64), **options))
    got, edges = outcome(step_record(Operands(torch.float32), **options), ELEMENTWISE, "elementwise")
    assert edges == ({"step", "gate of step"} if gated else {"step"})
    assert_close(got, exact, FLOAT32_SHORT, terms=terms)


#: Layers of recipes, with the algorithm and the edges that its kernels make.
RECIPES = [
    ("gla", "chunked", {"key"}),
    ("hgrn2", "chunked", {"gate of key", "shrink"}),
    ("lcsm", "chunked", {"key", "value"}),
    ("mingru", "elementwise", {"value", "gate of value"}),
    ("mamba", "elementwise", {"step", "gate of step"}),
]


@pytest.mark.parametrize(("name", "algorithm", "edges"), RECIPES)
def test_layers_of_recipes_train_alike_by_kernels_and_by_torch(name: str, algorithm: str, edges: set[str]) -> None:
    torch.manual_seed(0)
    model = LanguageModel(load_model_recipe(name, ["width=32", "layers=2"]), 11)
    layer = next(module for module in list(model.modules())[::-1] if isinstance(module, EOSLayer))
    x = torch.randn(2, 5, 32)
    plan = eos.plan(layer.record(x), backend="triton", algorithm=algorithm)
    assert plan.edges == edges
    assert f"made inside: {', '.join(sorted(edges))}" in str(plan)
    found = []
    for backend in ("torch", "triton"):
        layer.zero_grad()
        y, memory = eos.scan(layer.record(x), backend=backend, algorithm=algorithm)
        torch.manual_seed(1)
        ((y * torch.randn_like(y)).sum() + memory.value.sum()).backward()
        grads = {name: p.grad for name, p in layer.named_parameters() if p.grad is not None}
        found.append({"y": y.detach(), **grads})
    assert_close(found[1], found[0], 2 * FLOAT32_SHORT)  # both in float32
    with torch.no_grad():  # a token's kernel makes nothing of edges by itself
        first = layer.record(x[:, :1])
        (left, after), (right, other) = (eos.step(first, backend=backend) for backend in ("triton", "torch"))
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(after.value, other.value, rtol=1e-5, atol=1e-6)
