"""Named records that together cover every part, shared axes, groups, several reads, resets and memories."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from eos.record import Memory, Read, Recurrence, Transition, map_parts, parts

VALUE = 7
Decays = Literal["mixed", "mild", "strong", "mild, then strong"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a record is made of.

    Arguments:
        parts: what the transition holds; a word each, as :meth:`_Maker.part` makes them.
        read, reads, substeps: as in :class:`Recurrence`.
        reset: whether documents begin: at t = 0, at the last step, and in between.
        memory: whether there is one before t = 0.
        groups: heads of expand and shrink, out of four; without, there are three heads and no groups.
        per_channel: which of expand and shrink have a V axis.
        shared: the axes among B, T, H that all parts of the transition share; "e" and "s" where those share B and T.
        ones: whether the input is left out.
        decays: "mixed" from nearly none to −10 nats; "mild", above −0.1; "strong", to −100; or "mild, then strong".
    """

    parts: tuple[str, ...] = ()
    read: Read = "after"
    reads: int = 1
    substeps: int = 1
    reset: bool = False
    memory: bool = True
    groups: tuple[int, int] | None = None
    per_channel: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    ones: bool = False
    decays: Decays = "mixed"

    @property
    def turns(self) -> bool:
        return any(part.startswith("phase") for part in self.parts)

    @property
    def traced(self) -> bool:
        return any(part.startswith("log_gate") for part in self.parts)


CASES: dict[str, Case] = {
    # decays, each alone and together
    "nothing": Case(),
    "head": Case(parts=("head",)),
    "key": Case(parts=("key",)),
    "value": Case(parts=("value",)),
    "head key value": Case(parts=("head", "key", "value"), reset=True),
    "key value before": Case(parts=("key", "value"), read="before", reset=True),
    "key over all heads": Case(parts=("key",), shared=("H",), memory=False),
    "constant head": Case(parts=("head",), shared=("B", "T"), reset=True),
    "constant key": Case(parts=("key",), shared=("B", "T"), read="before"),
    "constant key value": Case(parts=("key", "value"), shared=("B", "T")),
    "key shared over k": Case(parts=("key_shared",), reset=True, memory=False),
    "strong decays": Case(parts=("key", "head"), decays="strong", reset=True),
    "strong decays over v": Case(parts=("value",), decays="strong", read="before"),
    "mild head": Case(parts=("head",), decays="mild"),
    "mild head before": Case(parts=("head",), decays="mild", read="before", reads=2),
    "mild key": Case(parts=("key",), decays="mild", groups=(2, 4)),
    "mild key value before": Case(parts=("key", "value"), decays="mild", read="before"),
    "mild constant key": Case(parts=("key", "value"), decays="mild", shared=("B", "T"), reads=2),
    "constant key reset": Case(parts=("key", "value"), shared=("B", "T"), reset=True),
    "mild constant key reset": Case(parts=("key", "value"), decays="mild", shared=("B", "T"), reset=True),
    "mild key, then strong": Case(parts=("key", "value"), decays="mild, then strong"),
    "mild head, then strong": Case(parts=("head",), decays="mild, then strong", read="before"),
    "no memory": Case(parts=("head",), memory=False, reset=True),
    "no input": Case(parts=("key",), ones=True),
    # rate × step
    "rate": Case(parts=("rate",), reset=True),
    "rate over v": Case(parts=("rate", "step_over_value"), memory=False),
    "rate over k": Case(parts=("rate", "step_over_key"), read="before", reset=True),
    "rate dense step": Case(parts=("rate", "step_over_both")),
    "rate log_sigmoid": Case(parts=("rate_log_sigmoid", "step_over_value")),
    "rate twice": Case(parts=("rate_twice", "head")),
    "rate key value": Case(parts=("rate", "key", "value"), read="before"),
    "rate phase_rate": Case(parts=("rate", "phase_rate", "step_over_value"), reset=True),
    "phase_rate phase": Case(parts=("phase_rate", "phase"), read="before", memory=False),
    # phases
    "phase": Case(parts=("phase",)),
    "phase head": Case(parts=("phase", "head"), reset=True, read="before"),
    "phase key": Case(parts=("phase", "key"), reads=2, reset=True),
    "phase key value": Case(parts=("phase", "key", "value"), groups=(2, 4)),
    "constant phase": Case(parts=("phase", "head"), shared=("B", "T", "H")),
    "phase shared over pairs": Case(parts=("phase_shared", "key"), shared=("B",)),
    "phase over value": Case(parts=("phase_over_value",), reset=True),
    "phase over value key": Case(parts=("phase_over_value", "key", "value"), read="before", per_channel=("shrink",)),
    # erases
    "erase": Case(parts=("erase",)),
    "erase head": Case(parts=("erase", "head", "gate_key"), reset=True),
    "erase key": Case(parts=("erase", "key"), read="before", reset=True),
    "erase phase key": Case(parts=("erase", "phase", "key"), reset=True, memory=False),
    "erase phase before": Case(parts=("erase", "phase"), read="before"),
    "erase substeps": Case(parts=("erase", "head"), substeps=2, reset=True, reads=2),
    "erase substeps before": Case(parts=("erase", "key", "phase"), substeps=3, read="before"),
    "erase reads groups": Case(parts=("erase", "key"), reads=2, groups=(2, 1)),
    "erase strong decays": Case(parts=("erase", "key"), decays="strong"),
    "mild erase": Case(parts=("erase", "head"), decays="mild"),
    "mild erase before": Case(parts=("erase", "key"), decays="mild", read="before"),
    "constant erase": Case(parts=("erase", "key"), shared=("B", "T")),
    # gates
    "gate key": Case(parts=("gate_key", "head")),
    "gate value": Case(parts=("gate_value", "key"), reset=True),
    "gate both": Case(parts=("gate_both", "key"), read="before"),
    "gate value per channel": Case(parts=("gate_value", "rate"), per_channel=("expand",)),
    "gate phase": Case(parts=("gate_key", "phase", "key")),
    "gate substeps": Case(parts=("gate_both",), substeps=2, ones=True),
    # running normalisers
    "log_gate sum": Case(parts=("log_gate_sum",), reset=True),
    "log_gate sum key": Case(parts=("log_gate_sum", "key"), read="before"),
    "log_gate sum phase": Case(parts=("log_gate_sum", "phase", "key"), reset=True, memory=False),
    "log_gate sum substeps": Case(parts=("log_gate_sum", "head"), substeps=2, reset=True),
    "log_gate max": Case(parts=("log_gate_max", "key"), reset=True),
    "log_gate max shared": Case(parts=("log_gate_max_shared", "head"), reads=2, memory=False),
    "log_gate shared key": Case(parts=("log_gate_sum_shared", "key"), read="before", reset=True),
    "log_gate gate": Case(parts=("log_gate_max", "gate_value", "head")),
    # per-channel states, groups, several reads, substeps
    "expand per channel": Case(per_channel=("expand",), parts=("key",), reset=True),
    "shrink per channel": Case(per_channel=("shrink",), parts=("head",), read="before"),
    "both per channel": Case(per_channel=("expand", "shrink"), parts=("rate",), memory=False),
    "groups": Case(parts=("key",), groups=(2, 1), reset=True),
    "groups per channel": Case(parts=("rate",), groups=(1, 2), per_channel=("expand",)),
    "three reads": Case(parts=("key", "value"), reads=3),
    "two reads before": Case(parts=("head",), reads=2, read="before", reset=True),
    "substeps": Case(parts=("key", "value"), substeps=2, reset=True),
    "substeps before": Case(parts=("head",), substeps=2, read="before"),
    "substeps rate": Case(parts=("rate",), substeps=2, reset=True),
    # time-invariant
    "invariant head": Case(parts=("head",), shared=("B", "T", "e", "s"), memory=False),
    "invariant key value": Case(parts=("key", "value"), shared=("B", "T", "e", "s"), memory=False, reads=2),
    "invariant before": Case(parts=("phase", "key"), shared=("B", "T", "e", "s"), memory=False, read="before"),
    "invariant erase": Case(parts=("erase", "key"), shared=("B", "T", "e", "s"), memory=False, reads=2),
    "invariant erase before": Case(
        parts=("erase", "phase", "head", "gate_key"), shared=("B", "T", "e", "s"), memory=False, read="before"
    ),
    "invariant rate": Case(
        parts=("rate", "phase_over_value"),
        shared=("B", "T", "e", "s"),
        per_channel=("expand", "shrink"),
        memory=False,
    ),
    "invariant gate": Case(parts=("gate_key", "rate"), shared=("B", "T", "e", "s"), memory=False, groups=(1, 2)),
}


def build(case: Case, *, length: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Recurrence:
    """The record of a case with random tensors, each a leaf that takes a gradient."""
    make = _Maker(case=case, length=length, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    expand_heads, shrink_heads = case.groups or (make.heads, make.heads)
    channel = {name: (VALUE,) if name in case.per_channel else () for name in ("expand", "shrink")}
    e_steps, s_steps = make.state("S", shared="e" in case.shared), make.state("T", shared="s" in case.shared)
    e = make.normal(*e_steps, expand_heads, make.key, *channel["expand"])
    reads = tuple(make.normal(*s_steps, shrink_heads, make.key, *channel["shrink"]) for _ in range(case.reads))
    transition = make.transition()
    return Recurrence(
        input=None if case.ones else make.normal(*make.state("S", shared=False), make.heads, VALUE),
        expand=e,
        shrink=reads if case.reads > 1 else reads[0],
        transition=transition,
        memory=make.memory(transition),
        read=case.read,
        reset=make.reset() if case.reset else None,
        substeps=case.substeps,
    )


@dataclass(frozen=True, kw_only=True)
class _Maker:
    case: Case
    length: int
    dtype: torch.dtype
    generator: torch.Generator
    batch: int = 2

    @property
    def heads(self) -> int:
        return 4 if self.case.groups else 3

    @property
    def key(self) -> int:
        return 6 if self.case.turns else 5

    @property
    def pairs(self) -> int:
        """Entries of a decay over K."""
        return 3 if self.case.turns else 5

    def transition(self) -> Transition:
        made: dict[str, object] = {}
        for part in self.case.parts:
            made.update(self.part(part))
        return Transition(**made)  # type: ignore[arg-type]

    def part(self, word: str) -> dict[str, object]:
        steps, micro = self.time("T"), self.time("S")
        heads = 1 if "H" in self.case.shared else self.heads
        K, P, V = self.key, self.pairs, VALUE
        match word:
            case "head":
                return {"head": self.decay(*steps, heads)}
            case "key" | "key_shared":
                return {"key": self.decay(*steps, heads, P if word == "key" else 1)}
            case "value":
                return {"value": self.decay(*steps, heads, V)}
            case "rate":
                step = self.positive(*steps, heads, 1, 1)
                return {"rate": self.decay(self.heads, P, V), "step": step}
            case "rate_log_sigmoid":
                return {
                    "rate": self.normal(self.heads, P, V),
                    "step": self.positive(*steps, heads, 1, 1),
                    "link": "log_sigmoid",
                    "tau": 2.0,
                }
            case "rate_twice":
                return {
                    "rate": (self.decay(self.heads, P, V), self.decay(1, 1, V)),
                    "step": (self.positive(*steps, heads, 1, V), self.positive(*steps, heads, P, 1)),
                }
            case "step_over_value" | "step_over_key" | "step_over_both":
                # a phase_rate takes the step too, which then has an entry a pair
                over = {"value": (1, V), "key": (P, 1), "both": (P, V)}[word.removeprefix("step_over_")]
                return {"step": self.positive(*steps, heads, *over)}
            case "phase_rate":
                return {"phase_rate": self.normal(self.heads, K // 2, V), "step": self.positive(*steps, heads, 1, V)}
            case "phase" | "phase_shared":
                return {"phase": self.normal(*steps, heads, K // 2 if word == "phase" else 1)}
            case "phase_over_value":
                return {"phase": self.normal(*steps, heads, K // 2, V)}
            case "erase":
                b = functional.normalize(self.random(*micro, heads, K), dim=-1)
                strength = torch.sigmoid(self.random(*micro, heads, 1))
                return {"erase": (self.leaf(-2 * strength * b), self.leaf(b))}
            case "gate_key" | "gate_value" | "gate_both":
                over = {"key": (K, 1), "value": (1, V), "both": (K, V)}[word.removeprefix("gate_")]
                return {"gate": self.normal(*micro, heads, *over)}
            case _ if word.startswith("log_gate"):
                _, _, stabilise, *shared = word.split("_")
                return {"log_gate": self.normal(*micro, heads, 1 if shared else P), "stabilise": stabilise}
        raise ValueError(f"no part {word}")

    def memory(self, transition: Transition) -> Memory | None:
        if not self.case.memory:
            return None
        scale = None
        if transition.log_gate is not None:
            entries = max(transition.log_gate.shape[3], 1 if transition.key is None else transition.key.shape[3])
            scale = self.normal(self.batch, self.heads, entries)
        return Memory(value=self.normal(self.batch, self.heads, self.key, VALUE), log_scale=scale)

    def reset(self) -> Tensor:
        reset = torch.rand(self.batch, self.length, generator=self.generator) < 0.1
        reset[0, -1] = reset[1, 0] = True
        return reset

    def time(self, axis: str) -> tuple[int, int]:
        """The sizes of B and T, or of B and S, of a transition."""
        batch, steps = self.state(axis, shared=False)
        return 1 if "B" in self.case.shared else batch, 1 if "T" in self.case.shared else steps

    def state(self, axis: str, *, shared: bool) -> tuple[int, int]:
        """Those of i, e or s."""
        return (1, 1) if shared else (self.batch, self.length * (self.case.substeps if axis == "S" else 1))

    def normal(self, *shape: int) -> Tensor:
        return self.leaf(self.random(*shape))

    def decay(self, *shape: int) -> Tensor:
        """Log-decays."""
        scale = {"mixed": 3.0, "mild": 0.1, "strong": 30.0, "mild, then strong": 10.0}[self.case.decays]
        decay = functional.logsigmoid(scale * self.random(*shape))
        if self.case.decays.startswith("mild"):
            many = slice(None) if self.case.decays == "mild" else slice(shape[1] * 3 // 5)
            decay[:, many] *= 0.1
        return self.leaf(decay)

    def positive(self, *shape: int) -> Tensor:
        return self.leaf(0.1 + torch.sigmoid(self.random(*shape)))

    def random(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def leaf(self, x: Tensor) -> Tensor:
        return x.to(self.dtype).detach().requires_grad_()


def leaves(record: Recurrence) -> dict[str, Tensor]:
    """Every tensor of a record that takes a gradient, by name."""
    return {name: tensor for name, _, tensor in parts(record) if tensor.requires_grad}


def cast(
    record: Recurrence, dtype: torch.dtype, *, memory: torch.dtype | None = None, device: str = "cpu"
) -> Recurrence:
    """The same values in another dtype, as new leaves; the memory in ``memory``, or float32 where that is wider."""
    memory = memory or torch.promote_types(dtype, torch.float32)

    def to(tensor: Tensor, dtype: torch.dtype) -> Tensor:
        moved = tensor.detach().to(device)
        return moved.to(dtype).requires_grad_() if moved.is_floating_point() else moved

    held = record.memory
    if held is not None:
        scale = None if held.log_scale is None else to(held.log_scale, memory)
        held = Memory(value=to(held.value, memory), log_scale=scale)
    return replace(map_parts(record, lambda name, axes, tensor: to(tensor, dtype)), memory=held)


def cut(record: Recurrence, start: int, stop: int, memory: Memory | None) -> Recurrence:
    """Steps ``start`` to ``stop`` of a record, from another memory; gradients flow to the whole record."""

    def part(name: str, axes: tuple[str, ...], tensor: Tensor) -> Tensor:
        if axes[0] != "B" or tensor.shape[1] == 1:
            return tensor
        n = record.substeps if axes[1] == "S" else 1
        return tensor[:, start * n : stop * n]

    return replace(map_parts(record, part), memory=memory)
