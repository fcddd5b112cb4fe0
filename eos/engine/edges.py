"""Which edges of a record the Triton kernels make themselves, and the operands that they then take.

    key, value     log_sigmoid(z + b) / τ over K or V, where nothing is added to it       chunked, elementwise
    step           softplus(z + b), of rate × step                                        elementwise
    gate of …      1 − o of the only decay over that axis, or the step                    as that decay or step
    expand, shrink silu of e and s, where K decays entry by entry                         chunked

All others are made by torch before anything is lowered.
"""

from collections.abc import Iterator

from torch import Tensor

from eos.axes import Axes
from eos.edge import Edge, made
from eos.engine.structure import Structure
from eos.record import Recurrence, map_parts, parts


def made_in_kernels(s: Structure, algorithm: str) -> frozenset[str]:
    """The names of the edges that the kernels of an algorithm make, as :func:`eos.engine.structure.structure_of` has
    them.
    """
    if s.substeps > 1 or s.parts & {"log_gate", "phase", "phase_rate", "erase"}:
        return frozenset()
    decays = s.parts & {"head", "key", "value", "rate"}
    found: frozenset[str] = frozenset()
    if algorithm == "chunked":
        alone = {"key": "head" not in decays and s.decay_over_key, "value": True}
        for name in ("key", "value"):
            if alone[name]:
                found |= s.edges & {name, f"gate of {name}"}
        # a launch of its own then makes e and s once; elsewhere every tile of V would make them anew
        if s.decay_over_key and ("gate" not in s.parts or found & {"gate of key", "gate of value"}):
            found |= s.edges & {"expand", "shrink"}
    elif algorithm == "elementwise" and len(decays) == 1:
        (decay,) = decays
        name = "step" if decay == "rate" else decay
        found = s.edges & {name, f"gate of {name}"}
    return found


def with_edges(record: Recurrence, kept: frozenset[str]) -> Recurrence:
    """The record with all its edges made but those ``kept``."""
    if not any(isinstance(tensor, Edge) for _, _, tensor in parts(record)):
        return record
    names = {name.partition(" ")[0] for name in kept}
    return map_parts(record, lambda name, axes, tensor: tensor if name in names else made(tensor))


def operands(record: Recurrence) -> Iterator[tuple[Axes, Tensor]]:
    """The tensors that a record is made of, its memory apart: of an edge its pre-activation and its bias.

    A gate that is made of a decay or of the step has none of its own.
    """
    for name, axes, tensor in parts(record):
        if name.startswith("memory.") or (name == "gate" and isinstance(tensor, Edge)):
            continue
        if not isinstance(tensor, Edge):
            yield axes, tensor
            continue
        tensor.check()
        yield axes, tensor.z if tensor.requires_grad else tensor.z.detach()
        if tensor.bias is not None:
            yield axes[2:], tensor.bias if tensor.requires_grad else tensor.bias.detach()


def with_operands(record: Recurrence, tensors: Iterator[Tensor]) -> Recurrence:
    """The record with other operands, in the order of :func:`operands`."""

    def change(name: str, axes: Axes, tensor: Tensor) -> Tensor:
        if name == "gate" and isinstance(tensor, Edge):
            return tensor
        if not isinstance(tensor, Edge):
            return next(tensors)
        z = next(tensors)
        return Edge(tensor.form, z, None if tensor.bias is None else next(tensors), tau=tensor.tau, axis=tensor.axis)

    return map_parts(record, change)
