"""What a plan may look at: the structure of a record, never its values."""

from dataclasses import dataclass

from eos.edge import Edge
from eos.engine.state import dtype_over, output_dtype
from eos.record import Convolution, Recurrence, parts


@dataclass(frozen=True, kw_only=True)
class Structure:
    """The hashable structure of a record: which parts are there, which axes are shared, sizes, dtype, device.

    Arguments:
        batch, heads, key, value: sizes of the axes.
        length: T rounded up to a power of two, so that close lengths share a plan.
        parts: names of the parts that are there.
        varying: names of the parts that depend on batch or time.
        per_channel: names among expand and shrink that have a V axis.
        gate_over_both, phase_over_value: whether a gate or a phase has K and V axes.
        decay_over_key: whether a decay differs over the entries of K.
        normaliser: entries of M a head; 0 where there is none.
        edges: names of the parts that are edges of a form that kernels know; of a gate also what it is made of.
        reads, substeps, read: number of reads, and the rest as in the record.
        dtype: of the memory; activations: of y.
        device: type of the device.
    """

    batch: int
    length: int
    heads: int
    key: int
    value: int
    parts: frozenset[str]
    varying: frozenset[str]
    per_channel: frozenset[str]
    gate_over_both: bool
    phase_over_value: bool
    decay_over_key: bool
    normaliser: int
    edges: frozenset[str]
    reads: int
    substeps: int
    read: str
    dtype: str
    activations: str
    device: str

    @property
    def rate_alone(self) -> bool:
        """Whether rate × step is all that lies over K and V."""
        return not (self.phase_over_value or self.gate_over_both or self.per_channel)

    @property
    def over_both(self) -> str | None:
        """What keeps writes and decays from being products over K and V, or None."""
        if "rate" in self.parts:
            return "rate × step decays every entry of K × V by itself"
        if self.phase_over_value:
            return "a phase over V makes e and s per channel"
        if self.gate_over_both:
            return "a gate over K and V makes e per channel"
        if self.per_channel:
            verb = "is" if len(self.per_channel) == 1 else "are"
            return f"{' and '.join(sorted(self.per_channel))} {verb} per channel"
        return None


def structure_of(record: Recurrence | Convolution) -> Structure:
    """Read the structure off a record."""
    if isinstance(record, Convolution):
        batch, length, heads, value = record.input.shape
        return Structure(
            batch=batch,
            length=_bucket(length),
            heads=heads,
            key=1,
            value=value,
            parts=frozenset({"input", "response"}),
            varying=frozenset({"input"}),
            per_channel=frozenset(),
            gate_over_both=False,
            phase_over_value=False,
            decay_over_key=False,
            normaliser=0,
            edges=frozenset(),
            reads=1,
            substeps=1,
            read="after",
            dtype=str(record.input.dtype),
            activations=str(record.input.dtype),
            device=record.input.device.type,
        )
    names, varying, per_channel = set(), set(), set()
    gate_over_both = phase_over_value = decay_over_key = False
    listed = list(parts(record))
    for label, axes, tensor in listed:
        name = label.partition("[")[0].partition(".")[0]
        names.add(name)
        if axes[0] == "B" and (tensor.shape[0] > 1 or (name != "memory" and tensor.shape[1] > 1)):
            varying.add(name)
        if axes[-1] == "V" and tensor.shape[-1] > 1:
            if name in ("expand", "shrink"):
                per_channel.add(name)
            gate_over_both |= name == "gate" and tensor.shape[3] > 1
            phase_over_value |= name in ("phase", "phase_rate")
        decay_over_key |= name in ("key", "log_gate") and tensor.shape[3] > 1
    sizes = record.sizes
    return Structure(
        batch=int(sizes["B"]),
        length=_bucket(sizes["T"]),
        heads=int(sizes["H"]),
        key=int(sizes["K"]),
        value=int(sizes["V"]),
        parts=frozenset(names),
        varying=frozenset(varying),
        per_channel=frozenset(per_channel),
        gate_over_both=gate_over_both,
        phase_over_value=phase_over_value,
        decay_over_key=decay_over_key,
        normaliser=_normaliser(record),
        edges=_edges(record),
        reads=len(record.reads),
        substeps=record.substeps,
        read=record.read,
        dtype=str(dtype_over(tensor for _, _, tensor in listed)),
        activations=str(output_dtype(record)),
        device=record.expand.device.type,
    )


def _normaliser(record: Recurrence) -> int:
    gate, key = record.transition.log_gate, record.transition.key
    if gate is None:
        return 0
    return int(max(gate.shape[-1], 1 if key is None else key.shape[-1]))


def _edges(record: Recurrence) -> frozenset[str]:
    t = record.transition
    decays = {name: x for name, x in (("key", t.key), ("value", t.value)) if x is not None and x.shape[3] > 1}
    found = {name for name, x in decays.items() if _waits(x, "log_sigmoid")}
    step_over_value = _waits(t.step, "softplus") and t.step.shape[3] == 1 < t.step.shape[4]  # type: ignore[union-attr]
    if step_over_value:
        found.add("step")
    if record.expand.dim() == 4 and _waits(record.expand, "silu"):
        found.add("expand")
    if all(s.dim() == 4 and _waits(s, "silu") for s in record.reads):
        found.add("shrink")
    if isinstance(t.gate, Edge) and t.gate.waiting:
        if step_over_value and t.gate is t.step:
            found.add("gate of step")
        for name, axis in (("key", 4), ("value", 3)):
            if t.gate.form == "complement" and t.gate.axis == axis and t.gate.z is decays.get(name):
                found.add(f"gate of {name}")
    return frozenset(found)


def _waits(x: object, form: str) -> bool:
    """Whether this is an edge of that form, without a bias where the kernels know none, that nothing has made."""
    return isinstance(x, Edge) and x.form == form and x.waiting and (form != "silu" or x.bias is None)


def _bucket(length: int) -> int:
    """By comparisons: under torch.compile a length is a symbol, of which they are all that is then known."""
    bucket = 1
    while bucket < length:
        bucket *= 2
    return bucket
