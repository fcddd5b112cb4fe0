"""Runs a recurrence window by window, keeping the memory only between windows.

The forward pass holds no graph. The backward pass takes the windows in reverse: each is lowered again under autograd,
the algorithm's adjoint gives the gradients of the lowered tensors, and autograd carries those through the rewrites to
the record. So memory grows with T only by the inputs, the outputs and one memory a window.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from eos.axes import Axes
from eos.engine.algorithm import AbstractAlgorithm, flat
from eos.engine.edges import operands, with_edges, with_operands
from eos.engine.lower import Lowered, lower
from eos.engine.sequential import turn_memory
from eos.engine.state import memory_before, output_dtype
from eos.errors import RecordError
from eos.record import Memory, Recurrence


def run_windows(
    record: Recurrence,
    algorithm: AbstractAlgorithm,
    *,
    length: int,
    trace: bool,
    kept: tuple[Memory, ...] = (),
    edges: frozenset[str] = frozenset(),
) -> tuple[tuple[Tensor, ...], tuple[Memory, ...], Tensor | None]:
    """Run ``algorithm`` over windows of ``length`` steps.

    Arguments:
        kept: the memories that an earlier call returned. Nothing is run forward then, reads and trace are room without
            values, and gradients flow as ever.
        edges: those of the record that the algorithm's kernels make, as :func:`eos.engine.edges.made_in_kernels`
            names them.

    Returns:
        The reads, each [B,T,H,V]; the memory after every window; M at every step [B,T,H,K|1] if asked for.
    """
    memory = memory_before(record)
    record = with_edges(record, edges)
    own = list(operands(record))
    run = Run(record=record, algorithm=algorithm, length=length, trace=trace, axes=[axes for axes, _ in own], kept=kept)
    tensors = (tensor for _, tensor in own)
    out: Any = _Windows.apply(run, memory.value, memory.log_scale, *tensors)  # type: ignore[no-untyped-call]
    reads, count = len(record.reads), len(run.windows())
    values, scales = out[reads + 1 : reads + 1 + count], out[reads + 1 + count :]
    memories = tuple(Memory(value=value, log_scale=scale) for value, scale in zip(values, scales, strict=True))
    return out[:reads], memories, out[reads]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What stays the same over the windows of one call; ``kept`` as in :func:`run_windows`."""

    record: Recurrence
    algorithm: AbstractAlgorithm
    length: int
    trace: bool
    axes: list[Axes]
    kept: tuple[Memory, ...]

    def windows(self) -> list[tuple[int, int]]:
        """Start and end of every window, in steps."""
        total = self.record.sizes["T"]
        return [(start, min(start + self.length, total)) for start in range(0, total, self.length)]

    def part(self, index: int, tensor: Tensor, start: int, stop: int) -> Tensor:
        """What a window sees of a tensor of the record; a shared time axis stays as it is."""
        if self.shared(index, tensor):
            return tensor
        n = self.record.substeps if self.axes[index][1] == "S" else 1
        return tensor[:, start * n : stop * n]

    def shared(self, index: int, tensor: Tensor) -> bool:
        """Whether every window sees all of a tensor."""
        return self.axes[index][0] != "B" or tensor.shape[1] == 1

    def gathered(
        self, index: int, total: Tensor | None, tensor: Tensor, gradient: Tensor, start: int, stop: int
    ) -> Tensor:
        """``total``, the gradient of a tensor as far as it is known, with that of one window."""
        if stop - start == self.record.sizes["T"]:
            return gradient
        if self.shared(index, tensor):  # windows add up, in float32 or wider: bfloat16 would round them away
            gradient = gradient.to(torch.promote_types(tensor.dtype, torch.float32))
            return gradient if total is None else total + gradient
        total = torch.empty_like(tensor) if total is None else total
        self.part(index, total, start, stop).copy_(gradient)
        return total

    def window(self, tensors: list[Tensor], start: int, stop: int) -> Recurrence:
        """The record of one window, of the tensors of :meth:`part`, without a memory."""
        window = with_operands(self.record, iter(tensors))
        object.__setattr__(window, "memory", None)
        reset = window.reset
        if reset is not None and not reset.is_cuda and not reset.any():  # a look at the values would stall a GPU
            object.__setattr__(window, "reset", None)
        object.__setattr__(window, "sizes", {**self.record.sizes, "T": stop - start})
        return window

    def lowered(self, window: Recurrence, log_scale: Tensor | None, dtype: torch.dtype) -> Lowered:
        """A window as the algorithm takes it."""
        activations = output_dtype(self.record) if self.algorithm.takes_activations else None
        return lower(window, log_scale, dtype, activations=activations)

    def read_steps(self) -> slice:
        """The micro-steps that reads are taken from."""
        n = self.record.substeps
        return slice(0, None, n) if self.record.read == "before" else slice(n - 1, None, n)


class _Windows(torch.autograd.Function):
    @staticmethod
    def forward(run: Run, value: Tensor, scale: Tensor | None, *tensors: Tensor) -> Any:
        """Every read, the trace or None, the memory after every window, and its scale or None."""
        record, windows = run.record, run.windows()
        sizes, dtype = record.sizes, output_dtype(record)
        shape, single = (sizes["B"], sizes["T"], sizes["H"], sizes["V"]), len(windows) == 1
        if run.kept:
            ys = [value.new_empty(1, dtype=dtype).expand(shape) for _ in record.reads]
            trace = None if not run.trace or scale is None else scale.new_empty(1).expand(*shape[:3], scale.shape[2])
            return (*ys, trace, *(m.value.detach() for m in run.kept), *(_detached(m.log_scale) for m in run.kept))
        whole = [] if single else [value.new_empty(shape, dtype=dtype) for _ in record.reads]
        values, scales = [value], [scale]
        traces: list[Tensor] = []
        for start, stop in windows:
            window = run.window([run.part(j, t, start, stop) for j, t in enumerate(tensors)], start, stop)
            x = run.lowered(window, scales[-1], value.dtype)
            outputs, value = run.algorithm.forward(x, value)
            # copies: a view of all the window's memories would keep them alive
            value = value.clone() if x.turn is None else turn_memory(value, x.turn)
            values.append(value.contiguous())
            scales.append(None if x.log_scale is None else x.log_scale.clone())
            ys = [output[:, run.read_steps()] for output in outputs]
            if not single:
                for y, output in zip(whole, ys, strict=True):
                    y[:, start:stop] = output
            if run.trace and x.trace is not None:
                traces.append(x.trace)
        trace = torch.cat(traces, 1) if run.trace else None
        ys = [y.to(dtype).contiguous() for y in ys] if single else whole
        return (*ys, trace, *values[1:], *scales[1:])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        run, value, scale, *tensors = inputs
        ctx.run = run
        ctx.set_materialize_grads(False)
        count, reads = len(run.windows()), len(run.record.reads)
        values, scales = output[reads + 1 : reads + 1 + count], output[reads + 1 + count :]
        # nothing but the next window uses the memories inside
        ctx.mark_non_differentiable(*(m for m in (*values[:-1], *scales[:-1]) if m is not None))
        ctx.save_for_backward(*tensors, value, *values, *(s for s in (scale, *scales) if s is not None))

    @staticmethod
    def vmap(*_: Any) -> Any:
        raise RecordError("eos.scan does not go through torch.func.vmap: put what is mapped over on the axis B, or H")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        saved = list(ctx.saved_tensors)  # once: where they are made again, that is done once
        with torch.autocast(saved[0].device.type, enabled=False):  # whoever calls it under autocast
            return _Windows.adjoint(ctx, saved, *grads)

    @staticmethod
    def adjoint(ctx: Any, saved: list[Tensor], *grads: Tensor | None) -> Any:
        run: Run = ctx.run
        windows, count = run.windows(), len(run.axes)
        tensors, values = saved[:count], saved[count : count + len(windows) + 1]
        scales: list[Tensor | None] = [*saved[count + len(windows) + 1 :]] or [None] * (len(windows) + 1)
        reads = len(run.record.reads)
        dys, dtrace, dvalue, dscale = grads[:reads], grads[reads], grads[reads + len(windows)], grads[-1]
        dvalue = torch.zeros_like(values[-1]) if dvalue is None else dvalue
        needed = ctx.needs_input_grad[3:]
        totals: list[Tensor | None] = [None] * count
        for index in reversed(range(len(windows))):
            start, stop = windows[index]
            leaves = [
                run.part(j, t, start, stop).detach().requires_grad_(need)
                for j, (t, need) in enumerate(zip(tensors, needed, strict=True))
            ]
            before = scales[index]
            before = None if before is None else before.detach().requires_grad_()
            with torch.enable_grad():
                x = run.lowered(run.window(leaves, start, stop), before, values[0].dtype)
                turned = None if x.turn is None else turn_memory(_unturned(values[index + 1], x.turn), x.turn)
            dm = dvalue if x.turn is None else turn_memory(dvalue, -x.turn.detach())
            dy = tuple(_place(d, run, start, stop, x) for d in dys)
            gradients, dvalue_before = run.algorithm.backward(_leaf(x), values[index], dy, dm)
            pairs = list(zip(flat(x), gradients.flat(), strict=True))
            pairs += [(turned, dvalue), (x.log_scale, dscale)]
            pairs += [(x.trace, None if dtrace is None else dtrace[:, start:stop])]
            wanted = [leaf for leaf in (*leaves, before) if leaf is not None and leaf.requires_grad]
            kept = [(out, d) for out, d in pairs if out is not None and d is not None and out.requires_grad]
            dleaves: tuple[Tensor, ...] = ()
            if wanted:  # else the memory alone takes a gradient
                outs, douts = zip(*kept, strict=True)
                dleaves = torch.autograd.grad(outs, wanted, douts, allow_unused=True, materialize_grads=True)
            queue = iter(dleaves)
            for j, leaf in enumerate(leaves):
                if leaf.requires_grad:
                    totals[j] = run.gathered(j, totals[j], tensors[j], next(queue), start, stop)
            dvalue, dscale = dvalue_before, None if before is None else next(queue)
        found = (None if d is None else d.to(t.dtype) for d, t in zip(totals, tensors, strict=True))
        return (None, dvalue, dscale, *found)


def _detached(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.detach()


def _leaf(x: Lowered) -> Lowered:
    """The same window cut from the graph of its rewrites, still marking what takes a gradient."""

    def cut(tensor: Tensor | None) -> Any:
        return None if tensor is None else tensor.detach().requires_grad_(tensor.requires_grad)

    return replace(
        x,
        input=cut(x.input),
        expand=cut(x.expand),
        reads=tuple(cut(s) for s in x.reads),
        over_key=cut(x.over_key),
        over_value=cut(x.over_value),
        over_both=cut(x.over_both),
        erase=None if x.erase is None else (cut(x.erase[0]), cut(x.erase[1])),
        rate=None if x.rate is None else (cut(x.rate[0]), cut(x.rate[1])),
        inside=replace(x.inside, key=cut(x.inside.key), value=cut(x.inside.value), step=cut(x.inside.step)),
    )


def _unturned(value: Tensor, angle: Tensor) -> Tensor:
    """The memory in the turned frame of the window that ends with it, as a constant."""
    return turn_memory(value.detach(), -angle.detach())


def _place(dy: Tensor | None, run: Run, start: int, stop: int, x: Lowered) -> Tensor:
    """The gradient of a read on the micro-steps it is taken from, in the memory's dtype."""
    batch, steps, heads, value = x.input.shape
    if dy is None:
        return x.input.new_zeros(1, 1, 1, 1).expand(batch, steps, heads, value)
    dy = dy[:, start:stop].to(x.input.dtype)
    if run.record.substeps == 1:
        return dy
    placed = dy.new_zeros(batch, steps, heads, value)
    placed[:, run.read_steps()] = dy
    return placed
