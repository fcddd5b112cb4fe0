"""float32 and bfloat16 against the sequential form in float64, where decays of all sizes are mixed."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from eos import engine
from eos.bench.check import Check
from eos.record import Memory, Recurrence, Transition, map_parts

LENGTH = 2048
LOG_DECAYS = (-1e-4, -1.0, -30.0, -88.0)
BOUNDS = {torch.float32: 2e-6, torch.bfloat16: 1e-2}
#: kind → the axes of its parts with a decay
KINDS: dict[str, tuple[str, ...]] = {
    "head": ("head",),
    "key": ("key",),
    "value": ("value",),
    "key + value": ("key", "value"),
    "delta, head": ("head", "erase"),
    "delta, key": ("key", "erase"),
    "elementwise": ("rate",),
}


def checks() -> Iterator[Check]:
    """The worst relative error, max |x − reference| / max |reference|, over y, the last memory and every gradient."""
    for kind, parts in KINDS.items():
        for dtype, bound in BOUNDS.items():
            for resets in (False, True):
                errors = relative_errors(parts, dtype, resets=resets)
                worst = max(errors, key=lambda name: errors[name])
                yield Check(
                    name=f"{kind}, {str(dtype).removeprefix('torch.')}{', resets' if resets else ''}",
                    value=errors[worst],
                    bound=bound,
                    unit="",
                    side="at most",
                    detail=f"worst in {worst}",
                )


def relative_errors(parts: tuple[str, ...], dtype: torch.dtype, *, resets: bool, seed: int = 0) -> dict[str, float]:
    """Name of a result → its relative error, for a record with these parts and inputs of this dtype."""
    record = mixed_record(parts, dtype, resets=resets, seed=seed)
    double = map_parts(record, lambda name, axes, t: t if t.dtype == torch.bool else t.double())
    assert record.memory is not None
    object.__setattr__(double, "memory", Memory(value=record.memory.value.double()))
    reference, got = results(double, "sequential"), results(record, "auto")
    return {
        name: ((got[name].double() - want).abs().max() / want.abs().max()).item() for name, want in reference.items()
    }


def mixed_record(parts: tuple[str, ...], dtype: torch.dtype, *, resets: bool, seed: int = 0) -> Recurrence:
    """B=2 T=2048 H=2 K=V=32 (elementwise: K=8 V=16), every log-decay drawn from −1e-4, −1, −30 and −88."""
    generator = torch.Generator().manual_seed(seed)
    batch, heads = 2, 2
    key, value = (8, 16) if "rate" in parts else (32, 32)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def mixed(*shape: int) -> Tensor:
        choice = torch.randint(len(LOG_DECAYS), shape, generator=generator)
        return torch.tensor(LOG_DECAYS)[choice].to(dtype)

    fields: dict[str, object] = {}
    if "head" in parts:
        fields["head"] = mixed(batch, LENGTH, heads)
    if "key" in parts:
        fields["key"] = mixed(batch, LENGTH, heads, key)
    if "value" in parts:
        fields["value"] = mixed(batch, LENGTH, heads, value)
    if "rate" in parts:
        fields["rate"] = -(normal(heads, key, value).exp()).to(dtype)
        fields["step"] = -mixed(batch, LENGTH, heads, 1, value)
    if "erase" in parts:
        b = functional.normalize(normal(batch, LENGTH, heads, key), dim=-1)
        beta = torch.rand(batch, LENGTH, heads, 1, generator=generator)
        fields["erase"] = ((-beta * b).to(dtype), b.to(dtype))
    return Recurrence(
        input=normal(batch, LENGTH, heads, value).to(dtype),
        expand=normal(batch, LENGTH, heads, key).to(dtype),
        shrink=normal(batch, LENGTH, heads, key).to(dtype),
        transition=Transition(**fields),  # type: ignore[arg-type]
        memory=Memory(value=normal(batch, heads, key, value)),
        reset=torch.rand(batch, LENGTH, generator=generator) < 0.01 if resets else None,
    )


def results(record: Recurrence, algorithm: str) -> dict[str, Tensor]:
    """y, the last memory and the gradient of every tensor of the record, in fixed directions."""
    leaves: dict[str, Tensor] = {}

    def leaf(name: str, axes: tuple[str, ...], tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        label = f"d{name}" if f"d{name}" not in leaves else f"d{name}'"
        leaves[label] = tensor.detach().requires_grad_()
        return leaves[label]

    held = map_parts(record, leaf)
    assert record.memory is not None
    leaves["dmemory"] = record.memory.value.detach().requires_grad_()
    object.__setattr__(held, "memory", Memory(value=leaves["dmemory"]))
    y, memory = engine.scan(held, algorithm=algorithm)
    generator = torch.Generator().manual_seed(1)
    directions = [torch.randn(t.shape, generator=generator).to(t.dtype) for t in (y, memory.value)]
    grads = torch.autograd.grad([y, memory.value], list(leaves.values()), directions)
    return {"y": y.detach(), "memory": memory.value.detach(), **dict(zip(leaves, grads, strict=True))}
