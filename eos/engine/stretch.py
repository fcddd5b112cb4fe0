"""What a stretch of a recurrence does to whatever memory comes into it, and so how two stretches compose.

A recurrence is linear in its memory: m ↦ A m + S, with S what the stretch writes from an empty memory. A is the product
of its transitions, kept in the smallest shape that there is: a log-decay with an angle, or [K,K] where there is an
erase. With a log_gate, S stands at the scale exp(M), and the rule is that of one step (eos.engine.sequential).
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from eos.engine.run import scan
from eos.engine.sequential import next_scale, normalised, turn_memory
from eos.engine.state import state_dtype
from eos.errors import RecordError
from eos.record import Memory, Recurrence, Transition
from eos.stage import full_precision

#: Steps whose decays over both K and V are held at once.
_HELD = 64


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """One stretch.

    Arguments:
        written: S, the memory after it where it began from an empty one.
        log_decay: of A in nats [1|B,1|H,1|K|K/2,1|V]; None: nothing decays, or it is in ``product``.
        angle: by which A turns, radians [1|B,H,K/2] or [1|B,H,K/2,V]; None likewise.
        product: A [B,H,K,K] where there is an erase, else None.
        opens: whether a document begins in it [B], so that nothing of what comes in is left; None: in no row.
        stabilise: how normalisers grow, where there are some.

    Source: arXiv:2404.02882, section 3 (decays of a head); arXiv:2502.07563
    """

    written: Memory
    log_decay: Tensor | None
    angle: Tensor | None
    product: Tensor | None
    opens: Tensor | None
    stabilise: str | None

    def after(self, memory: Memory) -> Memory:
        """The memory after the stretch, where ``memory`` comes into it."""
        with full_precision(memory.value):
            return self._after(memory)

    def _after(self, memory: Memory) -> Memory:
        value, scale, added = memory.value, None, self.written.value
        if self.product is not None:
            value = self.product @ value
        if self.angle is not None:
            value = turn_memory(value, self.angle)
        log_decay = self.log_decay
        if self.written.log_scale is not None:
            assert memory.log_scale is not None
            own, grown = self.written.log_scale, None if log_decay is None else log_decay[..., 0]
            carried, scale = next_scale(grown, own, memory.log_scale, self.stabilise)
            faded, gate = normalised(carried, own, self.stabilise)
            log_decay, added = faded[..., None], added * _tied(gate[..., None], value)
            if self.opens is not None:
                scale = torch.where(self.opens[:, None, None], own, scale)
        if log_decay is not None:
            value = value * _tied(log_decay.exp(), value)
        value = value + added
        if self.opens is not None:
            value = torch.where(self.opens[:, None, None, None], self.written.value, value)
        return Memory(value=value, log_scale=scale)

    def tensors(self) -> list[Tensor]:
        """All that it is, in an order that depends on the record alone."""
        held = (self.written.value, self.written.log_scale, self.log_decay, self.angle, self.product)
        return [tensor for tensor in held if tensor is not None]

    def with_tensors(self, tensors: list[Tensor], opens: Tensor | None) -> "Stretch":
        """Another of the same kind, of such tensors as :meth:`tensors` gives."""
        left = list(tensors)

        def like(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else left.pop(0)

        written = Memory(value=left.pop(0), log_scale=like(self.written.log_scale))
        log_decay, angle, product = like(self.log_decay), like(self.angle), like(self.product)
        return replace(self, written=written, log_decay=log_decay, angle=angle, product=product, opens=opens)


def stretch(record: Recurrence) -> Stretch:
    """What a whole record does to the memory that comes into it; its own memory counts as none.

    Raises:
        RecordError: the record has a memory already.
    """
    if record.memory is not None:
        raise RecordError("a stretch is of a record without a memory: what comes in is not known yet")
    transition, opens = record.transition, None
    if record.reset is not None:
        opens = record.reset.any(1).expand(record.sizes["B"])
    if transition.erase is not None:
        product, written = _product(record)
        return Stretch(written=written, log_decay=None, angle=None, product=product, opens=opens, stabilise=None)
    return Stretch(
        written=_last(record),
        log_decay=_log_decay(record),
        angle=_angle(record),
        product=None,
        opens=opens,
        stabilise=transition.stabilise,
    )


def _last(record: Recurrence) -> Memory:
    """The memory after a record, of which nothing is read."""
    nothing = record.expand.new_zeros(1, 1, 1, record.sizes["K"])
    _, memory = scan(replace(record, shrink=nothing, read="after"))
    return memory


def _product(record: Recurrence) -> tuple[Tensor, Memory]:
    """A [B,H,K,K] and S of a record with an erase: the memory after it from the identity, beside that from nothing."""
    batch, length, heads, key, values = (record.sizes[axis] for axis in "BTHKV")
    steps, like = length * record.substeps, record.expand
    i = like.new_ones(1, 1, 1, values) if record.input is None else record.input
    i = F.pad(i.expand(-1, -1, -1, values), (0, key))
    transition, gate = record.transition, record.transition.gate
    if gate is not None and gate.shape[4] > 1:
        # what is written beside the identity is nothing, whatever gates it
        transition = replace(transition, gate=F.pad(gate, (0, key), value=1.0))
    one = torch.eye(key, dtype=state_dtype(record), device=like.device).expand(batch, heads, -1, -1)
    memory = Memory(value=torch.cat([one.new_zeros(batch, heads, key, values), one], -1))
    after = _last(replace(record, input=i.expand(batch, steps, heads, -1), transition=transition, memory=memory))
    written, product = after.value.split([values, key], -1)
    return product, Memory(value=written)


def _log_decay(record: Recurrence) -> Tensor | None:
    """The sum over time of all log-decays [1|B,1|H,P|1,V|1]; without a floor, for its exponential is zero anyway."""
    transition, length, dtype = record.transition, record.sizes["T"], state_dtype(record)
    views = {"head": (..., None, None), "key": (..., None), "value": (..., None, slice(None))}
    held = {name: getattr(transition, name) for name in views}
    sums = [_summed(x, length, dtype)[views[name]] for name, x in held.items() if x is not None]
    for rate, _, step in transition.terms:
        if rate is not None:
            sums.append(_rated(transition, rate.to(dtype), step, length))
    return sum(sums[1:], sums[0]) if sums else None


def _rated(transition: Transition, rate: Tensor, step: Tensor, length: int) -> Tensor:
    """The sum over time of the log-decays that a rate and a step make."""
    if transition.link == "identity":
        return rate * _summed(step, length, rate.dtype)

    def made(steps: Tensor) -> Tensor:
        return (F.logsigmoid(rate * steps.to(rate.dtype)) / transition.tau).sum(1)

    if step.shape[1] == 1:
        return made(step) * length
    return torch.stack([checkpoint(made, part, use_reentrant=False) for part in step.split(_HELD, 1)]).sum(0)


def _angle(record: Recurrence) -> Tensor | None:
    """The sum over time of all phases, modulo 2π; in float64 until then, for it may be large."""
    transition, length = record.transition, record.sizes["T"]

    terms = [turn.double() * _summed(step, length) for _, turn, step in transition.terms if turn is not None]
    if transition.phase is not None:
        terms.append(_summed(transition.phase, length))
    if not terms:
        return None
    if len({term.dim() for term in terms}) > 1:
        terms = [term if term.dim() == 4 else term[..., None] for term in terms]
    return torch.remainder(sum(terms[1:], terms[0]), 2 * torch.pi).to(state_dtype(record))


def _summed(x: Tensor, length: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Over T; what is shared over time counts at every step."""
    return x[:, 0].to(dtype) * length if x.shape[1] == 1 else x.sum(1, dtype=dtype)


def _tied(x: Tensor, value: Tensor) -> Tensor:
    """[B,H,P,V|1] with an entry for each of K."""
    return torch.cat([x, x], 2) if 2 * x.shape[2] == value.shape[2] else x
