"""float32 and bfloat16 against the sequential form in float64, where decays of all sizes are mixed."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from eos import engine
from eos.bench.check import Check
from eos.record import Memory, Read, Recurrence, Transition, map_parts, parts

LENGTH = 2048
#: Where the log-decays of every step and entry are drawn from: mixed ones, too strong for a frame, and mild ones.
DECAYS = {"mixed": (-1e-4, -1.0, -30.0, -88.0), "mild": (-1e-4, -1e-2, -0.5, -0.9)}
BOUNDS = {torch.float32: 2e-6, torch.bfloat16: 1e-2}
#: kind → the parts of its transition
KINDS: dict[str, tuple[str, ...]] = {
    "head": ("head",),
    "key": ("key",),
    "value": ("value",),
    "key + value": ("key", "value"),
    "key + phase": ("key", "phase"),
    "log_gate": ("key", "log_gate"),
    "delta, head": ("head", "erase"),
    "delta, key": ("key", "erase"),
    "elementwise": ("rate",),
}


def checks() -> Iterator[Check]:
    """The worst relative error, max |x − reference| / max |reference|, over y, the last memory and every gradient."""
    for kind in KINDS:
        for decays, drawn in DECAYS.items():
            for dtype, bound in BOUNDS.items():
                for resets in (False, True):
                    errors = relative_errors(drawn_record(kind, drawn, resets=resets), dtype)
                    worst = max(errors, key=lambda name: errors[name])
                    yield Check(
                        name=f"{kind}, {decays}, {str(dtype).removeprefix('torch.')}{', resets' if resets else ''}",
                        value=errors[worst],
                        bound=bound,
                        unit="",
                        side="at most",
                        detail=f"worst in {worst}",
                    )


def drawn_record(
    kind: str,
    decays: tuple[float, ...],
    *,
    resets: bool,
    read: Read = "after",
    batch: int = 2,
    sizes: tuple[int, int] | None = None,
    seed: int = 0,
) -> Recurrence:
    """T=2048 H=2 in float64, log-decays drawn from ``decays``; K, V are ``sizes``, or 32, 32 (elementwise: 8, 16)."""
    generator = torch.Generator().manual_seed(seed)
    heads, chosen = 2, KINDS[kind]
    key, value = sizes or ((8, 16) if "rate" in chosen else (32, 32))
    pairs = key // 2 if "phase" in chosen else key
    steps = (batch, LENGTH, heads)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def drawn(*shape: int) -> Tensor:
        choice = torch.randint(len(decays), shape, generator=generator)
        return torch.tensor(decays, dtype=torch.float64)[choice]

    fields: dict[str, Any] = {}
    if "head" in chosen:
        fields["head"] = drawn(*steps)
    if "key" in chosen:
        fields["key"] = drawn(*steps, pairs)
    if "value" in chosen:
        fields["value"] = drawn(*steps, value)
    if "phase" in chosen:
        fields["phase"] = normal(*steps, pairs)
    if "log_gate" in chosen:
        fields |= {"log_gate": normal(*steps, pairs), "stabilise": "sum"}
    if "rate" in chosen:
        fields |= {"rate": -normal(heads, key, value).exp(), "step": -drawn(*steps, 1, value)}
    if "erase" in chosen:
        b = functional.normalize(normal(*steps, key), dim=-1)
        fields["erase"] = (-torch.sigmoid(normal(*steps, 1)) * b, b)
    return Recurrence(
        input=normal(*steps, value),
        expand=functional.normalize(normal(*steps, key), dim=-1),
        shrink=normal(*steps, key),
        transition=Transition(**fields),
        memory=Memory(
            value=normal(batch, heads, key, value),
            log_scale=normal(batch, heads, pairs) if "log_gate" in chosen else None,
        ),
        read=read,
        reset=torch.rand(batch, LENGTH, generator=generator) < 0.005 if resets else None,
    )


def relative_errors(record: Recurrence, dtype: torch.dtype) -> dict[str, float]:
    """Name of a result → its relative error with inputs of this dtype; the reference is given the same numbers."""
    narrow = cast(record, dtype, torch.float32)
    got = results(narrow, "auto", rounded=dtype)
    reference = results(cast(narrow, torch.float64, torch.float64), "sequential", rounded=dtype)
    return {
        name: ((got[name].double() - want).abs().max() / want.abs().max()).item() for name, want in reference.items()
    }


def cast(record: Recurrence, dtype: torch.dtype, memory: torch.dtype) -> Recurrence:
    """The record in another dtype, and its memory in another; every tensor that may take a gradient does."""

    def leaf(tensor: Tensor, dtype: torch.dtype) -> Tensor:
        tensor = tensor.detach()
        return tensor.to(dtype).requires_grad_() if tensor.is_floating_point() else tensor

    held = record.memory
    assert held is not None
    scale = None if held.log_scale is None else leaf(held.log_scale, memory)
    made = map_parts(record, lambda name, axes, tensor: leaf(tensor, dtype))
    object.__setattr__(made, "memory", Memory(value=leaf(held.value, memory), log_scale=scale))
    return made


def results(record: Recurrence, algorithm: str, *, rounded: torch.dtype) -> dict[str, Tensor]:
    """y, the last memory and the gradient of every tensor of the record, in fixed directions rounded to a dtype."""
    leaves: dict[str, Tensor] = {}
    for name, _, tensor in parts(record):
        if tensor.requires_grad:
            leaves[f"d{name}"] = tensor
    y, memory = engine.scan(record, algorithm=algorithm)
    assert isinstance(y, Tensor)
    held = {"y": y, "memory": memory.value}
    if memory.log_scale is not None:
        held["log_scale"] = memory.log_scale
    generator = torch.Generator().manual_seed(1)
    directions = [torch.randn(t.shape, generator=generator).to(rounded).to(t.dtype) for t in held.values()]
    grads = torch.autograd.grad(list(held.values()), list(leaves.values()), directions)
    return {**{name: t.detach() for name, t in held.items()}, **dict(zip(leaves, grads, strict=True))}
