"""Comparing two ways to run one record: every output and every gradient, by name."""

from collections.abc import Callable

import torch
from torch import Tensor

import eos
from eos.record import Memory, Recurrence, map_parts
from tests.records import leaves

#: Reads, the memory after the last step, and M at every step where there is one.
Outputs = tuple[tuple[Tensor, ...], Memory, Tensor | None]
Runner = Callable[[Recurrence], Outputs]


def scanned(algorithm: str = "auto") -> Runner:
    """``eos.scan`` with one algorithm."""

    def run(record: Recurrence) -> Outputs:
        traced = record.transition.log_gate is not None
        y, memory, *trace = eos.scan(record, algorithm=algorithm, trace=traced)
        return (y if isinstance(y, tuple) else (y,)), memory, trace[0] if traced else None

    return run


def outcome(record: Recurrence, run: Runner, *, rounded: torch.dtype | None = None) -> dict[str, Tensor]:
    """Reads, memory, M and the gradient of every leaf of the record, for one fixed random gradient of the outputs.

    Arguments:
        rounded: the dtype that gradients of the reads are rounded to first; that of the reads if None.
    """
    ys, memory, trace = run(record)
    held = {f"y[{j}]": y for j, y in enumerate(ys)}
    held |= {"memory": memory.value, "log_scale": memory.log_scale, "trace": trace}
    outputs = {name: tensor for name, tensor in held.items() if tensor is not None}
    generator = torch.Generator().manual_seed(1)
    pairs = []
    for name, output in outputs.items():
        random = torch.randn(output.shape, generator=generator, dtype=torch.float64)
        coarse = rounded if rounded is not None and name.startswith("y") else output.dtype
        if output.requires_grad:
            pairs.append((output, random.to(coarse).to(output)))
    wanted = leaves(record)
    grads = torch.autograd.grad(
        [output for output, _ in pairs],
        list(wanted.values()),
        [direction for _, direction in pairs],
        allow_unused=True,
        materialize_grads=True,
    )
    found = {name: tensor.detach() for name, tensor in outputs.items()}
    return found | {f"gradient of {name}": grad for name, grad in zip(wanted, grads, strict=True)}


def terms_of(record: Recurrence, run: Runner) -> dict[str, float]:
    """The size of the terms of every gradient that is summed because its part is shared over batch, time or heads."""
    whole = {axis: size for axis, size in record.sizes.items() if axis in "BTH"}

    def own(name: str, axes: tuple[str, ...], tensor: Tensor) -> Tensor:
        sizes = [whole.get(axis, size) for axis, size in zip(axes, tensor.shape, strict=True)]
        return tensor.detach().expand(sizes).clone().requires_grad_(tensor.requires_grad)

    shared = leaves(record)
    found = outcome(map_parts(record, own), run)
    return {
        f"gradient of {name}": found[f"gradient of {name}"].abs().sum_to_size(tensor.shape).max().item()
        for name, tensor in shared.items()
        if found[f"gradient of {name}"].shape != tensor.shape
    }


#: Records are made of numbers of order one: a tensor below this is a sum that cancels, and is judged against this.
SMALL = 1e-3


def relative_error(got: Tensor, want: Tensor, *, terms: float = SMALL) -> float:
    """max |got − want| / max |want|; infinite where shapes differ or something is not finite.

    Arguments:
        terms: the size of what a sum that may cancel is summed of; its error is relative to that where it is larger.
    """
    if got.shape != want.shape or not got.isfinite().all() or not want.isfinite().all():
        return float("inf")
    difference = (got.double() - want.double()).abs().max().item()
    return difference / max(want.double().abs().max().item(), terms)


def errors(got: dict[str, Tensor], want: dict[str, Tensor], terms: dict[str, float] | None = None) -> dict[str, float]:
    """The relative error of every tensor, by name; ``terms`` by name as in :func:`relative_error`."""
    assert got.keys() == want.keys()
    return {name: relative_error(got[name], want[name], terms=(terms or {}).get(name, SMALL)) for name in want}


def assert_close(
    got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float, *, terms: dict[str, float] | None = None
) -> None:
    """Every tensor within the tolerance; names all that are not. ``terms`` as in :func:`errors`."""
    wrong = {name: f"{error:.1e}" for name, error in errors(got, want, terms).items() if not error <= tolerance}
    assert not wrong, f"relative errors above {tolerance:.0e}: {wrong}"
