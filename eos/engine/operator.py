"""A scan as an operator of torch, ``torch.ops.eos.scan``: what torch.compile sees of a recurrence is one node.

An operator takes a flat list of tensors and a string, so a record goes in as the tensors of :func:`eos.record.parts`
and a description of the rest. Inside, it is planned and run as ever. The gradient is an operator too: it builds the
graph of the scan again, from the memories that were kept between windows where there are some, and differentiates it.

Without torch.compile a scan goes its own shorter way, which saves the operator's bookkeeping on every call.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eos.engine.plan import plan
from eos.engine.planned import run_planned
from eos.engine.state import output_dtype, scale_entries, state_dtype
from eos.errors import RecordError
from eos.record import Memory, Recurrence, Transition, parts
from eos.stage import full_precision


def scan_as_operator(
    record: Recurrence, *, backend: str, algorithm: str, trace: bool
) -> tuple[tuple[Tensor, ...], Memory, Tensor | None]:
    """As :func:`eos.engine.planned.run_planned`, through the operator: the reads, the last memory, M at every step."""
    out = _scan(*flattened(record), backend, algorithm, trace)
    reads, scaled = len(record.reads), record.transition.log_gate is not None
    memory = Memory(value=out[reads], log_scale=out[reads + 1] if scaled else None)
    return tuple(out[:reads]), memory, out[reads + 2] if trace else None


@torch.library.custom_op("eos::scan", mutates_args=())
def _scan(tensors: Sequence[Tensor], description: str, backend: str, algorithm: str, trace: bool) -> list[Tensor]:
    """Every read; value and scale after the last step; M at every step where asked for; values and scales kept."""
    record = _assembled(tensors, description)
    ys, memories, scales = run_planned(record, plan(record, backend=backend, algorithm=algorithm), trace=trace)
    out = _outputs(ys, memories, scales, trace=trace)
    kept = [torch.stack([memory.value for memory in memories])]
    if record.transition.log_gate is not None:
        kept.append(torch.stack([memory.log_scale for memory in memories if memory.log_scale is not None]))
    return _own([*out, *kept], given=tensors)


@_scan.register_fake
def _(tensors: Sequence[Tensor], description: str, backend: str, algorithm: str, trace: bool) -> list[Tensor]:
    record = _assembled(tensors, description)
    sizes, like = record.sizes, record.expand
    batch, length, heads, key, value = (sizes[axis] for axis in "BTHKV")
    dtype = state_dtype(record)
    windows = plan(record, backend=backend, algorithm=algorithm).windows(length)
    out = [like.new_empty(batch, length, heads, value, dtype=output_dtype(record)) for _ in record.reads]
    out.append(like.new_empty(batch, heads, key, value, dtype=dtype))
    kept = [like.new_empty(windows, batch, heads, key, value, dtype=dtype)]
    if record.transition.log_gate is not None:
        entries = scale_entries(record)
        out.append(like.new_empty(batch, heads, entries, dtype=dtype))
        kept.append(like.new_empty(windows, batch, heads, entries, dtype=dtype))
        if trace:
            out.append(like.new_empty(batch, length, heads, entries, dtype=dtype))
    return [*out, *kept]


def _save(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    tensors, *ctx.asked = inputs
    record = _assembled(tensors, ctx.asked[0])
    ctx.count, ctx.kept = len(tensors), 1 + (record.transition.log_gate is not None)
    ctx.save_for_backward(*tensors, *output[-ctx.kept :])
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, grads: list[Tensor | None]) -> Any:
    saved = ctx.saved_tensors  # once, as in eos.engine.windows
    tensors, kept = saved[: ctx.count], saved[ctx.count :]
    needs = list(ctx.needs_input_grad[0])
    found = iter(_scan_backward(tensors, kept, grads[: -ctx.kept], needs, *ctx.asked))
    return [next(found) if need else None for need in needs], None, None, None, None


_scan.register_autograd(_differentiate, setup_context=_save)


@_scan.register_vmap
def _(*_: Any) -> Any:
    raise RecordError("eos.scan does not go through torch.func.vmap: put what is mapped over on the axis B, or H")


@torch.library.custom_op("eos::scan_backward", mutates_args=())
def _scan_backward(
    tensors: Sequence[Tensor],
    kept: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    needs: Sequence[bool],
    description: str,
    backend: str,
    algorithm: str,
    trace: bool,
) -> list[Tensor]:
    """The gradients of the tensors that need one, from those of the outputs, or None for each that has none."""
    # an operator runs with autograd off; leaving inference mode, entered or not, is what turns all of it on
    with torch.inference_mode(False), torch.enable_grad(), full_precision(tensors[0]):
        leaves = [tensor.detach().requires_grad_(need) for tensor, need in zip(tensors, needs, strict=True)]
        record = _assembled(leaves, description)
        values, scales = kept[0].unbind(), kept[1].unbind() if len(kept) > 1 else [None] * len(kept[0])
        memories = tuple(Memory(value=m, log_scale=scale) for m, scale in zip(values, scales, strict=True))
        chosen = plan(record, backend=backend, algorithm=algorithm)
        out = _outputs(*run_planned(record, chosen, trace=trace, kept=memories), trace=trace)
        pairs = [(y, dy) for y, dy in zip(out, grads, strict=True) if dy is not None and y.requires_grad]
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        ys, dys = [y for y, _ in pairs], [dy for _, dy in pairs]
        found = torch.autograd.grad(ys, wanted, dys, allow_unused=True, materialize_grads=True)
    return _own(found, given=(*tensors, *kept, *dys))


@_scan_backward.register_fake
def _(tensors: Sequence[Tensor], kept: Sequence[Tensor], grads: Any, needs: Sequence[bool], *_: Any) -> list[Tensor]:
    return [x.new_empty(x.shape) for x, need in zip(tensors, needs, strict=True) if need]


def _refuse(*_: Any) -> Any:
    raise RecordError("eos.scan is differentiated once; algorithm='sequential', uncompiled, can be again")


_scan_backward.register_autograd(_refuse)


def _own(found: Sequence[Tensor], *, given: Sequence[Tensor]) -> list[Tensor]:
    """The same in memory of their own, row by row: an operator returns nothing that shares any."""
    seen = {x.untyped_storage().data_ptr() for x in given}
    own = []
    for x in found:
        kept = x.clone(memory_format=torch.contiguous_format) if x.untyped_storage().data_ptr() in seen else x
        own.append(kept.contiguous())
        seen.add(own[-1].untyped_storage().data_ptr())
    return own


def _outputs(
    ys: tuple[Tensor, ...], memories: tuple[Memory, ...], scales: Tensor | None, *, trace: bool
) -> list[Tensor]:
    last = memories[-1]
    return [*ys, *(x for x in (last.value, last.log_scale, scales if trace else None) if x is not None)]


def flattened(record: Recurrence) -> tuple[list[Tensor], str]:
    """The tensors of a record, and all the rest of it."""
    t, held = record.transition, list(parts(record))
    labels = ",".join([label for label, _, _ in held])
    return [x for _, _, x in held], f"{labels};{record.read};{record.substeps};{t.link};{t.tau};{t.stabilise}"


def _assembled(tensors: Sequence[Tensor], description: str) -> Recurrence:
    """The record of a description, with these tensors."""
    labels, read, substeps, link, tau, stabilise = description.split(";")
    held: dict[str, Any] = {}
    for label, tensor in zip(labels.split(","), tensors, strict=True):
        name, _, index = label.partition("[")
        if index:
            held.setdefault(name, {})[int(index[:-1])] = tensor
        else:
            held[name] = tensor
    terms = len(held["step"]) if isinstance(held.get("step"), dict) else 1
    for name, found in held.items():
        if isinstance(found, dict):
            count = terms if name in ("rate", "phase_rate") else len(found)
            held[name] = tuple(found.get(index) for index in range(count))
    scale = held.pop("memory.log_scale", None)
    memory = Memory(value=held.pop("memory.value"), log_scale=scale) if "memory.value" in held else None
    own: Any = {name: held.pop(name, None) for name in ("input", "expand", "shrink", "reset")}
    own |= {"memory": memory, "read": read, "substeps": int(substeps)}
    rest: Any = {"link": link, "tau": float(tau), "stabilise": None if stabilise == "None" else stabilise}
    return Recurrence(transition=Transition(**held, **rest), **own)
