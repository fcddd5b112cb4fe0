"""Comparing two ways to run one record: every output and every gradient, by name."""

from collections.abc import Callable

import torch
from torch import Tensor

import eos
from eos.record import Memory, Recurrence
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


#: Records are made of numbers of order one: a tensor below this is a sum that cancels, and is judged against this.
SMALL = 1e-3


def relative_error(got: Tensor, want: Tensor) -> float:
    """max |got − want| / max |want|; infinite where shapes differ or something is not finite."""
    if got.shape != want.shape or not got.isfinite().all() or not want.isfinite().all():
        return float("inf")
    difference = (got.double() - want.double()).abs().max().item()
    return difference / max(want.double().abs().max().item(), SMALL)


def errors(got: dict[str, Tensor], want: dict[str, Tensor]) -> dict[str, float]:
    """The relative error of every tensor, by name."""
    assert got.keys() == want.keys()
    return {name: relative_error(got[name], want[name]) for name in want}


def assert_close(got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float) -> None:
    """Every tensor within the tolerance; names all that are not."""
    wrong = {name: f"{error:.1e}" for name, error in errors(got, want).items() if not error <= tolerance}
    assert not wrong, f"relative errors above {tolerance:.0e}: {wrong}"
