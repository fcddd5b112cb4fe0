"""What ``eos bench scan`` measures: records with random contents, what they move and compute, peers and goals."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from eos.engine.plan import Plan, plan_structure
from eos.engine.structure import structure_of
from eos.record import Recurrence, Transition

Kind = Literal["constant decay", "head decay", "key decay", "gated delta", "elementwise", "rate × step"]
#: The tensors that a record and its peers are made of, by name; those that take gradients say so.
Held = Mapping[str, Tensor]
#: Steps of a chunk in the counted operations.
CHUNK = 64


@dataclass(frozen=True)
class Shape:
    """Sizes of the axes of a record."""

    batch: int
    length: int
    heads: int
    key: int
    value: int

    def __str__(self) -> str:
        return f"B={self.batch} T={self.length} H={self.heads} K={self.key} V={self.value}"


@dataclass(frozen=True)
class Case:
    """A record to measure.

    Arguments:
        kind: what decays or erases its memory.
        shape: its sizes.
        peers: names of :data:`eos.bench.peers.PEERS`, each with how many times its speed is the goal, forward as
            well as forward and backward, or None.
        floor: goal for the forward time over the floor, at most; or None.
    """

    kind: Kind
    shape: Shape
    peers: Mapping[str, float | None]
    floor: float | None = None

    @property
    def name(self) -> str:
        """Kind and sizes, which no two cases share."""
        return f"{self.kind} {self.shape}"


FIRST, LONG, WIDE = Shape(8, 8192, 16, 128, 128), Shape(2, 16384, 16, 128, 128), Shape(8, 2048, 32, 256, 256)
SOFTMAX = "softmax"
#: Lengths below that of the first shape at which softmax is a peer, and the one from which it is to be slower.
LENGTHS, CROSSING = (256, 512, 1024, 2048, 4096), 1024
CASES = (
    Case("constant decay", FIRST, {"chunk_retention": 1.2}, floor=2.0),
    Case("constant decay", LONG, {"chunk_retention": 1.2}, floor=3.0),
    Case("constant decay", WIDE, {"chunk_retention": 1.2}, floor=3.0),
    Case("head decay", FIRST, {"chunk_simple_gla": 1.2, SOFTMAX: 1.0}, floor=2.0),
    Case("head decay", LONG, {"chunk_simple_gla": 1.2}, floor=3.0),
    Case("head decay", WIDE, {"chunk_simple_gla": 1.2}, floor=3.0),
    *(Case("key decay", shape, {"chunk_gla": 1.3}) for shape in (FIRST, LONG, WIDE)),
    *(Case("gated delta", shape, {"chunk_gated_delta_rule": 1.0}) for shape in (FIRST, LONG, WIDE)),
    Case("elementwise", Shape(8, 8192, 1, 1, 2048), {"chunk_hgrn": 1.0, "fused_recurrent_hgrn": 1.0}, floor=1.6),
    Case("rate × step", Shape(8, 8192, 1, 16, 2048), {"selective_scan_fn": 1.0}, floor=1.6),
    *(
        Case("head decay", replace(FIRST, length=length), {SOFTMAX: 1.0 if length >= CROSSING else None})
        for length in LENGTHS
    ),
)


def draw(case: Case, *, device: str, dtype: torch.dtype = torch.bfloat16, seed: int = 0) -> dict[str, Tensor]:
    """Random contents of a case, without values on the device "meta".

    Arguments:
        dtype: of activations; log-decays and rates are float32, or wider where ``dtype`` is.

    Returns:
        input, expand and shrink; decay (log-decays, sigmoid(N(2, 1)) each), strength (β), rate and step where the
        kind has them. What every token or all models share takes no gradient.
    """
    s, wide = case.shape, torch.promote_types(dtype, torch.float32)
    generator = None if device == "meta" else torch.Generator(device).manual_seed(seed)

    def normal(*shape: int, of: torch.dtype = dtype) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device, dtype=of)

    def log_decay(*shape: int) -> Tensor:
        return functional.logsigmoid(normal(*shape, of=wide) + 2)

    tokens = (s.batch, s.length, s.heads)
    held = {"input": normal(*tokens, s.value)}
    constant: dict[str, Tensor] = {}
    if case.kind == "elementwise":
        held["decay"] = log_decay(*tokens, s.value)
        constant["one"] = torch.ones(1, 1, 1, 1, device=device, dtype=dtype)
    else:
        held |= {"shrink": normal(*tokens, s.key), "expand": normal(*tokens, s.key) / s.key**0.5}
    if case.kind == "constant decay":  # of a retention, 1 − 2^(−5 − head)
        constant["decay"] = torch.log1p(-(2.0 ** (-5 - torch.arange(s.heads, device=device, dtype=wide))))[None, None]
    if case.kind in ("head decay", "gated delta"):
        held["decay"] = log_decay(*tokens)
    if case.kind == "key decay":
        held["decay"] = log_decay(*tokens, s.key)
    if case.kind == "gated delta":
        held["expand"] = functional.normalize(held["expand"].to(wide), dim=-1).to(dtype)
        held["strength"] = normal(*tokens).sigmoid()
    if case.kind == "rate × step":
        held |= {"rate": -log_decay(1, s.key, s.value).exp() - 0.1, "step": normal(*tokens, s.value).sigmoid()}
    return {name: x.requires_grad_() for name, x in held.items()} | constant


def record(kind: Kind, x: Held) -> Recurrence:
    """The record of a kind, made of what :func:`draw` returns; what this takes is part of every measured time."""
    if kind == "elementwise":
        transition = Transition(value=x["decay"])
        return Recurrence(input=x["input"], expand=x["one"], shrink=x["one"], transition=transition)
    if kind == "gated delta":  # as the recipe gated_deltanet lists them; one number a head acts first or last alike
        a, gate = -x["strength"][..., None] * x["expand"], x["strength"][..., None, None]
        transition = Transition(head=x["decay"]) * Transition(erase=(a, x["expand"]), gate=gate)
    elif kind == "rate × step":
        step = x["step"][..., None, :]
        transition = Transition(rate=x["rate"], step=step, gate=step)
    elif kind == "key decay":
        transition = Transition(key=x["decay"])
    else:
        transition = Transition(head=x["decay"])
    return Recurrence(input=x["input"], expand=x["expand"], shrink=x["shrink"], transition=transition)


def plan_of(case: Case) -> Plan:
    """How a GPU would run a case, whether there is one or not."""
    structure = structure_of(record(case.kind, draw(case, device="meta")))
    return plan_structure(replace(structure, device="cuda"))


def moved(case: Case, *, backward: bool) -> int:
    """Bytes at least: what :func:`draw` returns read once and y written once; backward, dy read and gradients written.

    What a backward pass reads again, and the memory after the last step, are not counted.
    """
    held = draw(case, device="meta")
    y = held["input"].nbytes
    forward = y + sum(x.nbytes for x in held.values())
    return forward + y + sum(x.nbytes for x in held.values() if x.requires_grad) if backward else forward


def operations(case: Case, *, backward: bool) -> int:
    """Floating-point operations of matrix products in chunks of 64 steps; a product has two such in its gradient.

    A step of a chunk of C meets K entries of C columns and writes C products of V entries, and reads and writes
    K V entries of the memory; an erase adds the scores of b with itself, the solution of its triangle, and its reads.
    Elementwise, an entry of the memory takes five: decay, e i, their sum, and the read.
    """
    s, size = case.shape, CHUNK
    if case.kind in ("elementwise", "rate × step"):
        each = 5 * s.key * s.value
    else:
        each = 2 * size * (s.key + s.value) + 4 * s.key * s.value
    if case.kind == "gated delta":
        each += 2 * size * (2 * s.key + s.value) + 2 * s.key * s.value + 2 * size**2 // 3
    return (3 if backward else 1) * s.batch * s.length * s.heads * each
