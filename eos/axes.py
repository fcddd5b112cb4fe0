"""Names and sizes of axes: what the tensors of a record must agree on, and the errors that say where they do not."""

from collections.abc import Iterable

import torch
from torch import Tensor

from eos.errors import RecordError

Axes = tuple[str, ...]
Part = tuple[str, Axes, Tensor]

#: The axes of every part of every record; several where it may have more or fewer. P is the axis of decays over K (K/2
#: where there is a phase, K elsewhere), Q = K/2 the axis of phases, S = substeps · T the axis of micro-steps, G groups
#: of heads (H % G == 0).
AXES: dict[str, dict[str, tuple[Axes, ...]]] = {
    "Transition": {
        "head": (("B", "T", "H"),),
        "key": (("B", "T", "H", "P"),),
        "value": (("B", "T", "H", "V"),),
        "rate": (("H", "P", "V"),),
        "phase_rate": (("H", "Q", "V"),),
        "step": (("B", "T", "H", "P", "V"),),
        "phase": (("B", "T", "H", "Q"), ("B", "T", "H", "Q", "V")),
        "erase": (("B", "S", "H", "K"),),
        "gate": (("B", "S", "H", "K", "V"),),
        "log_gate": (("B", "S", "H", "P"),),
    },
    "Recurrence": {
        "input": (("B", "S", "H", "V"),),
        "expand": (("B", "S", "G", "K"), ("B", "S", "G", "K", "V")),
        "shrink": (("B", "T", "G", "K"), ("B", "T", "G", "K", "V")),
        "reset": (("B", "T"),),
    },
    "Memory": {
        "value": (("B", "H", "K", "V"),),
        "log_scale": (("B", "H", "P"),),
    },
}


def check_float(name: str, tensor: Tensor) -> None:
    """Refuse what is not floating point."""
    if not tensor.is_floating_point():
        raise RecordError(f"{name} must be floating point, got {tensor.dtype}")


def shape_of(tensor: Tensor) -> list[int]:
    """The shape as errors print it."""
    return list(tensor.shape)


def layout_of(name: str, tensor: Tensor, layouts: tuple[Axes, ...]) -> Axes:
    """The names of a tensor's axes, by their number, among the layouts that it may have."""
    for axes in layouts:
        if tensor.dim() == len(axes):
            return axes
    wanted = " or ".join(f"[{','.join(axes)}]" for axes in layouts)
    raise RecordError(f"{name} must be {wanted}, got {tensor.dim()} axes: {shape_of(tensor)}")


class Sizes:
    """The size of every axis that these parts agree on, with the part that says so.

    Raises:
        RecordError: naming the first part that disagrees in a size, a dtype or a device.
    """

    def __init__(self, parts: Iterable[Part]) -> None:
        self.found: dict[str, tuple[int, str]] = {}
        device: torch.device | None = None
        for name, axes, tensor in parts:
            if name != "reset":
                check_float(name, tensor)
            if device is not None and tensor.device != device:
                raise RecordError(f"{name} is on {tensor.device}, the parts before it on {device}")
            device = tensor.device
            for axis, size in zip(axes, tensor.shape, strict=True):
                self._add(axis, size, (name, axes, tensor))

    def _add(self, axis: str, size: int, part: Part) -> None:
        name, axes, tensor = part
        known, by = self.found.get(axis, (1, name))
        if size != 1 and known != 1 and size != known and axis != "G":
            wanted = f"[{','.join(axes)}] with {axis} = {known} (as {by} has it) or 1"
            raise RecordError(f"{name} must be {wanted}, got {shape_of(tensor)}")
        if size == 0:
            raise RecordError(f"{name} has an empty axis {axis}: {shape_of(tensor)}")
        self.found[axis] = (size, name) if size > known else (known, by)

    def check_tied(self) -> None:
        """Phases turn pairs, and what commutes with them over K has an entry a pair."""
        (pairs, turning), (entries, decaying), (key, by) = (self.found.get(axis, (1, "")) for axis in "QPK")
        if pairs > 1 and entries not in (1, pairs):
            raise RecordError(
                f"{turning} has {pairs} pairs and {decaying} {entries} entries, which do not commute: the latter "
                f"must be tied in pairs (K/2 = {pairs} entries) or shared by all"
            )
        if key > 1 and pairs > 1 and key != 2 * pairs:
            raise RecordError(f"{by} has K = {key} and {turning} {pairs} pairs; there must be K/2, or one")
        if key > 1 and entries > 1 and key not in (entries, 2 * entries):
            raise RecordError(f"{by} has K = {key} and {decaying} {entries} entries over K; there must be K or 1")

    def size(self, axis: str) -> int:
        """1 where no part has the axis."""
        return self.found.get(axis, (1, ""))[0]

    def tie(self, axis: str, other: str, times: int, why: str) -> int:
        """The size of ``axis`` = times · size of ``other``, from whichever is known."""
        (big, by), (small, small_by) = self.found.get(axis, (1, "")), self.found.get(other, (1, ""))
        if small == 1:
            small, small_by = (big // times, by) if big % times == 0 else (small, by)
        if big not in (1, times * small):
            raise RecordError(f"{by or axis} has {axis} = {big} and {small_by} has {other} = {small}; {why}")
        return times * small if times * small > 1 else big
